# SPDX-License-Identifier: Apache-2.0
"""What tables of results suffer from, and how much of it can be mended.

Each repair is counted and told once, in a sentence that says what was done. Nothing is mended in
silence, and nothing that has two readings is guessed unless one reading is impossible (a latitude
of -122 is a longitude).
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import polars as pl

from evenear.errors import TableError

__all__ = [
    "SOUTHERNMOST_TOWN",
    "UNKNOWN",
    "Notes",
    "clean_attributes",
    "clean_counts",
    "clean_keys",
    "clean_places",
    "clean_zips",
    "key_text",
]

UNKNOWN = ("", "na", "n/a", "nan", "null", "unknown", "<na>")
"""Spellings of a value that is not known, whatever their case."""

SOUTHERNMOST_TOWN = -56.0
"""Nobody lives further south, so latitudes beyond it are longitudes."""


class Notes:
    """Sentences with a number in them, added up over batches."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def __call__(self, sentence: str, count: int = 1) -> None:
        """Add `count` to a sentence; `{}` in it stands for the sum."""
        if count:
            self._counts[sentence] += int(count)

    def copy(self) -> "Notes":
        """The same so far."""
        copied = Notes()
        copied._counts.update(self._counts)
        return copied

    def sentences(self) -> tuple[str, ...]:
        """All of them, each with its sum, in the order of their first use."""
        return tuple(
            text.replace("{}", f"{count:,}", 1) if "{}" in text else text
            for text, count in self._counts.items()
        )


def clean_keys(frame: pl.DataFrame, first_row: int, notes: Notes) -> pl.DataFrame:
    """Give every row an utterance id and a speaker, both as trimmed text."""
    number = pl.int_range(first_row + 1, first_row + frame.height + 1).cast(pl.String)
    own_id = pl.concat_str(pl.lit("row "), number)
    if "utterance_id" not in frame.columns:
        notes("Utterances have no id; they are named by their row.")
        frame = frame.with_columns(own_id.alias("utterance_id"))
    frame = frame.with_columns(_known_text("utterance_id").fill_null(own_id).alias("utterance_id"))
    if "speaker" not in frame.columns:
        notes(
            "There is no speaker column: every utterance counts as a speaker of its own. If people "
            "spoke more than once, intervals are too narrow."
        )
        return frame.with_columns(pl.col("utterance_id").alias("speaker"))
    frame = frame.with_columns(_known_text("speaker").alias("speaker"))
    notes(
        "{} utterances have no speaker; each counts as a speaker of its own.",
        frame["speaker"].null_count(),
    )
    return frame.with_columns(
        pl.col("speaker").fill_null(pl.concat_str(pl.lit("speaker of "), "utterance_id"))
    )


def key_text(name: str) -> pl.Expr:
    """A column of ids or speakers as text that can be compared: composed (NFC) and trimmed."""
    return pl.col(name).cast(pl.String).str.normalize("NFC").str.strip_chars()


def clean_counts(frame: pl.DataFrame, names: Sequence[str], notes: Notes) -> pl.DataFrame:
    """Counts as whole numbers; rows whose words or errors are not countable are left out.

    Raises:
        TableError: Hardly any row has countable words and errors.
    """
    numbers = [pl.col(name).cast(pl.Float64, strict=False).alias(name) for name in names]
    frame = frame.with_columns(numbers)
    usable = pl.all_horizontal(
        (
            pl.col(name).is_finite() & (pl.col(name) >= 0) & (pl.col(name) == pl.col(name).floor())
        ).fill_null(False)
        for name in ("words", "errors")
    )
    kept = frame.filter(usable)
    if frame.height > 1 and kept.height < frame.height / 2:
        raise TableError(
            f"The columns words and errors must hold whole numbers; {frame.height - kept.height} "
            f"of {frame.height} rows do not.",
            hint="If these are rates or texts, take other columns with columns={'errors': '…'}.",
        )
    notes(
        "{} rows were left out: their words or errors are missing, negative, infinite, or not "
        "whole numbers.",
        frame.height - kept.height,
    )
    return kept.with_columns(pl.col(name).cast(pl.Int64, strict=False) for name in names)


def clean_zips(frame: pl.DataFrame, notes: Notes) -> pl.DataFrame:
    """US ZIP codes as five digits; zeros that a spreadsheet ate are put back."""
    if "zip" not in frame.columns:
        return frame
    given = _known_text("zip").str.replace(r"\.0+$", "")
    digits = given.str.extract(r"^(\d{1,9})(?:-\d{0,4})?$", 1)
    digits = pl.when(digits.str.len_chars() >= 8).then(digits.str.zfill(9).str.slice(0, 5))
    short = given.str.extract(r"^(\d{1,5})(?:-\d{0,4})?$", 1)
    frame = frame.with_columns(given.alias("_given"), digits.otherwise(short).alias("_digits"))
    lost = frame.filter(pl.col("_digits").str.len_chars() < 5).height
    notes("{} ZIP codes had lost leading zeros; they were put back.", lost)
    strange = frame.filter(pl.col("_given").is_not_null() & pl.col("_digits").is_null()).height
    notes("{} ZIP codes are not US ZIP codes and count as unknown.", strange)
    five = pl.col("_digits").str.zfill(5).alias("zip")
    return frame.with_columns(five).drop("_given", "_digits")


