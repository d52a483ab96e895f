# SPDX-License-Identifier: Apache-2.0
"""Cohorts: who belongs to which group, however that was found.

An `Assignment` gives each speaker (or each utterance) one value of one attribute, or null where the
value is unknown. `Cohorts` is several of these side by side. Attributes of the table, regions of a
map, census partitions and clusters of voices all become assignments, and from there on everything
is treated alike.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import polars as pl

from evenear.audit.tables.table import Table
from evenear.errors import CohortError

__all__ = [
    "CROSS",
    "MAX_NUMBERS",
    "Assignment",
    "Cohorts",
    "Key",
    "cohorts_by",
    "even_cuts",
    "intersect",
    "number_texts",
    "range_cuts",
    "range_names",
    "ranges",
]

Key = Literal["speaker", "utterance_id"]

CROSS = "×"
"""Joins the names and the values of an intersection: age×gender, teens×female."""

MAX_NUMBERS = 12
"""A numeric attribute with more values than this is cut into ranges."""


@dataclass(frozen=True)
class Assignment:
    """One value of one attribute for each speaker or utterance.

    `frame` has two string columns: the key ("speaker" or "utterance_id") and "value". A key that
    is missing, or whose value is null, has an unknown value: it counts neither in a cohort of
    this attribute nor in the rest that the cohort is compared with.
    """

    attribute: str
    frame: pl.DataFrame
    found_by: str = "given"
    """"given", or the name of what found it: geography, census, voice, subgroups."""
    reported: tuple[str, ...] | None = None
    """The values to report on; all if None. Others still count in the rest."""

    @property
    def key(self) -> Key:
        """What the values belong to."""
        return "speaker" if "speaker" in self.frame.columns else "utterance_id"

    @classmethod
    def of_speakers(
        cls, attribute: str, values: dict[str, str | None], *, found_by: str = "given"
    ) -> "Assignment":
        """An assignment from a mapping of speakers to values."""
        columns = {"speaker": list(values), "value": list(values.values())}
        schema = {"speaker": pl.String, "value": pl.String}
        return cls(attribute, pl.DataFrame(columns, schema=schema), found_by)


@dataclass(frozen=True)
class Cohorts:
    """Ways to divide speakers. They add: `given + found`."""

    assignments: tuple[Assignment, ...] = ()

    def __add__(self, other: "Cohorts") -> "Cohorts":
        """Both sets of assignments.

        Raises:
            CohortError: An attribute is in both.
        """
        names = [one.attribute for one in (*self.assignments, *other.assignments)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise CohortError(f"An attribute may be assigned once; {twice[0]!r} is there twice.")
        return Cohorts(self.assignments + other.assignments)

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the attributes, in order."""
        return tuple(one.attribute for one in self.assignments)


def cohorts_by(table: Table, attributes: Iterable[str], *, num_ranges: int = 4) -> Cohorts:
    """Cohorts by columns of the table; `age×gender` (or `age*gender`) is an intersection.

    A column of numbers with more than a dozen values is cut into `num_ranges` ranges of about
    equally many speakers, or of about equally many utterances where it changes within speakers.

    Raises:
        TableError: There is no such attribute.
    """
    assignments = []
    for name in attributes:
        parts = [part.strip() for part in name.replace("*", CROSS).split(CROSS)]
        single = [_assignment(table, part, num_ranges) for part in parts]
        assignments.append(reduce(lambda a, b: intersect(table, a, b), single))
    return sum((Cohorts((one,)) for one in assignments), Cohorts())


def intersect(table: Table, first: Assignment, second: Assignment) -> Assignment:
    """The cohorts of people who share two values."""
    name = f"{first.attribute}{CROSS}{second.attribute}"
    found_by = first.found_by if first.found_by == second.found_by else "given"
    if first.key == second.key:
        key = first.key
        joined = first.frame.join(second.frame, on=key, how="inner", suffix="_second")
    else:
        key = "utterance_id"
        by_speaker, by_utterance = (first, second) if first.key == "speaker" else (second, first)
        joined = (
            table.frame.select("utterance_id", "speaker")
            .join(by_utterance.frame, on="utterance_id", how="inner")
            .join(by_speaker.frame, on="speaker", how="inner", suffix="_second")
        )
        if by_speaker is first:
            joined = joined.rename({"value": "value_second", "value_second": "value"})
    value = pl.concat_str("value", "value_second", separator=CROSS, ignore_nulls=False)
    return Assignment(name, joined.select(key, value.alias("value")), found_by)


