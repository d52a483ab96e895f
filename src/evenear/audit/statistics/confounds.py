# SPDX-License-Identifier: Apache-2.0
"""What goes with a cohort: devices, sites, noise, and the gap where these are alike.

If most speech of a cohort came from one device and most other speech from another, nobody can tell
whose gap it is. So every cohort is held beside the other columns of the table. A column goes with a
cohort if their words lie apart in it,

    distance = 1/2 * sum over values k of |share of the cohort's words in k - share of the rest's|,

by a quarter or more. Then the gap is shown again within the values of the column (strata): each
value by itself, and all together by the ratio of Mantel and Haenszel,

    1 + gap within = (sum_k E1_k * W0_k / W_k) / (sum_k E0_k * W1_k / W_k),     W_k = W0_k + W1_k,

(E errors and W words, 1 the cohort, 0 the rest), with the interval of gaps. Values that only one of
both has say nothing of the gap; `overlap` is the part of the cohort's words in the others.

That a gap shrinks within strata says that the column may explain it; that it stays does not say
that nothing does.

Legend: S speakers, K values of a column.

Source: N. Mantel and W. Haenszel, "Statistical aspects of the analysis of data from retrospective
studies of disease", 1959; for rates K. Rothman, S. Greenland and T. Lash, "Modern Epidemiology",
2008, chapter 15. The distance and its bound are our reading.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from evenear.audit.statistics.results import Gap, Gaps
from evenear.audit.tables.cohorts import CROSS, Assignment, Cohorts, cohorts_by
from evenear.audit.tables.table import Table
from evenear.metrics.bootstrap import Contrast, contrast_intervals
from evenear.metrics.scatter import FREEDOM
from evenear.seeding import rng_for

__all__ = ["Confound", "Stratum", "confounds"]

_APART = 0.25
"""A column goes with a cohort from this distance on."""
_MAX_KINDS = 12
_PER_COHORT = 3
_LEAST_SPEAKERS, _LEAST_WORDS = 5, 100
"""Of a value with fewer on either side no gap is shown by itself."""


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """The cohort and the rest where a column has one value."""

    value: str
    speakers: int
    rest_speakers: int
    words: int
    rest_words: int
    wer: float | None
    rest_wer: float | None
    gap: float | None
    """None where either side has fewer than 5 speakers or 100 words."""


@dataclass(frozen=True, kw_only=True)
class Confound:
    """A column that goes with a cohort, and the gap within its values."""

    attribute: str
    value: str
    column: str
    distance: float
    """How far apart cohort and rest lie in the column: 0 alike, 1 nothing in common."""
    typical: str
    """The value of which the cohort has most too much."""
    typical_share: float
    """Its share of the cohort's words."""
    typical_rest_share: float
    """Its share of the rest's words."""
    overlap: float
    """Part of the cohort's words in values that the rest has too."""
    gap: float | None
    """As it is, where the column is known."""
    gap_within: float | None
    """With the column held fixed; None where cohort and rest have no value in common."""
    gap_within_low: float | None = None
    gap_within_high: float | None = None
    strata: tuple[Stratum, ...] = ()


def confounds(
    table: Table, cohorts: Cohorts, found: Gaps, *, columns: Sequence[str] | None = None
) -> tuple[Confound, ...]:
    """What goes with each measured cohort, at most three columns each.

    Args:
        table: The table that the gaps come from.
        cohorts: Who belongs to which cohort.
        found: The gaps; their seed, draws and level are those of the intervals.
        columns: Columns to look at; every attribute of few kinds, or of numbers, if None.

    Raises:
        TableError: There is no such column.
    """
    if columns is None:
        columns = _dividing(table)
    beside = {name: cohorts_by(table, [name]).assignments[0] for name in columns}
    speakers = table.speakers.select("speaker").with_row_index("speaker_row")
    lists = []
    for assignment in cohorts.assignments:
        measured = [
            row for row in found.rows
            if row.attribute == assignment.attribute and not row.suppressed
        ]  # fmt: skip
        if not measured or assignment.found_by == "subgroups":
            continue
        names = [n for n in beside if n not in assignment.attribute.split(CROSS)]
        cells = {
            name: _cells(table, assignment, beside[name]).join(speakers, on="speaker", how="left")
            for name in names
        }
        for row in measured:
            own = [_Beside(row, name, cells[name]) for name in names]
            apart = sorted(
                (one for one in own if one.distance >= _APART), key=lambda one: -one.distance
            )
            lists += [one.confound(found, speakers.height) for one in apart[:_PER_COHORT]]
    return tuple(lists)


def _dividing(table: Table) -> list[str]:
    """Attributes that may be held beside cohorts."""
    names = []
    for name in table.attributes:
        column = table.frame[name]
        if column.dtype.is_nested():
            continue
        kinds = column.drop_nulls().n_unique()
        if 2 <= kinds <= _MAX_KINDS or (kinds > _MAX_KINDS and column.dtype.is_numeric()):
            names.append(name)
    return names


def _cells(table: Table, cohort: Assignment, column: Assignment) -> pl.DataFrame:
    """Errors and words by speaker, value of the attribute and value of the column."""
    rows = table.spoken.select("utterance_id", "speaker", "errors", "words")
    rows = rows.join(cohort.frame.drop_nulls("value"), on=cohort.key, how="inner")
    other = column.frame.drop_nulls("value").rename({"value": "stratum"})
    rows = rows.join(other, on=column.key, how="inner")
    return rows.group_by("speaker", "value", "stratum").agg(pl.col("errors", "words").sum())


