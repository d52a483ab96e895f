# SPDX-License-Identifier: Apache-2.0
"""Files as polars frames, a batch at a time: JSONL, JSON, CSV, TSV, Parquet, kaldi text.

A file is never held whole: bytes are cut at line ends into batches, so a table may be larger than
memory. Everything in a delimited file is read as text, so that ZIP codes keep their zeros; what is
a number is decided later. Bytes that are not UTF-8 are taken as Windows-1252, line by line, and a
note says so. A few broken JSON lines (a writer that was killed) are left out, with a note.
"""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import polars as pl

from evenear.errors import TableError

__all__ = ["BATCH_BYTES", "BATCH_ROWS", "Note", "file_format", "plain_name", "read_frames"]

Note = Callable[[str, int], None]
"""Takes a sentence with `{}` where a number of cases belongs, and the number to add to it."""

BATCH_BYTES = 64 << 20
"""Bytes of text that are read at a time."""

BATCH_ROWS = 500_000
"""Rows of Parquet that are read at a time."""

_UNREADABLE = (
    pl.exceptions.PolarsError, gzip.BadGzipFile, zlib.error, EOFError, UnicodeDecodeError,
)  # fmt: skip

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")

_FORMATS = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".seglst": "json",
    ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet", ".pq": "parquet",
    ".txt": "kaldi", ".text": "kaldi", ".ref": "kaldi", ".hyp": "kaldi", "": "kaldi",
}  # fmt: skip


def file_format(path: Path) -> str:
    """The format that a file's name promises: jsonl, json, csv, tsv, parquet or kaldi.

    Raises:
        TableError: The file is not there, is empty, or has an unknown suffix.
    """
    if path.is_dir():
        raise TableError(
            f"{str(path)!r} is a folder; one table is required.", hint="Give a file inside it."
        )
    if not path.is_file():
        raise TableError(f"There is no file {str(path)!r}.", hint="Check the path.")
    if path.stat().st_size == 0:
        raise TableError(f"{path.name} is empty: 0 bytes.", hint="Was it written to the end?")
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    kind = _FORMATS.get(suffixes[-1] if suffixes else "")
    if kind is None and path.name.lower() in ("text", "ref", "hyp"):
        return "kaldi"
    if kind is None:
        raise TableError(
            f"{path.name} must be JSONL, JSON (SegLST), CSV, TSV, Parquet or kaldi text, "
            f"got the suffix {suffixes[-1]!r}.",
            hint="Rename it to what it is, such as results.jsonl.",
        )
    return kind


def plain_name(path: Path) -> str:
    """What to call the results in a file: its name without what says how it is written.

    Only endings that are formats are taken off: deepspeech-0.7.3.tsv is deepspeech-0.7.3.
    """
    name = path.name
    while (suffix := Path(name).suffix.lower()) and (suffix in _FORMATS or suffix == ".gz"):
        name = name[: -len(suffix)]
    return name or path.name


def read_frames(path: Path, note: Note) -> Iterator[pl.DataFrame]:
    """Read a file as frames of some hundred thousand rows.

    Args:
        path: What to read; a `.gz` at the end is unpacked.
        note: Called for whatever had to be repaired.

    Raises:
        TableError: The file cannot be read as what its name says.
    """
    kind = file_format(path)
    try:
        if kind == "parquet":
            yield from _parquet(path)
        elif kind == "json":
            yield _json(path)
        elif kind == "jsonl":
            yield from _jsonl(path, note)
        elif kind == "kaldi":
            yield from _kaldi(path, note)
        else:
            yield from _delimited(path, kind, note)
    except _UNREADABLE as error:
        raise TableError(
            f"{path.name} cannot be read as {kind}: {str(error).splitlines()[0]}",
            hint="Check that its suffix fits its content and that it was written to the end.",
        ) from None


def _parquet(path: Path) -> Iterator[pl.DataFrame]:
    scan = pl.scan_parquet(path)
    height = int(scan.select(pl.len()).collect().item())
    for start in range(0, max(height, 1), BATCH_ROWS):
        yield scan.slice(start, BATCH_ROWS).collect()


def _json(path: Path) -> pl.DataFrame:
    with _open(path) as stream:
        content = stream.read()
    if content[:2] in _UTF16_MARKS:
        text = content.decode("utf-16")
    else:
        text = content.decode("utf-8-sig", errors="replace")
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise TableError(
            f"{path.name} is not JSON: line {error.lineno}, {error.msg}.",
            hint="If it has one object a line, call it .jsonl.",
        ) from None
    except (RecursionError, ValueError):
        raise TableError(
            f"{path.name} is nested too deeply, or holds a number of thousands of digits.",
            hint="A table is a list of objects with texts and numbers.",
        ) from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise TableError(
            f"{path.name} must hold a list of objects, got {type(rows).__name__}.",
            hint="SegLST is a list of segments; a table with one object a line is .jsonl.",
        )
    if not rows:
        raise TableError(f"{path.name} holds an empty list.", hint="Was anything recognized?")
    return _flat(_from_dicts(rows))


