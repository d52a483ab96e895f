# SPDX-License-Identifier: Apache-2.0
"""Is it the cohort, or what comes with it? Ratios of error rates with other columns held fixed.

If one group was recorded in noisier rooms, or spoke longer sentences, its raw gap mixes who they
are with how they were recorded. The adjusted ratio is the error rate of a cohort over that of the
rest at the same domain, noise, device and length, from a mixed-effects Poisson regression (see
`poisson`). It can only adjust for columns that are there, and where a cohort was recorded in one
way only, nothing can tell the two apart.

    ratio(k) = exp(beta_k - sum over j != k of share_j * beta_j / (1 - share_k))

with the shares those of words, so that an unadjusted model gives about 1 + gap.

Legend: N rows, P columns, K values of the attribute.

Source: Z. Liu, I.-E. Veliche and F. Peng, "Model-based approach for measuring the fairness in ASR",
2022, https://arxiv.org/abs/2109.09061. Their reference is one chosen group; ours is the rest.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from evenear.audit.statistics.poisson import fit_mixed_poisson
from evenear.audit.statistics.results import Base
from evenear.audit.tables.cohorts import Assignment
from evenear.audit.tables.table import Table
from evenear.errors import CohortError

__all__ = ["MIN_WORDS", "UTTERANCE_LENGTH", "AdjustedRatio", "adjusted_ratios"]

UTTERANCE_LENGTH = "utterance_length"
"""The name of a column that need not be there: the logarithm of an utterance's words."""

MIN_WORDS = 200
"""Values of a column with fewer words are held together as one."""


class AdjustedRatio(NamedTuple):
    """Error rate of a cohort over that of its base, other columns held fixed."""

    value: str
    ratio: float
    low: float
    high: float


def adjusted_ratios(
    table: Table,
    assignment: Assignment,
    covariates: Sequence[str],
    *,
    to: Base = "rest",
    values: Sequence[str] | None = None,
    level: float = 0.95,
) -> tuple[AdjustedRatio, ...]:
    """Adjusted ratios of the cohorts of one attribute.

    Args:
        table: Results.
        assignment: The cohorts.
        covariates: Columns to hold fixed: attributes, or "utterance_length".
        to: Compare with the "rest" or with "overall".
        values: Cohorts to give ratios for, all if None; the others are held together.
        level: Coverage of the intervals, which are robust to scatter beyond Poisson.

    Raises:
        TableError: A covariate is not in the table.
        CohortError: The columns determine each other, or a cohort has no errors.
    """
    rows = _rows(table, assignment, covariates)
    names = sorted(set(rows["value"]) if values is None else set(values) & set(rows["value"]))
    if len(names) == 0 or rows["value"].n_unique() < 2:
        return ()
    kept = pl.when(pl.col("value").is_in(names)).then("value").otherwise(pl.lit("\0others"))
    rows = rows.with_columns(kept.alias("value"))
    levels = rows.group_by("value").agg(pl.col("words").sum()).sort("words", descending=True)
    columns_NP = [np.ones(rows.height)]
    columns_NP += [_indicator(rows["value"], level_) for level_ in levels["value"][1:]]
    num_levels = len(columns_NP)
    for name in covariates:
        columns_NP += _columns(rows, name)
    fit = fit_mixed_poisson(
        rows["errors"].to_numpy(),
        rows["words"].to_numpy(),
        np.stack(columns_NP, axis=1),
        rows["speaker"].rank("dense").to_numpy().astype(np.int64) - 1,
    )
    shares = dict(zip(levels["value"], levels["words"] / levels["words"].sum(), strict=True))
    order = list(levels["value"])
    found = []
    for name in names:
        contrast_P = np.zeros(len(columns_NP))
        for place, other in enumerate(order):
            share = shares[other] / (1.0 - shares[name]) if to == "rest" else shares[other]
            weight = -share if other != name or to == "overall" else 0.0
            weight += 1.0 if other == name else 0.0
            if 0 < place < num_levels:
                contrast_P[place] = weight
        found.append(AdjustedRatio(name, *fit.ratio(contrast_P, level=level)))
    return tuple(found)


def _rows(table: Table, assignment: Assignment, covariates: Sequence[str]) -> pl.DataFrame:
    """Counts summed over utterances of a speaker that are alike in every column."""
    attributes = [name for name in dict.fromkeys(covariates) if name != UTTERANCE_LENGTH]
    for name in attributes:
        table.require_attribute(name)
        if name == assignment.attribute:
            raise CohortError(f"{name!r} cannot be adjusted for itself.", hint="Leave it out.")
    wanted = ["speaker", "utterance_id", "words", "errors", *attributes]
    values = assignment.frame.drop_nulls("value")
    rows = table.spoken.select(wanted).join(values, on=assignment.key, how="inner")
    keys = ["speaker", "value", *attributes]
    if UTTERANCE_LENGTH in covariates:
        rows = rows.with_columns(pl.col("words").cast(pl.Float64).log().alias(UTTERANCE_LENGTH))
        keys.append(UTTERANCE_LENGTH)
    return rows.group_by(keys, maintain_order=True).agg(pl.col("words", "errors").sum()).sort(keys)


def _columns(rows: pl.DataFrame, name: str) -> list[np.ndarray]:
    """A covariate as columns: numbers centered and scaled, values as indicators but one."""
    column = rows[name]
    if column.dtype.is_numeric():
        numbers = column.cast(pl.Float64).to_numpy().copy()
        missing = ~np.isfinite(numbers)
        known = numbers[~missing]
        columns = [missing * 1.0] if missing.any() and len(known) else []
        if len(known) and known.std() > 1e-9 * np.abs(known).max():
            columns.append(np.where(missing, 0.0, (numbers - known.mean()) / known.std()))
        return columns
    texts = rows.select(pl.col(name).cast(pl.String).fill_null("\0unknown").alias("level"), "words")
    words = texts.group_by("level").agg(pl.col("words").sum())
    rare = words.filter(pl.col("words") < MIN_WORDS)["level"]
    level = pl.when(pl.col("level").is_in(rare.implode())).then(pl.lit("\0rare")).otherwise("level")
    texts = texts.with_columns(level.alias("level"))
    words = texts.group_by("level").agg(pl.col("words").sum()).sort("words", "level")
    return [_indicator(texts["level"], one) for one in words["level"][:-1]]


def _indicator(column: pl.Series, value: str) -> np.ndarray:
    return (column == value).to_numpy().astype(np.float64)
