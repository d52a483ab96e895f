# SPDX-License-Identifier: Apache-2.0
"""The utterances with most errors, word beside word, from the cohorts that fare worst.

Numbers say who is failed; these say how. A few are taken from every cohort that is confirmed to
fare worse and a few from everyone, at most two of one speaker, so that one broken recording does
not fill the page. They are examples, chosen for being bad: no rate can be read off them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from evenear.audit.statistics.results import Gap, Gaps
from evenear.audit.tables.cohorts import Cohorts
from evenear.audit.tables.table import Table
from evenear.metrics.words import align_words, normalize

__all__ = ["WorstUtterance", "worst_utterances"]

_Pair = tuple[str | None, str | None]
"""A word that was said and what was recognized for it; None where there is none."""

_MAX_COHORTS = 6
_PER_SPEAKER = 2


@dataclass(frozen=True, kw_only=True)
class WorstUtterance:
    """One utterance with its errors in place. It names no speaker."""

    utterance_id: str
    cohorts: tuple[tuple[str, str], ...]
    """Attribute and value of each cohort of the audit that it belongs to."""
    errors: int
    words: int
    pairs: tuple[_Pair, ...]
    other_errors: int | None = None
    """Errors of the recognizer that this one is compared with."""
    other_pairs: tuple[_Pair, ...] | None = None


def worst_utterances(
    table: Table,
    cohorts: Cohorts,
    gaps: Gaps,
    *,
    per_cohort: int = 5,
    other: Table | None = None,
) -> tuple[WorstUtterance, ...]:
    """Choose and align the worst utterances.

    Args:
        table: The table that the numbers come from.
        cohorts: Who belongs to which cohort.
        gaps: The audit.
        per_cohort: Utterances from each confirmed worse cohort, and from everyone; 0 for none.
        other: The results of a second recognizer, to be shown beside the first.
    """
    if per_cohort <= 0:
        return ()
    texts = table.frame.drop_nulls("reference").filter(pl.col("errors") > 0)
    texts = texts.select("utterance_id", "speaker", "reference", "hypothesis", "words", "errors")
    texts = texts.sort("errors", "words", "utterance_id", descending=[True, False, False])
    chosen = _few_of_each_speaker(texts, per_cohort)
    for row in sorted(gaps.rows, key=lambda row: -row.size)[:_MAX_COHORTS]:
        if row.confirmed and row.size > 0.0:
            members = _members(texts, cohorts, row)
            chosen.update(_few_of_each_speaker(members, per_cohort))
    places = _memberships(texts, list(chosen), cohorts, gaps)
    others = _others(other, list(chosen))
    rows = sorted(chosen.values(), key=lambda one: (-one["errors"], one["utterance_id"]))
    return tuple(
        _aligned(row, places.get(row["utterance_id"], ()), table.normalizer, others) for row in rows
    )


def _members(texts: pl.DataFrame, cohorts: Cohorts, row: Gap) -> pl.DataFrame:
    """The utterances of one cohort, worst first."""
    (own,) = [one for one in cohorts.assignments if one.attribute == row.attribute]
    members = own.frame.filter(pl.col("value") == row.value)
    return texts.join(members, on=own.key, how="semi", maintain_order="left")


def _few_of_each_speaker(members: pl.DataFrame, amount: int) -> dict[str, dict]:
    nth = pl.int_range(pl.len()).over("speaker")
    few = members.filter(nth < _PER_SPEAKER).head(amount)
    return {row["utterance_id"]: row for row in few.iter_rows(named=True)}


def _memberships(
    texts: pl.DataFrame, names: Sequence[str], cohorts: Cohorts, gaps: Gaps
) -> dict[str, tuple[tuple[str, str], ...]]:
    """The measured cohorts that each of some utterances belongs to."""
    measured = {(row.attribute, row.value) for row in gaps.rows if not row.suppressed}
    places: dict[str, list[tuple[str, str]]] = {}
    keys = texts.filter(pl.col("utterance_id").is_in(names)).select("utterance_id", "speaker")
    for one in cohorts.assignments:
        values = one.frame.drop_nulls("value")
        joined = keys.join(values, on=one.key, how="inner")
        for name, value in joined.select("utterance_id", "value").iter_rows():
            if (one.attribute, value) in measured:
                places.setdefault(name, []).append((one.attribute, value))
    return {name: tuple(own) for name, own in places.items()}


def _others(other: Table | None, names: Sequence[str]) -> dict[str, dict]:
    if other is None:
        return {}
    wanted = other.frame.filter(pl.col("utterance_id").is_in(names)).drop_nulls("reference")
    columns = wanted.select("utterance_id", "reference", "hypothesis", "errors")
    return {row["utterance_id"]: row for row in columns.iter_rows(named=True)}


def _aligned(
    row: dict, cohorts: Sequence[tuple[str, str]], normalizer: str, others: dict[str, dict]
) -> WorstUtterance:
    second = others.get(row["utterance_id"])
    return WorstUtterance(
        utterance_id=row["utterance_id"],
        cohorts=tuple(cohorts),
        errors=row["errors"],
        words=row["words"],
        pairs=_pairs(row, normalizer),
        other_errors=second["errors"] if second else None,
        other_pairs=_pairs(second, normalizer) if second else None,
    )


def _pairs(row: dict, normalizer: str) -> tuple[_Pair, ...]:
    name = "none" if normalizer == "as counted" else normalizer
    reference = normalize(row["reference"] or "", name)
    hypothesis = normalize(row["hypothesis"] or "", name)
    return tuple((said, heard) for said, heard in align_words(reference, hypothesis))
