# SPDX-License-Identifier: Apache-2.0
"""What sets a cohort apart, in words: shares of attributes, means of numbers.

A cohort that was found without asking who people are (a cluster of voices, a region) is compared
with everyone in each attribute of the table. What differs clearly, by more than three standard
errors over speakers and by enough to matter, is said in words, the clearest first. These are
observations about the discovery speakers, not explanations of their errors.

Speech rate (words per second) is worked out if the table has a column of seconds.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl

from evenear.audit.tables.cohorts import Assignment
from evenear.audit.tables.table import Table

__all__ = ["characterize"]

_SECONDS = ("seconds", "duration", "duration_seconds", "length_seconds", "audio_seconds")
_MAX_VALUES = 12
"""Attributes with more values are names, not kinds."""
_CLEAR = 3.0
"""Standard errors from which a difference is clear."""
_LEAST_SHARE = 0.1
_LEAST_SPREAD = 0.3
"""Smaller differences of shares, or of means in standard deviations of speakers, do not matter."""
_LEAST_SPEAKERS = 5


class _Remark(NamedTuple):
    sureness: float
    text: str


def characterize(
    table: Table, assignment: Assignment, *, num_remarks: int = 3
) -> dict[str, tuple[str, ...]]:
    """For each value of an assignment, up to `num_remarks` remarks on what sets it apart.

    Args:
        table: Where attributes are looked up.
        assignment: Cohorts of speakers.
        num_remarks: At most so many remarks for each cohort, the clearest first.
    """
    speakers = table.speakers.select("speaker").join(
        assignment.frame.drop_nulls("value"), on="speaker", how="inner"
    )
    features = [*_categories(table), *_numbers(table)]
    found = {}
    for value in speakers["value"].unique().sort():
        members = speakers.select("speaker", pl.col("value") == value)
        remarks = [
            remark
            for feature in features
            for remark in _remarks(feature.join(members, on="speaker", how="inner"))
        ]
        remarks.sort(key=lambda remark: -remark.sureness)
        found[value] = tuple(remark.text for remark in remarks[:num_remarks])
    return found


def _categories(table: Table) -> Iterator[pl.DataFrame]:
    """For each attribute of kinds, each speaker's most frequent value."""
    for name in table.attributes:
        column = table.frame[name]
        if column.dtype != pl.String or not 2 <= column.drop_nulls().n_unique() <= _MAX_VALUES:
            continue
        yield (
            table.frame.select("speaker", name)
            .drop_nulls(name)
            .group_by("speaker", name)
            .agg(pl.len().alias("times"))
            .sort("speaker", "times", name, descending=[False, True, False])
            .unique("speaker", keep="first", maintain_order=True)
            .select("speaker", name)
        )


def _numbers(table: Table) -> Iterator[pl.DataFrame]:
    """For each attribute of numbers, each speaker's mean; and the speech rate."""
    for name in table.attributes:
        if table.frame[name].dtype.is_numeric() and table.frame[name].drop_nulls().n_unique() > 1:
            means = table.frame.group_by("speaker").agg(pl.col(name).cast(pl.Float64).mean())
            yield means.drop_nulls(name)
    seconds = next((name for name in table.attributes if name.lower() in _SECONDS), None)
    if seconds is not None and table.frame[seconds].dtype.is_numeric():
        sums = (
            table.frame.drop_nulls(seconds).group_by("speaker").agg(pl.col("words", seconds).sum())
        )
        rate = (pl.col("words") / pl.col(seconds)).alias("words per second")
        yield sums.filter(pl.col(seconds) > 0).select("speaker", rate)
    per_utterance = table.spoken.group_by("speaker").agg(pl.col("words").mean())
    yield per_utterance.rename({"words": "words per utterance"})


def _remarks(feature: pl.DataFrame) -> Iterator[_Remark]:
    """What is clear about one feature: columns speaker, the feature, and value (is it a member)."""
    name = feature.columns[1]
    is_member = feature["value"].to_numpy()
    if min(is_member.sum(), (~is_member).sum()) < _LEAST_SPEAKERS:
        return
    if feature[name].dtype != pl.String:
        numbers = feature[name].to_numpy()
        inside, outside = numbers[is_member], numbers[~is_member]
        error = np.sqrt(inside.var(ddof=1) / len(inside) + outside.var(ddof=1) / len(outside))
        difference, spread = inside.mean() - outside.mean(), numbers.std()
        if abs(difference) > max(_CLEAR * error, _LEAST_SPREAD * spread, 1e-12):
            side = "higher" if difference > 0 else "lower"
            text = f"{name} {side}: {inside.mean():.3g} on average, others {outside.mean():.3g}"
            yield _Remark(float(abs(difference) / max(error, 1e-12)), text)
        return
    kinds = feature[name].to_numpy()
    found = []
    for kind in np.unique(kinds.astype(str)):
        inside, outside = (kinds[is_member] == kind).mean(), (kinds[~is_member] == kind).mean()
        share = (kinds == kind).mean()
        error = np.sqrt(share * (1 - share) * (1 / is_member.sum() + 1 / (~is_member).sum()))
        if abs(inside - outside) > max(_CLEAR * error, _LEAST_SHARE):
            text = f"{name} {kind}: {100 * inside:.0f} % of speakers, others {100 * outside:.0f} %"
            sureness = float(abs(inside - outside) / max(error, 1e-12))
            found.append((inside > outside, _Remark(sureness, text)))
    if found:
        yield max(found)[1]
