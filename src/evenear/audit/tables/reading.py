# SPDX-License-Identifier: Apache-2.0
"""Read what a recognizer wrote, in whatever table it comes, and count its word errors.

    read_table("results.jsonl")                            one table: JSONL, CSV, TSV or Parquet
    read_table("hyp", reference="ref")                     kaldi text files
    read_table("hyp.seglst.json", reference="ref.seglst.json")     segments of several speakers
    read_table("hyp.csv", reference="corpus.tsv")          two tables that share utterance ids

Columns are recognized by their usual names. Texts are aligned batch by batch and only those of the
utterances with most errors are kept, so the table may be much larger than memory; counts and
attributes stay for every utterance.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import polars as pl

from evenear.audit.tables.alignment import count_word_errors
from evenear.audit.tables.cleaning import (
    Notes,
    clean_attributes,
    clean_counts,
    clean_keys,
    clean_places,
    clean_zips,
    key_text,
)
from evenear.audit.tables.columns import missing_columns, name_columns, with_our_names
from evenear.audit.tables.formats import file_format, plain_name, read_frames
from evenear.audit.tables.pairs import paired_frame
from evenear.audit.tables.table import COUNT_COLUMNS, TEXT_COLUMNS, Table
from evenear.errors import TableError, nearest_names

__all__ = ["ALIGNED_AT_ONCE", "Duplicates", "read_systems", "read_table"]

Duplicates = Literal["error", "first", "keep"]

ALIGNED_AT_ONCE = 200_000
"""Utterances that are aligned together."""


def read_table(
    path: str | Path,
    *,
    reference: str | Path | None = None,
    attributes: Sequence[str | Path] = (),
    columns: Mapping[str, str] | None = None,
    normalizer: str = "basic",
    duplicates: Duplicates = "error",
    keep_texts: int = 200_000,
    name: str | None = None,
) -> Table:
    """Read results and count their word errors.

    Args:
        path: The results.
        reference: The other half, if `path` holds only hypotheses.
        attributes: More tables, matched by speaker or by utterance id: metadata, or kaldi's
            utt2spk and spk2gender.
        columns: Names of columns that are not recognized, ours to theirs, such as
            {"hypothesis": "my_output"}.
        normalizer: How texts are made comparable; see `evenear.metrics.words`. Where the table
            already has errors and words, these are taken as they are.
        duplicates: What to do when an utterance id has two different rows: refuse, take the
            "first", or "keep" both as utterances of their own. Equal rows are always taken once.
        keep_texts: Utterances whose texts are kept, those with most errors first.
        name: What to call this recognizer; the file's name if None.

    Raises:
        TableError: The table lacks what an audit needs, or cannot be read.
    """
    path, notes = Path(path), Notes()
    frame, normalizer = _rows(
        path, notes, reference, attributes, columns or {}, normalizer, keep_texts
    )
    frame = _without_duplicates(frame, duplicates, notes)
    return _finished(frame, name or plain_name(path), normalizer, notes)


def read_systems(
    path: str | Path, *, column: str = "system", duplicates: Duplicates = "error", **settings: Any
) -> tuple[Table, ...]:
    """Read the results of several recognizers from one table, in the order of their first rows.

    Args:
        path: The results; an utterance has a row for each recognizer.
        column: Which column says whose results a row is.
        duplicates: As in `read_table`, for each recognizer.
        settings: reference, attributes, columns, normalizer and keep_texts, as in `read_table`.

    Raises:
        TableError: As in `read_table`, or there is no such column.
    """
    path, notes = Path(path), Notes()
    how = {"reference": None, "attributes": (), "columns": {}, "normalizer": "basic"}
    how |= {"keep_texts": 200_000, **settings}
    frame, normalizer = _rows(path, notes, **how)
    if column not in frame.columns:
        raise TableError(
            f"{path.name} has no column {column!r} that names recognizers.",
            hint=nearest_names(column, frame.columns),
        )
    names = frame[column].cast(pl.String)
    notes("{} rows name no recognizer and were left out.", names.null_count())
    tables = []
    for name in names.drop_nulls().unique(maintain_order=True):
        own = notes.copy()
        rows = _without_duplicates(frame.filter(names == name).drop(column), duplicates, own)
        tables.append(_finished(rows, name, normalizer, own))
    return tuple(tables)


def _rows(
    path: Path,
    notes: Notes,
    reference: str | Path | None,
    attributes: Sequence[str | Path],
    columns: Mapping[str, str] | None,
    normalizer: str,
    keep_texts: int,
) -> tuple[pl.DataFrame, str]:
    """Counted rows of a file, and what their texts were normalized by."""
    extras = [_Extra.read(Path(extra), notes) for extra in attributes]
    if reference is None:
        frames: Iterator[pl.DataFrame] = read_frames(path, notes)
    else:
        frames = iter([paired_frame(path, Path(reference), columns or {}, normalizer, notes)])
        columns = None
    reader = _Reader(path.name, columns or {}, normalizer, keep_texts, notes)
    for frame in frames:
        reader.add(frame, extras)
    for extra in extras:
        extra.check(path.name, notes)
    return reader.frame(), "as counted" if reader.counted else normalizer


@dataclass
class _Extra:
    """Attributes from another file, matched by speaker or by utterance id."""

    name: str
    frame: pl.DataFrame
    key: str
    column: str
    """What the key is called in the file."""
    matched: int = 0
    strangers: set[str] = field(default_factory=set)
    """Keys of the results that the file lacks."""

    @classmethod
    def read(cls, path: Path, notes: Notes) -> "_Extra":
        frame = pl.concat(read_frames(path, notes), how="diagonal_relaxed")
        if file_format(path) == "kaldi":
            whose, _, attribute = path.name.partition("2")
            key = "speaker" if whose in ("spk", "speaker") else "utterance_id"
            attribute = "speaker" if attribute in ("spk", "speaker") else attribute or path.stem
            return cls._of(path, frame.rename({"utterance_id": key, "text": attribute}), key, key)
        theirs = {ours: name for name, ours in name_columns(frame.columns).items()}
        frame = with_our_names(frame)
        key = "utterance_id" if "utterance_id" in frame.columns else "speaker"
        if key not in frame.columns:
            raise TableError(
                f"{path.name} needs a column of speakers or of utterance ids to be matched on.",
                hint=nearest_names("speaker", frame.columns),
            )
        frame = frame.drop(*TEXT_COLUMNS, *COUNT_COLUMNS, strict=False)
        return cls._of(path, frame, key, theirs[key])

    @classmethod
    def _of(cls, path: Path, frame: pl.DataFrame, key: str, column: str) -> "_Extra":
        frame = frame.with_columns(key_text(key)).drop_nulls(key).unique(maintain_order=True)
        twice = frame.filter(pl.col(key).is_duplicated())
        if twice.height:
            what = "speaker" if key == "speaker" else "utterance id"
            raise TableError(
                f"Each {what} may have one row in {path.name}; {twice[key][0]!r} has several that "
                "differ.",
                hint="Decide for one of them. If rows are utterances, they need a column "
                "utterance_id."
                if key == "speaker"
                else "Decide for one of them.",
            )
        return cls(path.name, frame, key, column)

    def join(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with this file's columns in the place of its own."""
        if self.key not in frame.columns:
            return frame
        right, frame = self.frame, frame.with_columns(key_text(self.key))
        self.matched += frame.join(right, on=self.key, how="semi").height
        absent = frame.join(right, on=self.key, how="anti")[self.key]
        self.strangers.update(absent.drop_nulls().unique())
        replaced = [name for name in right.columns if name != self.key]
        return frame.drop(replaced, strict=False).join(
            right, on=self.key, how="left", maintain_order="left"
        )

    def check(self, results: str, notes: Notes) -> None:
        """Refuse a file that matched nothing; note how much it lacks."""
        if not self.matched:
            hint = "Are the names written alike in both?"
            if self.key == "utterance_id" and self.column != self.key:
                hint = (
                    f"Its column {self.column!r} was taken as utterance ids; if it names speakers, "
                    "call it 'speaker'."
                )
            raise TableError(f"No {self.key} of {self.name} is in {results}.", hint=hint)
        what = "speakers" if self.key == "speaker" else "utterances"
        notes(f"{{}} {what} are not in {self.name}.", len(self.strangers))


