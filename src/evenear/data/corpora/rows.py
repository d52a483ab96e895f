# SPDX-License-Identifier: Apache-2.0
"""Rows of corpora as they stand in their files, with whatever is wrong with each.

A reader never stops at a broken row: it says what is wrong and goes on. Importers refuse the first
problem, validation collects all. Nothing here opens audio unless asked for its length, and nothing
loads lhotse.

Every kind of corpus ends in the same fields: utterance_id, speaker, text, audio, start_seconds,
seconds, sample_rate. All other fields are attributes (gender, age, region, latitude, longitude,
zip ...); `zip` stays text, because its zeros matter.

Legend: N audio samples.
"""

import gzip
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from evenear.errors import nearest_names

if TYPE_CHECKING:
    from evenear.audio import AudioInfo

__all__ = [
    "UNKNOWN_SPEAKER",
    "Problem",
    "Row",
    "ends_beyond",
    "lengths_agree",
    "measure_audio",
    "read_json_objects",
    "read_lines",
    "read_nemo_rows",
    "read_utterance_rows",
    "with_attributes",
]

UNKNOWN_SPEAKER = "unknown"
"""The speaker of utterances whose corpus names none: all one, so no interval is feigned."""

_NAMES = {
    "lat": "latitude",
    "lon": "longitude",
    "lng": "longitude",
    "zip_code": "zip",
    "zipcode": "zip",
    "postal_code": "zip",
}
_NUMBERS = ("start_seconds", "seconds", "sample_rate")


@dataclass(frozen=True)
class Problem:
    """What is wrong with one row."""

    row: int
    """The line in its file, from 1; 0 for the file as a whole."""
    utterance_id: str | None
    kind: str
    """One of: json, encoding, columns, missing-field, field-type, empty-text, missing-file,
    unreadable-audio, zero-length, seconds, rate, duplicate-id, place, zip, pipe, cut, empty."""
    message: str
    source: str = ""
    """Name of the file in which the row stands."""

    def __str__(self) -> str:
        who = f" ({self.utterance_id})" if self.utterance_id is not None else ""
        line = f":{self.row}" if self.row else ""
        return f"{self.source}{line}{who}: {self.message}"


@dataclass(frozen=True)
class Row:
    """An utterance as its corpus declares it; None where it says nothing.

    `start_seconds` is None where the utterance is the whole file.
    """

    number: int
    source: str
    utterance_id: str | None = None
    speaker: str | None = None
    text: str | None = None
    audio: Path | None = None
    start_seconds: float | None = None
    seconds: float | None = None
    sample_rate: int | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def problem(self, kind: str, message: str) -> Problem:
        """Something wrong with this row."""
        return Problem(self.number, self.utterance_id, kind, message, self.source)

    def with_problem(self, kind: str, message: str) -> "Row":
        """This row with one more thing wrong."""
        return replace(self, problems=(*self.problems, self.problem(kind, message)))


def read_lines(path: Path) -> Iterator[tuple[int, str | Problem]]:
    """The lines of a UTF-8 file, plain or gzipped, with their numbers; empty ones are left out.

    A line that is not UTF-8 comes as a `Problem`, and so does the end of a broken gzip file.
    """
    number = 0
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        try:
            for number, line in enumerate(file, start=1):
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip("\r\n")
                except UnicodeDecodeError as error:
                    message = (
                        f"The line must be UTF-8, but its byte {error.start + 1} is "
                        f"{line[error.start]:#04x}. Convert the file, for example with "
                        "`iconv -f latin1 -t utf-8`."
                    )
                    yield number, Problem(number, None, "encoding", message, path.name)
                    continue
                if text.strip():
                    yield number, text
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            message = f"The gzip file is broken after this line ({error}). Copy it again."
            yield number, Problem(number, None, "encoding", message, path.name)


def read_json_objects(path: Path) -> Iterator[tuple[int, dict[str, Any] | Problem]]:
    """The objects of a JSON-lines file with their line numbers; a `Problem` for any other line."""
    for number, line in read_lines(path):
        if isinstance(line, Problem):
            yield number, line
            continue
        try:
            value = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            message = f"The line must be one JSON object: {error}. It begins {line[:40]!r}."
            yield number, Problem(number, None, "json", message, path.name)
            continue
        if isinstance(value, dict):
            yield number, value
        else:
            message = f"The line must be one JSON object, got {line[:40]!r}."
            yield number, Problem(number, None, "json", message, path.name)


def read_utterance_rows(path: Path) -> Iterator[Row]:
    """Rows of an `utterances.jsonl`: utterance_id, speaker, text and audio must be there.

    Optional are seconds, start_seconds, sample_rate; the rest are attributes.
    """
    names = {name: name for name in ("utterance_id", "speaker", "text", "audio", *_NUMBERS)}
    needed = ("utterance_id", "speaker", "text", "audio")
    for number, values in read_json_objects(path):
        yield _row(path, number, values, names, needed)