def _jsonl(path: Path, note: Note) -> Iterator[pl.DataFrame]:
    line_number, num_rows, broken = 1, 0, []
    for text in _batches(path, note, quoted=False):
        try:
            frame = pl.read_ndjson(io.StringIO(text), infer_schema_length=None)
        except pl.exceptions.PolarsError:
            rows, bad = _parse_lines(text, line_number)
            broken += bad
            frame = _from_dicts(rows)
        line_number += text.count("\n")
        num_rows += frame.height
        if frame.height:
            yield _flat(frame)
    if broken:
        if len(broken) > max(1, num_rows // 100):
            raise TableError(
                f"{path.name} must have one JSON object a line; {len(broken)} lines are not, "
                f"the first is line {broken[0]}.",
                hint="A single JSON list is .json, a table with commas is .csv.",
            )
        note(f"{{}} broken JSON lines were left out (first: line {broken[0]}).", len(broken))


def _kaldi(path: Path, note: Note) -> Iterator[pl.DataFrame]:
    for text in _batches(path, note, quoted=False):
        lines = pl.Series("line", text.split("\n"), dtype=pl.String).str.strip_chars()
        lines = lines.filter(lines != "")
        parts = lines.str.replace_all(r"\s", " ").str.splitn(" ", 2).struct.unnest()
        yield parts.select(
            pl.col("field_0").alias("utterance_id"), pl.col("field_1").fill_null("").alias("text")
        )


def _delimited(path: Path, kind: str, note: Note) -> Iterator[pl.DataFrame]:
    header = ""
    separator, quote = "\t", None
    for text in _batches(path, note, quoted=kind == "csv"):
        if not header:
            header = text.split("\n", 1)[0] + "\n"
            if kind == "csv":
                separator = max(",;\t|", key=header.count)
                quote = '"'
        else:
            text = header + text
        try:
            frame = _parse_delimited(text, separator, quote)
        except pl.exceptions.PolarsError:
            try:
                frame = _parse_delimited(text, separator, None)
            except pl.exceptions.PolarsError:
                raise _ragged(path, text, separator, quote) from None
            note("Quotation marks do not pair up and were taken as they stand.", 1)
        yield frame


def _parse_delimited(text: str, separator: str, quote: str | None) -> pl.DataFrame:
    return pl.read_csv(io.StringIO(text), separator=separator, quote_char=quote, infer_schema=False)


def _ragged(path: Path, text: str, separator: str, quote: str | None) -> TableError:
    rows = csv.reader(
        io.StringIO(text),
        delimiter=separator,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
    )
    width = len(next(rows, []))
    for row in rows:
        if row and len(row) != width:
            return TableError(
                f"{path.name}: the header has {width} fields, line {rows.line_num} has {len(row)}.",
                hint="Put quotes around texts that hold the separator, or write JSONL.",
            )
    return TableError(f"{path.name} cannot be read as a table.", hint="Write JSONL or Parquet.")


def _parse_lines(text: str, first_line: int) -> tuple[list[dict[str, Any]], list[int]]:
    rows, broken = [], []
    for number, line in enumerate(text.split("\n"), start=first_line):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (RecursionError, ValueError):
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            broken.append(number)
    return rows, broken


def _from_dicts(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """A frame from objects; a field that mixes kinds of values becomes text."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = []
    for name in names:
        values = [row.get(name) for row in rows]
        try:
            columns.append(pl.Series(name, values, strict=True))
        except (TypeError, OverflowError, pl.exceptions.PolarsError):
            texts = [None if value is None else str(value) for value in values]
            columns.append(pl.Series(name, texts, dtype=pl.String))
    return pl.DataFrame(columns)


def _flat(frame: pl.DataFrame) -> pl.DataFrame:
    """Fields of nested objects as columns of their own, unless a column has that name."""
    for name, dtype in list(frame.schema.items()):
        if isinstance(dtype, pl.Struct):
            inner = frame[name].struct.unnest()
            fresh = [column for column in inner.columns if column not in frame.columns]
            frame = frame.drop(name).hstack(inner.select(fresh))
    return frame


def _batches(path: Path, note: Note, *, quoted: bool) -> Iterator[str]:
    """The text of a file in pieces that end at the end of a line."""
    with _open(path) as stream:
        rest, is_first, is_whole = b"", True, True
        while True:
            piece = stream.read(BATCH_BYTES)
            if is_first and piece[:2] in _UTF16_MARKS:
                yield _with_line_feeds((piece + stream.read()).decode("utf-16"))
                return
            piece = rest + (piece.removeprefix(b"\xef\xbb\xbf") if is_first else piece)
            is_first = False
            if len(piece) == len(rest):
                break
            end = _last_line_end(piece, quoted)
            rest = piece[end:]
            if end:
                is_whole = False
                yield _decode(piece[:end], note)
        if rest.strip():
            text = _decode(rest, note)
            yield _with_line_feeds(text) if is_whole else text


def _with_line_feeds(text: str) -> str:
    """The text of a whole file whose lines may end in nothing but carriage returns."""
    return text if "\n" in text.rstrip("\n") else text.replace("\r", "\n")


def _last_line_end(piece: bytes, quoted: bool) -> int:
    """Where the last whole line ends; a line end within quotes is not one."""
    end = piece.rfind(b"\n") + 1
    while quoted and end and piece.count(b'"', 0, end) % 2:
        end = piece.rfind(b"\n", 0, end - 1) + 1
    return end


def _decode(piece: bytes, note: Note) -> str:
    try:
        return piece.decode("utf-8")
    except UnicodeDecodeError:
        lines, repaired = [], 0
        for line in piece.split(b"\n"):
            try:
                lines.append(line.decode("utf-8"))
            except UnicodeDecodeError:
                lines.append(line.decode("cp1252", errors="replace"))
                repaired += 1
        note("{} lines are not UTF-8 and were read as Windows-1252.", repaired)
        return "\n".join(lines)


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")  # pyright: ignore[reportReturnType]