class _Beside:
    """One cohort beside one column."""

    def __init__(self, row: Gap, column: str, cells: pl.DataFrame) -> None:
        self.row, self.column = row, column
        inside = pl.col("value") == row.value
        self.cells = cells.with_columns(inside.alias("inside"))
        sums = self.cells.group_by("stratum").agg(
            pl.col("errors").filter("inside").sum().alias("own_errors"),
            pl.col("words").filter("inside").sum().alias("own_words"),
            pl.col("errors").filter(~pl.col("inside")).sum().alias("rest_errors"),
            pl.col("words").filter(~pl.col("inside")).sum().alias("rest_words"),
            pl.col("speaker").filter("inside").n_unique().alias("own_speakers"),
            pl.col("speaker").filter(~pl.col("inside")).n_unique().alias("rest_speakers"),
        )
        self.sums = sums.sort("stratum")
        self.own_K, self.rest_K = (self._column(f"{side}_words") for side in ("own", "rest"))
        self.is_known = bool(self.own_K.sum() and self.rest_K.sum())

    @property
    def distance(self) -> float:
        """How far cohort and rest lie apart in the column."""
        if not self.is_known:
            return 0.0
        return float(np.abs(self._own_shares() - self._rest_shares()).sum() / 2.0)

    def confound(self, found: Gaps, num_speakers: int) -> Confound:
        """All that is said of it."""
        shares_K, rest_shares_K = self._own_shares(), self._rest_shares()
        most = int((shares_K - rest_shares_K).argmax())
        gap, low, high = self._within(found, num_speakers)
        return Confound(
            attribute=self.row.attribute,
            value=self.row.value,
            column=self.column,
            distance=self.distance,
            typical=self.sums["stratum"][most],
            typical_share=float(shares_K[most]),
            typical_rest_share=float(rest_shares_K[most]),
            overlap=float(self.own_K[self.rest_K > 0].sum() / self.own_K.sum()),
            gap=_gap(*(float(self._column(name).sum()) for name in _COUNTS)),
            gap_within=gap,
            gap_within_low=low,
            gap_within_high=high,
            strata=tuple(self._strata()),
        )

    def _within(
        self, found: Gaps, num_speakers: int
    ) -> tuple[float | None, float | None, float | None]:
        """The gap with the column held fixed, and its interval."""
        if not ((self.own_K > 0) & (self.rest_K > 0)).any():
            return None, None, None
        weights = pl.DataFrame(
            {
                "stratum": self.sums["stratum"],
                "own": self.rest_K / (self.own_K + self.rest_K),
                "rest": self.own_K / (self.own_K + self.rest_K),
            }
        )
        cells = self.cells.join(weights, on="stratum", how="left")
        terms = [
            (sign, _weighted(cells.filter(member), weight, num_speakers))
            for sign, member, weight in (
                (1.0, pl.col("inside"), "own"),
                (-1.0, ~pl.col("inside"), "rest"),
            )
        ]
        if not all(errors_S.sum() for _, (errors_S, _) in terms):
            return None, None, None
        intervals = contrast_intervals(
            [Contrast.of(*terms)],
            rng_for(found.seed, "gaps"),
            num_resamples=found.num_resamples,
            level=found.level,
            freedom=FREEDOM,
        )
        return intervals.relative(0)

    def _strata(self) -> Iterator[Stratum]:
        for row in self.sums.iter_rows(named=True):
            words, rest_words = row["own_words"], row["rest_words"]
            speakers, rest_speakers = row["own_speakers"], row["rest_speakers"]
            is_large = (
                min(speakers, rest_speakers) >= _LEAST_SPEAKERS
                and min(words, rest_words) >= _LEAST_WORDS
            )
            yield Stratum(
                value=row["stratum"],
                speakers=speakers,
                rest_speakers=rest_speakers,
                words=words,
                rest_words=rest_words,
                wer=row["own_errors"] / words if words else None,
                rest_wer=row["rest_errors"] / rest_words if rest_words else None,
                gap=_gap(*(row[name] for name in _COUNTS)) if is_large else None,
            )

    def _own_shares(self) -> np.ndarray:
        return self.own_K / self.own_K.sum()

    def _rest_shares(self) -> np.ndarray:
        return self.rest_K / self.rest_K.sum()

    def _column(self, name: str) -> np.ndarray:
        return self.sums[name].cast(pl.Float64).to_numpy()


_COUNTS = ("own_errors", "own_words", "rest_errors", "rest_words")


def _gap(errors: float, words: float, rest_errors: float, rest_words: float) -> float | None:
    if not words or not rest_words or not rest_errors:
        return None
    return float(errors / words / (rest_errors / rest_words) - 1.0)


def _weighted(cells: pl.DataFrame, weight: str, num_speakers: int) -> tuple[np.ndarray, np.ndarray]:
    """Errors and words of each speaker, each stratum with its weight."""
    rows, weights = cells["speaker_row"].to_numpy(), cells[weight].to_numpy()
    errors_S, words_S = (
        np.bincount(rows, cells[name].cast(pl.Float64).to_numpy() * weights, num_speakers)
        for name in ("errors", "words")
    )
    return errors_S, words_S