class _Reader:
    """Turns batches of a file into rows of a table, and keeps the texts worth keeping."""

    def __init__(
        self,
        source: str,
        columns: Mapping[str, str],
        normalizer: str,
        keep_texts: int,
        notes: Notes,
    ) -> None:
        self.source, self.columns, self.normalizer = source, columns, normalizer
        self.keep_texts, self.notes = keep_texts, notes
        self.rows: list[pl.DataFrame] = []
        kinds = {"row": pl.Int64, "errors": pl.Int64, **dict.fromkeys(TEXT_COLUMNS, pl.String)}
        self.texts = pl.DataFrame(schema=kinds)
        self.num_read = 0
        self.num_kept = 0
        self.counted = False
        """Whether the table brought counts that are not those of aligning its texts."""

    def add(self, frame: pl.DataFrame, extras: Sequence[_Extra]) -> None:
        """Take one batch."""
        found = frame.columns
        frame = with_our_names(frame, self.columns)
        for extra in extras:
            if extra.key == "utterance_id":
                frame = extra.join(frame)
        num_rows = frame.height
        frame = clean_keys(frame, self.num_read, self.notes)
        for extra in extras:
            if extra.key == "speaker":
                frame = extra.join(frame)
        self.num_read += num_rows
        frame = clean_zips(self._counted(frame, found), self.notes)
        frame = frame.with_row_index("row", offset=self.num_kept).cast({"row": pl.Int64})
        self.num_kept += frame.height
        self._keep_texts(frame)
        self.rows.append(frame.drop(TEXT_COLUMNS))

    def frame(self) -> pl.DataFrame:
        """All rows, columns in the order of `Table`.

        Raises:
            TableError: There are no rows, or no words in them.
        """
        frame = pl.concat(self.rows, how="diagonal_relaxed") if self.rows else pl.DataFrame()
        self.rows.clear()
        if frame.height == 0 or not frame["words"].sum():
            why = "no rows" if frame.height == 0 else "no reference words"
            raise TableError(
                f"{self.source} has {why} to audit ({self.num_read} rows read, {frame.height} "
                "usable).",
                hint="; ".join(self.notes.sentences()) or "Is it the right file?",
            )
        if self.texts.height > self.keep_texts:
            self._prune_texts()
        texts = self.texts.drop("errors")
        frame = frame.join(texts, on="row", how="left", maintain_order="left")
        first = ["utterance_id", "speaker", *TEXT_COLUMNS, *COUNT_COLUMNS]
        rest = [name for name in frame.columns if name not in {*first, "row"}]
        return frame.select(*first, *rest)

    def _counted(self, frame: pl.DataFrame, found: Sequence[str]) -> pl.DataFrame:
        """The frame with counts: its own if it has them, else those of aligning its texts."""
        parts = [name for name in COUNT_COLUMNS[2:] if name in frame.columns]
        if "words" in frame.columns and "errors" not in frame.columns and len(parts) == 3:
            numbers = pl.col(parts).cast(pl.Float64, strict=False)
            total = pl.sum_horizontal(numbers, ignore_nulls=False)
            frame = frame.with_columns(total.alias("errors"))
        if "words" in frame.columns and "errors" in frame.columns:
            frame = clean_counts(frame, ["words", "errors", *parts], self.notes)
            self.counted = self.counted or not self._fits_texts(frame)
        elif not all(name in frame.columns for name in TEXT_COLUMNS):
            missing = [name for name in TEXT_COLUMNS if name not in frame.columns]
            raise missing_columns(self.source, found, missing)
        else:
            frame = _aligned(frame, self.normalizer, self.notes)
        absent = dict.fromkeys(TEXT_COLUMNS, pl.String) | dict.fromkeys(COUNT_COLUMNS, pl.Int64)
        return frame.with_columns(
            pl.lit(None, dtype=kind).alias(name)
            for name, kind in absent.items()
            if name not in frame.columns
        )

    def _fits_texts(self, frame: pl.DataFrame) -> bool:
        """Whether the table's own counts are those of its texts; if not, that is told."""
        if not all(name in frame.columns for name in TEXT_COLUMNS):
            return False
        some = frame.head(ALIGNED_AT_ONCE)
        ours = count_word_errors(some["reference"], some["hypothesis"], normalizer=self.normalizer)
        given = int(some["errors"].sum()), int(some["words"].sum())
        found = int(ours.errors.sum()), int(ours.words.sum())
        if given != found:
            self.notes(
                f"The table's own counts are used: {given[0]:,} errors in {given[1]:,} words. "
                f"Aligning its texts with normalizer {self.normalizer!r} gives {found[0]:,} in "
                f"{found[1]:,}."
            )
        return given == found

    def _keep_texts(self, frame: pl.DataFrame) -> None:
        texts = [pl.col(name).cast(pl.String) for name in TEXT_COLUMNS]
        self.texts = pl.concat([self.texts, frame.select("row", "errors", *texts)])
        if self.texts.height > 2 * self.keep_texts:
            self._prune_texts()

    def _prune_texts(self) -> None:
        self.texts = self.texts.sort("errors", descending=True, maintain_order=True).head(
            self.keep_texts
        )