def number_texts(numbers: Sequence[float], *, digits: int = 6) -> list[str]:
    """Different numbers as different texts: with so many digits, or with as many as it takes."""
    whole = max(len(f"{abs(number):.0f}") for number in numbers)
    return next(
        texts
        for more in range(max(digits, min(whole, 17)), 18)
        if len(set(texts := [f"{number:.{more}g}" for number in numbers])) == len(set(numbers))
    )


def even_cuts(numbers: pl.Series, num_ranges: int = 4) -> list[float]:
    """Where to cut numbers so that each range has about equally many of them."""
    numbers = numbers.drop_nulls().cast(pl.Float64)
    numbers = numbers.filter(numbers.is_finite())
    steps = [step / num_ranges for step in range(1, num_ranges)]
    cuts = {numbers.quantile(step, "nearest") for step in steps}
    above = numbers.filter(numbers > numbers.min()) if len(numbers) else numbers
    found = {float(cut) for cut in cuts if cut is not None and cut != numbers.min()}
    return sorted(found) or [float(above.min())][: len(above)]  # pyright: ignore[reportArgumentType]


def range_cuts(table: Table, attribute: str, num_ranges: int = 4) -> list[float]:
    """Where to cut a column of numbers, so that each range holds about as much as any other.

    Speakers are counted if each has one number. Else rows are: the means of speakers lie closer
    together than what they are means of, and cut at these the outer ranges would hold nearly all.
    """
    numbers = table.frame.select("speaker", pl.col(attribute).cast(pl.Float64).alias("number"))
    numbers = numbers.filter(pl.col("number").is_finite())
    by_speaker = numbers.unique()
    is_of_speakers = by_speaker["speaker"].n_unique() == by_speaker.height
    return even_cuts((by_speaker if is_of_speakers else numbers)["number"], num_ranges)


def range_names(cuts: Sequence[float]) -> list[str]:
    """Names of the ranges between cuts, lowest first."""
    if not cuts:
        return ["any"]
    text = number_texts(cuts)
    between = [f"{low} to below {high}" for low, high in itertools.pairwise(text)]
    return [f"below {text[0]}", *between, f"{text[-1]} and above"]


def ranges(numbers: pl.Expr, cuts: Sequence[float], names: Sequence[str]) -> pl.Expr:
    """The name of the range that each number lies in; a cut belongs to the range above it."""
    numbers = numbers.cast(pl.Float64)
    found = pl.lit(names[-1])
    for cut, name in zip(reversed(cuts), reversed(names[:-1]), strict=True):
        found = pl.when(numbers < cut).then(pl.lit(name)).otherwise(found)
    return pl.when(numbers.is_not_null() & numbers.is_not_nan()).then(found)


def _assignment(table: Table, attribute: str, num_ranges: int) -> Assignment:
    table.require_attribute(attribute)
    column = table.frame[attribute]
    if column.dtype.is_float():
        column = column.fill_nan(None)
    if column.dtype.is_numeric() and column.n_unique() > MAX_NUMBERS:
        column = _ranges(table, attribute, num_ranges)
    values = table.frame.select("utterance_id", "speaker", column.cast(pl.String).alias("value"))
    values = values.drop_nulls("value")
    by_speaker = values.select("speaker", "value").unique(maintain_order=True)
    if by_speaker["speaker"].n_unique() == by_speaker.height:
        return Assignment(attribute, by_speaker.sort("speaker"))
    return Assignment(attribute, values.select("utterance_id", "value"))


def _ranges(table: Table, attribute: str, num_ranges: int) -> pl.Series:
    cuts = range_cuts(table, attribute, num_ranges)
    return table.frame.select(ranges(pl.col(attribute), cuts, range_names(cuts))).to_series()