def read_nemo_rows(path: Path) -> Iterator[Row]:
    """Rows of a NeMo manifest: audio_filepath and text must be there.

    Optional are duration, offset, speaker, sample_rate and utterance_id (or id); the rest are
    attributes. Without an id, the audio's path names the utterance, with its offset if any.
    """
    names = {
        "utterance_id": "utterance_id",
        "speaker": "speaker",
        "text": "text",
        "audio": "audio_filepath",
        "start_seconds": "offset",
        "seconds": "duration",
        "sample_rate": "sample_rate",
    }
    for number, values in read_json_objects(path):
        if isinstance(values, dict) and "utterance_id" not in values and "id" in values:
            values["utterance_id"] = values.pop("id")
        row = _row(path, number, values, names, ("audio", "text"))
        speaker = UNKNOWN_SPEAKER if row.speaker is None else row.speaker
        yield replace(row, speaker=speaker, utterance_id=row.utterance_id or _nemo_id(path, row))


def with_attributes(row: Row, values: Mapping[str, Any]) -> Row:
    """A row with attributes under their usual names: lat is latitude, zip_code is zip."""
    return replace(row, attributes={**row.attributes, **_usual_names(values)})


def lengths_agree(declared_seconds: float, found_seconds: float) -> bool:
    """Whether two lengths differ by at most 0.1 s or 2 %, whichever is more."""
    return abs(declared_seconds - found_seconds) <= max(0.1, 0.02 * found_seconds)


def ends_beyond(start_seconds: float, seconds: float, file_seconds: float) -> bool:
    """Whether an utterance ends after its file, by more than 0.1 s or 2 % of its own length."""
    return start_seconds + seconds - file_seconds > max(0.1, 0.02 * seconds)


def measure_audio(path: Path) -> "AudioInfo":
    """What a file says of itself; its samples are counted only where the header has no number.

    Raises:
        AudioError: The file is missing, empty, or no audio.
    """
    from evenear.audio import audio_info, stream_audio

    info = audio_info(path)
    if info.num_samples == 0:
        chunks = stream_audio(path, chunk_seconds=1.0, sample_rate=info.sample_rate)
        num_samples = sum(len(chunk_N) for chunk_N in chunks)
        info = replace(info, num_samples=num_samples, seconds=num_samples / info.sample_rate)
    return info


def _row(
    path: Path,
    number: int,
    values: dict[str, Any] | Problem,
    names: Mapping[str, str],
    needed: tuple[str, ...],
) -> Row:
    """A row from a JSON object, whose field `names[f]` holds our field f."""
    if isinstance(values, Problem):
        return Row(number, path.name, problems=(values,))
    fields: dict[str, Any] = {}
    wrong: list[_Wrong] = []
    for ours, theirs in names.items():
        value = values.get(theirs)
        if value is not None:
            value = _checked(ours, theirs, value, path.parent)
        elif ours in needed:
            value = _missing(theirs, values, names)
        if isinstance(value, _Wrong):
            wrong.append(value)
        elif value is not None:
            fields[ours] = value
    others = {name: value for name, value in values.items() if name not in names.values()}
    who = fields.get("utterance_id")
    problems = tuple(Problem(number, who, w.kind, w.message, path.name) for w in wrong)
    return Row(number, path.name, **fields, attributes=_usual_names(others), problems=problems)


class _Wrong(NamedTuple):
    """Why a field has no value."""

    kind: str
    message: str


def _missing(theirs: str, values: Mapping[str, Any], names: Mapping[str, str]) -> _Wrong:
    """A field that is not there, with those that may have been meant."""
    hint = nearest_names(theirs, [name for name in values if name not in names.values()])
    if not hint.startswith("Did"):
        hint = f"It has: {', '.join(values)}."
    return _Wrong("missing-field", f"The field {theirs!r} is missing. {hint}")


def _checked(ours: str, theirs: str, value: Any, folder: Path) -> Any:
    """The value of a field in its own type, or what is wrong with it."""
    if ours in _NUMBERS:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value):
            return _Wrong("field-type", f"The field {theirs!r} must be a number, got {value!r}.")
        return int(value) if ours == "sample_rate" else float(value)
    text = _identifier(value) if ours in ("utterance_id", "speaker") else value
    if not isinstance(text, str):
        return _Wrong("field-type", f"The field {theirs!r} must be text, got {value!r}.")
    if ours != "text" and not text.strip():
        return _Wrong("missing-field", f"The field {theirs!r} is empty.")
    return folder / text if ours == "audio" else text


def _usual_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values that are there, by the names that evenear uses unless both names are taken."""
    found = {}
    for name, value in values.items():
        if value is not None and value != "":
            usual = _NAMES.get(name.lower(), name)
            found[name if usual in values else usual] = value
    return found


def _identifier(value: Any) -> str | None:
    """Text, or a whole number as text."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    return str(value)


def _nemo_id(path: Path, row: Row) -> str | None:
    """The audio's path, below the manifest if it is there, no suffix; then the offset in ms."""
    if row.audio is None:
        return None
    is_below = row.audio.is_relative_to(path.parent)
    audio = row.audio.relative_to(path.parent) if is_below else row.audio
    name = audio.with_suffix("").as_posix().lstrip("/")
    start = "" if row.start_seconds is None else f"-{round(row.start_seconds * 1000):07d}"
    return name + start