def clean_places(frame: pl.DataFrame, notes: Notes) -> pl.DataFrame:
    """Latitude and longitude as finite degrees, both or neither, not swapped."""
    there = [name for name in ("latitude", "longitude") if name in frame.columns]
    if len(there) == 1:
        notes(f"There is a {there[0]} without its counterpart; it is not used.")
        return frame.drop(there)
    if not there:
        return frame
    frame = frame.with_columns(
        pl.col(name).cast(pl.Float64, strict=False).fill_nan(None).alias(name) for name in there
    )
    latitude, longitude = frame["latitude"], frame["longitude"]
    if _is_swapped(latitude, longitude):
        notes("Latitude and longitude were swapped, and were put right.")
        frame = frame.with_columns(longitude.alias("latitude"), latitude.alias("longitude"))
    nowhere = (pl.col("latitude") == 0) & (pl.col("longitude") == 0)
    inside = (pl.col("latitude").abs() <= 90) & (pl.col("longitude").abs() <= 360)
    valid = (inside & ~nowhere).fill_null(False)
    given = frame.select((pl.col("latitude").is_not_null() & ~valid).sum()).item()
    notes("{} places are impossible, or 0, 0, and count as unknown.", given)
    wrapped = (pl.col("longitude") + 180.0) % 360.0 - 180.0
    eastern = pl.when(pl.col("longitude").abs() <= 180).then("longitude").otherwise(wrapped)
    frame = frame.with_columns(
        pl.when(valid).then("latitude").alias("latitude"),
        pl.when(valid).then(eastern).alias("longitude"),
    )
    notes("{} utterances have no place.", frame["latitude"].null_count())
    places = frame.select("latitude", "longitude").drop_nulls().unique().height
    if places == 1:
        notes("All coordinates are equal: there is no geography to search.")
    return frame


def clean_attributes(frame: pl.DataFrame, names: Sequence[str], notes: Notes) -> pl.DataFrame:
    """Attributes as text or numbers; unknowns are null, spellings that differ in case are one."""
    for name in names:
        if frame[name].dtype == pl.String:
            frame = frame.with_columns(_known_text(name).alias(name))
            frame = _as_numbers(frame, name)
        if frame[name].dtype == pl.String:
            frame = _one_spelling(frame, name, notes)
        elif frame[name].dtype.is_float():
            finite = pl.when(pl.col(name).is_finite()).then(name)
            frame = frame.with_columns(finite.alias(name))
        elif frame[name].dtype == pl.Boolean:
            words = pl.when(name).then(pl.lit("yes")).when(~pl.col(name)).then(pl.lit("no"))
            frame = frame.with_columns(words.alias(name))
    return frame


def _known_text(name: str) -> pl.Expr:
    text = key_text(name)
    return pl.when(~text.str.to_lowercase().is_in(UNKNOWN)).then(text)


def _is_swapped(latitude: pl.Series, longitude: pl.Series) -> bool:
    """Whether latitudes are impossible, or off every inhabited coast, and swapping mends it."""
    if latitude.null_count() == len(latitude) or longitude.null_count() == len(longitude):
        return False
    fits = float(longitude.abs().drop_nulls().quantile(0.99) or 0.0) <= 90.0
    degrees = latitude.drop_nulls()
    beyond = degrees.filter(degrees.abs().is_between(90.0, 180.0, closed="right"))
    polar = degrees.filter(degrees.is_between(-90.0, SOUTHERNMOST_TOWN, closed="left"))
    return fits and len(beyond) + len(polar) > 0.5 * len(degrees)


def _as_numbers(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """Text that is all numbers becomes numbers, unless zeros in front say that it is a code."""
    text = frame[name].drop_nulls()
    if len(text) == 0 or text.head(1000).str.contains(r"^-?0\d").any():
        return frame
    for kind in (pl.Int64, pl.Float64):
        numbers = frame[name].cast(kind, strict=False)
        if numbers.null_count() == frame[name].null_count():
            return frame.with_columns(numbers.alias(name))
    return frame


def _one_spelling(frame: pl.DataFrame, name: str, notes: Notes) -> pl.DataFrame:
    counts = frame[name].drop_nulls().value_counts(sort=True)
    if counts.height > 10_000:
        return frame
    first: dict[str, str] = {}
    changes: Mapping[str, str] = {
        value: first[value.casefold()]
        for value in counts[name]
        if first.setdefault(value.casefold(), value) != value
    }
    if not changes:
        return frame
    shown = ", ".join(f"{old!r} as {new!r}" for old, new in list(changes.items())[:3])
    notes(f"{{}} values of {name} differ only in case and count as one: {shown}.", len(changes))
    return frame.with_columns(pl.col(name).replace(changes))
