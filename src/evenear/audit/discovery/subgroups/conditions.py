# SPDX-License-Identifier: Apache-2.0
"""Conditions on attributes, such as `age is teens and gender is female`, and what meets them.

Every column becomes a column of kinds: text as it is, numbers cut into four ranges of about equally
many speakers. Of text with more than a dozen kinds the largest are kept and the others are one; if
none is large (names, ids), the column is left out and named. A condition names one or several
kinds. Where a kind is unknown, whether a conjunction holds is unknown too, unless another of its
conditions already fails.

Legend: C cells (speakers, or pieces of a speaker's speech that are alike), K conditions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from evenear.audit.tables.cohorts import MAX_NUMBERS, Assignment, number_texts, range_cuts, ranges
from evenear.audit.tables.table import Table
from evenear.config import config
from evenear.errors import CohortError

__all__ = [
    "OTHER",
    "Cells",
    "Condition",
    "SearchColumn",
    "assign_conditions",
    "search_cells",
    "search_columns",
]


OTHER = "other"
"""All kinds of a column that are not among its largest."""


@config
class SearchColumn:
    """A column of the table, as kinds."""

    name: str
    cuts: tuple[float, ...] = ()
    """Where numbers are cut; none for text."""
    largest: tuple[str, ...] = ()
    """The kinds that are told apart, where there are too many; all if none are named."""

    def kinds(self) -> pl.Expr:
        """The column as text, null where unknown."""
        if not self.cuts:
            text = pl.col(self.name).cast(pl.String)
            kind = pl.when(text.is_in(list(self.largest))).then(text).otherwise(pl.lit(OTHER))
            known = kind if self.largest else text
            return pl.when(text.is_not_null() & (text != "NaN")).then(known).alias(self.name)
        known = pl.when(pl.col(self.name).cast(pl.Float64).is_finite()).then(self.name)
        return ranges(known, self.cuts, self.labels).alias(self.name)

    @property
    def labels(self) -> list[str]:
        """Names of the ranges, in order; none for text."""
        return [self._range(k, k + 1) for k in range(len(self.cuts) + 1)] if self.cuts else []

    def joined(self, kinds: Sequence[str]) -> list[str]:
        """Ranges in order, neighbors joined: `18 to below 25` and `25 to below 40` are one."""
        rows = [row for row, label in enumerate(self.labels) if label in kinds]
        runs: list[list[int]] = []
        for row in rows:
            if runs and runs[-1][1] == row:
                runs[-1][1] = row + 1
            else:
                runs.append([row, row + 1])
        return [self._range(first, last) for first, last in runs]

    def _range(self, first: int, last: int) -> str:
        """Ranges number `first` to before `last`, in words."""
        texts = number_texts(self.cuts, digits=4)
        low = texts[first - 1] if first > 0 else None
        high = texts[last - 1] if last <= len(self.cuts) else None
        if low is None:
            return "known" if high is None else f"below {high}"
        return f"{low} and above" if high is None else f"{low} to below {high}"


@config
class Condition:
    """That a column is one of some kinds."""

    column: SearchColumn
    kinds: tuple[str, ...]

    @property
    def text(self) -> str:
        """The condition in words, neighboring ranges as one."""
        kinds = self.column.joined(self.kinds) if self.column.cuts else self.kinds
        return f"{self.column.name} {' or '.join(kinds)}"


@dataclass(frozen=True, eq=False)
class Cells:
    """Speech that is alike in every searched column, speaker by speaker."""

    columns: tuple[SearchColumn, ...]
    kinds: tuple[tuple[str, ...], ...]
    """The kinds of each column, in alphabetical order."""
    codes: np.ndarray
    """(columns, C): which kind each cell is; -1 where unknown."""
    speakers_C: np.ndarray
    """Row of the speaker of each cell; cells are in this order."""
    errors_C: np.ndarray
    words_C: np.ndarray

    @property
    def is_by_speaker(self) -> bool:
        """Whether each speaker is one cell."""
        return bool(len(np.unique(self.speakers_C)) == len(self.speakers_C))

    def conditions(self) -> list[Condition]:
        """Every condition to be tried: each kind; for numbers also everything from a cut on."""
        found = []
        for column, kinds in zip(self.columns, self.kinds, strict=True):
            found.extend(Condition(column=column, kinds=(kind,)) for kind in kinds)
            labels = [label for label in column.labels if label in kinds]
            for size in range(2, len(labels)):
                found.append(Condition(column=column, kinds=tuple(labels[:size])))
                found.append(Condition(column=column, kinds=tuple(labels[-size:])))
        return found

    def members(self, condition: Condition) -> np.ndarray:
        """Which cells meet a condition."""
        row = self.columns.index(condition.column)
        wanted = [self.kinds[row].index(kind) for kind in condition.kinds]
        return np.isin(self.codes[row], wanted)


def search_columns(
    table: Table, attributes: Sequence[str] | None = None, *, min_speakers: int = 2
) -> tuple[SearchColumn, ...]:
    """The columns that can be searched: all that have kinds or are numbers, if none are named.

    Args:
        table: What to search.
        attributes: Columns to search.
        min_speakers: Of text with more than a dozen kinds, those with so many speakers are kept.

    Raises:
        TableError: There is no such attribute.
        CohortError: There is nothing to search.
    """
    for name in attributes or ():
        table.require_attribute(name)
    columns = (_search_column(table, name, min_speakers) for name in table.attributes)
    if attributes:
        columns = (_search_column(table, name, 1) for name in attributes)
    found = tuple(one for one in columns if one is not None)
    if not found:
        raise CohortError(
            "Searching subgroups needs attributes of a few kinds each, such as age or gender; this "
            "table has none.",
            hint="Join some with `Table.with_attributes`.",
        )
    return found


def _search_column(table: Table, name: str, min_speakers: int) -> SearchColumn | None:
    """One column, or None if its kinds are names or are all alike."""
    column = table.frame[name].drop_nulls()
    if column.dtype.is_nested():
        return None
    if column.dtype.is_numeric() and column.n_unique() > MAX_NUMBERS:
        cuts = tuple(range_cuts(table, name))
        return SearchColumn(name=name, cuts=cuts) if cuts else None
    if column.n_unique() <= MAX_NUMBERS:
        return SearchColumn(name=name) if column.n_unique() >= 2 else None
    kinds = (
        table.frame.select("speaker", pl.col(name).cast(pl.String).alias("kind"))
        .drop_nulls()
        .unique()
        .group_by("kind")
        .agg(pl.len().alias("speakers"))
        .filter(pl.col("speakers") >= min_speakers)
        .sort("speakers", "kind", descending=[True, False])
    )
    largest = tuple(kinds["kind"].head(MAX_NUMBERS))
    return SearchColumn(name=name, largest=largest) if largest else None


def search_cells(table: Table, columns: Sequence[SearchColumn]) -> Cells:
    """Add up the table into cells."""
    names = [f"kind {row}" for row in range(len(columns))]
    cells = (
        table.spoken.select(
            "speaker",
            "words",
            "errors",
            *(one.kinds().alias(name) for one, name in zip(columns, names, strict=True)),
        )
        .group_by("speaker", *names)
        .agg(pl.col("words", "errors").sum())
        .sort("speaker", *names)
    )
    kinds = [tuple(cells[name].drop_nulls().unique().sort()) for name in names]
    codes = [_codes(cells[name], known) for name, known in zip(names, kinds, strict=True)]
    return Cells(
        columns=tuple(columns),
        kinds=tuple(kinds),
        codes=np.stack(codes),
        speakers_C=np.unique(cells["speaker"].to_numpy().astype(str), return_inverse=True)[1],
        errors_C=cells["errors"].cast(pl.Float64).to_numpy(),
        words_C=cells["words"].cast(pl.Float64).to_numpy(),
    )


def assign_conditions(
    table: Table, conditions: Sequence[Condition], names: tuple[str, str, str], found_by: str
) -> Assignment:
    """Who meets all of the conditions.

    Args:
        table: Whose speakers or utterances.
        conditions: All must hold.
        names: Of the attribute, of those who meet the conditions, of everyone else.
        found_by: What found them.
    """
    attribute, inside, outside = names
    holds = pl.all_horizontal(one.column.kinds().is_in(list(one.kinds)) for one in conditions)
    value = pl.when(holds).then(pl.lit(inside)).when(~holds).then(pl.lit(outside))
    rows = table.frame.select("utterance_id", "speaker", value.alias("value")).drop_nulls("value")
    by_speaker = rows.select("speaker", "value").unique(maintain_order=True)
    if by_speaker["speaker"].n_unique() == by_speaker.height:
        return Assignment(attribute, by_speaker.sort("speaker"), found_by, (inside,))
    return Assignment(attribute, rows.select("utterance_id", "value"), found_by, (inside,))


def _codes(column: pl.Series, known: tuple[str, ...]) -> np.ndarray:
    rows = {kind: row for row, kind in enumerate(known)}
    return np.array([rows.get(kind, -1) for kind in column], dtype=np.int64)