def _aligned(frame: pl.DataFrame, normalizer: str, notes: Notes) -> pl.DataFrame:
    """Counts from texts; utterances without a reference are left out."""
    num_rows = frame.height
    frame = frame.drop(COUNT_COLUMNS, strict=False).drop_nulls("reference")
    notes("{} utterances have no reference and were left out.", num_rows - frame.height)
    notes(
        "{} utterances have no hypothesis: all their words count as deleted. If they were never "
        "recognized, leave them out of the table.",
        frame["hypothesis"].null_count(),
    )
    lots = []
    for start in range(0, max(frame.height, 1), ALIGNED_AT_ONCE):
        lot = frame.slice(start, ALIGNED_AT_ONCE)
        counts = count_word_errors(lot["reference"], lot["hypothesis"], normalizer=normalizer)
        columns = {name: getattr(counts, name) for name in COUNT_COLUMNS}
        lots.append(lot.hstack(pl.DataFrame(columns)))
    return pl.concat(lots)


def _without_duplicates(frame: pl.DataFrame, duplicates: Duplicates, notes: Notes) -> pl.DataFrame:
    twice = frame["utterance_id"].is_duplicated()
    if not twice.any():
        return frame
    distinct = frame.unique(maintain_order=True)
    notes("{} rows repeat another row exactly and were left out.", frame.height - distinct.height)
    again = ~distinct["utterance_id"].is_first_distinct()
    num_again = len(distinct.filter(again))
    if not num_again:
        return distinct
    if duplicates == "error":
        name = distinct.filter(again)["utterance_id"][0]
        raise TableError(
            f"An utterance id may stand in one row; {num_again} rows repeat one with other "
            f"content, such as {name!r}.",
            hint="If the table holds several systems, name them in a column 'system'. Else choose "
            "duplicates='first', or duplicates='keep' to take them as different utterances.",
        )
    if duplicates == "first":
        notes("{} rows repeat an utterance id and were left out.", num_again)
        return distinct.filter(~again)
    notes("{} rows repeat an utterance id and were kept under new ids.", num_again)
    nth = pl.int_range(pl.len()).over("utterance_id")
    fresh = pl.concat_str("utterance_id", pl.lit("#"), nth + 1)
    return distinct.with_columns(pl.when(nth > 0).then(fresh).otherwise("utterance_id"))


def _finished(frame: pl.DataFrame, name: str, normalizer: str, notes: Notes) -> Table:
    frame = clean_places(frame, notes)
    frame = clean_attributes(frame, Table(frame).attributes, notes)
    if frame["speaker"].n_unique() == 1:
        notes(
            "There is one speaker: error rates can be given, but no interval and no gap, because "
            "nothing says how other speakers would fare."
        )
    return Table(frame, normalizer=normalizer, warnings=notes.sentences(), name=name)
