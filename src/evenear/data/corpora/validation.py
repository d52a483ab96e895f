# SPDX-License-Identifier: Apache-2.0
"""Find every broken row of a corpus: missing files, wrong lengths, empty texts, impossible places.

    report = validate("corpus/utterances.jsonl")
    for problem in report.problems:
        print(problem)

Validation never stops at the first problem, and one row may have several. It reads the header of
each audio file; with `decode` it also listens to every sample, which finds files that break off and
samples that are not numbers.

What it cannot see: a latitude and a longitude that are swapped but both possible, a ZIP that is
someone else's, a text that is not what was said.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenear.data.corpora.cuts import cut_from_json
from evenear.data.corpora.importers import ROW_READERS
from evenear.data.corpora.manifests import MANIFEST_NAMES, find_manifest, utterances
from evenear.data.corpora.rows import (
    Problem,
    Row,
    ends_beyond,
    lengths_agree,
    measure_audio,
    read_json_objects,
)
from evenear.errors import AudioError, ManifestError

if TYPE_CHECKING:
    from evenear.audio import AudioInfo

__all__ = ["Report", "find_corpus", "read_rows", "validate"]

_LOWEST_RATE_HZ = 8000
_LIBRISPEECH_DEPTHS = ("", "*/", "*/*/", "*/*/*/")


@dataclass(frozen=True)
class Report:
    """What a corpus holds and what is wrong with it.

    Only rows without a problem count as utterances, and only these make up seconds and speakers.
    """

    problems: tuple[Problem, ...]
    rows: int
    utterances: int
    seconds: float
    speakers: int

    @property
    def is_valid(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def validate(
    path: str | Path,
    *,
    check_audio: bool = True,
    decode: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Check every row of a manifest or corpus.

    Args:
        path: Cuts, `utterances.jsonl`, a NeMo manifest, a Common Voice table, or the folder of any
            of these, of Kaldi or of LibriSpeech.
        check_audio: Open each audio file and compare its header with what the row says.
        decode: Also decode each audio file to its end.
        progress: Called with the number of rows that were checked since the last call.

    Returns:
        Counts, and every problem in the order of the rows.

    Raises:
        ManifestError: There is no corpus here that could be read row by row.
    """
    kind, place = find_corpus(Path(path))
    checks = _Checks(check_audio=check_audio or decode, decode=decode)
    for row in read_rows(kind, place):
        checks.add(row)
        if progress is not None:
            progress(1)
    if checks.rows == 0:
        checks.problems.append(Problem(0, None, "empty", "There are no rows.", place.name))
    return Report(
        tuple(checks.problems),
        rows=checks.rows,
        utterances=checks.utterances,
        seconds=round(checks.seconds, 6),
        speakers=len(checks.speakers),
    )


def find_corpus(path: Path) -> tuple[str, Path]:
    """What kind of corpus a path holds ("cuts" or a key of `ROW_READERS`), and which file to read.

    Raises:
        ManifestError: None that is known.
    """
    if path.is_dir() and not any((path / name).is_file() for name in MANIFEST_NAMES):
        if (path / "wav.scp").is_file():
            return "kaldi", path
        if any(any(path.glob(depth + "*.trans.txt")) for depth in _LIBRISPEECH_DEPTHS):
            return "librispeech", path
        if (path / "clips").is_dir() and (tables := sorted(path.glob("*.tsv"))):
            if len(tables) == 1:
                return "commonvoice", tables[0]
            names = ", ".join(table.name for table in tables)
            raise ManifestError(
                f"The folder {path} has several Common Voice tables: {names}.",
                hint="Give the path of one of them.",
            )
    elif path.suffix == ".tsv" and path.is_file():
        return "commonvoice", path
    return find_manifest(path)


def read_rows(kind: str, path: Path) -> Iterator[Row]:
    """Rows of a corpus that `find_corpus` found, broken ones included."""
    return _read_cut_rows(path) if kind == "cuts" else ROW_READERS[kind](path)


@dataclass
class _Checks:
    """Counts and problems so far."""

    check_audio: bool
    decode: bool
    rows: int = 0
    utterances: int = 0
    seconds: float = 0.0
    speakers: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    first_seen: dict[str, str] = field(default_factory=dict)
    files: "dict[Path, AudioInfo | Problem]" = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Check one row."""
        self.rows += 1
        problems = [*row.problems, *_declared_problems(row), *_place_problems(row)]
        if row.utterance_id in self.first_seen:
            before = self.first_seen[row.utterance_id]
            message = f"The id {row.utterance_id!r} was there before, in {before}."
            problems.append(row.problem("duplicate-id", message))
        elif row.utterance_id is not None and all(p.kind != "duplicate-id" for p in problems):
            self.first_seen[row.utterance_id] = f"{row.source}:{row.number}"
        seconds = row.seconds or 0.0
        if self.check_audio and row.audio is not None:
            info = self._file(row, row.audio)
            if isinstance(info, Problem):
                problems.append(replace(info, row=row.number, utterance_id=row.utterance_id))
            else:
                problems += _audio_problems(row, info)
                seconds = row.seconds or info.seconds - (row.start_seconds or 0.0)
        self.problems += problems
        if not problems:
            self.utterances += 1
            self.seconds += seconds
            self.speakers.add(str(row.speaker))

    def _file(self, row: Row, path: Path) -> "AudioInfo | Problem":
        """What an audio file says of itself; asked once for rows that share it."""
        if path not in self.files:
            if row.start_seconds is None:
                return self._opened(row, path)
            self.files[path] = self._opened(row, path)
        return self.files[path]

    def _opened(self, row: Row, path: Path) -> "AudioInfo | Problem":
        from evenear.audio import stream_audio

        try:
            if not path.is_file():
                return row.problem("missing-file", f"There is no file {path}.")
            info = measure_audio(path)
            if self.decode:
                for _ in stream_audio(path, chunk_seconds=10.0, sample_rate=info.sample_rate):
                    pass
        except AudioError as error:
            is_empty = path.stat().st_size == 0 or " 0 samples" in error.message
            kind = "zero-length" if is_empty else "unreadable-audio"
            return row.problem(kind, str(error))
        except OSError as error:  # such as a name that is too long
            return row.problem("missing-file", f"The file cannot be opened: {error}.")
        return info


def _declared_problems(row: Row) -> Iterator[Problem]:
    """What is wrong with a row even before its audio is opened."""
    if row.text is not None and not row.text.strip():
        yield row.problem("empty-text", "The text is empty.")
    if row.seconds is not None and row.seconds <= 0:
        yield row.problem("zero-length", f"It must have a length, got {row.seconds} s.")
    if row.start_seconds is not None and row.start_seconds < 0:
        message = f"It must start within its file, got {row.start_seconds} s."
        yield row.problem("seconds", message)


def _audio_problems(row: Row, info: "AudioInfo") -> Iterator[Problem]:
    """Where a row and its audio file disagree."""
    if row.sample_rate is not None and row.sample_rate != info.sample_rate:
        message = f"The row says {row.sample_rate} Hz, the file has {info.sample_rate} Hz."
        yield row.problem("rate", message)
    elif info.sample_rate < _LOWEST_RATE_HZ:
        message = f"Speech needs at least {_LOWEST_RATE_HZ} Hz, the file has {info.sample_rate} Hz."
        yield row.problem("rate", message)
    if info.num_samples == 0:
        yield row.problem("zero-length", "The audio file has 0 samples.")
    elif row.start_seconds is None:
        seconds = row.seconds or info.seconds  # none at all has been said already
        if seconds > 0 and not lengths_agree(seconds, info.seconds):
            message = f"The row says {seconds:.3f} s, the file has {info.seconds:.3f} s."
            yield row.problem("seconds", message)
    else:
        end = row.start_seconds + (row.seconds or 0.0)
        is_beyond = ends_beyond(row.start_seconds, row.seconds or 0.0, info.seconds)
        if is_beyond or row.start_seconds >= info.seconds:
            message = f"It ends at {end:.3f} s, its file at {info.seconds:.3f} s."
            yield row.problem("seconds", message)


def _place_problems(row: Row) -> Iterator[Problem]:
    """Coordinates that are nowhere, and ZIPs that lost their zeros."""
    numbers: dict[str, float] = {}
    for name, limit in (("latitude", 90.0), ("longitude", 180.0)):
        value = row.attributes.get(name)
        if value is None:
            continue
        number = _number(value)
        if number is None or not -180.0 <= number <= 180.0:
            message = f"The {name} must be a number from {-limit:g} to {limit:g}, got {value!r}."
            yield row.problem("place", message)
        else:
            numbers[name] = number
    if abs(numbers.get("latitude", 0.0)) > 90.0:
        latitude, longitude = numbers["latitude"], numbers.get("longitude")
        message = f"The latitude must be a number from -90 to 90, got {latitude:g}."
        if longitude is not None and abs(longitude) <= 90.0:
            message += f" With longitude {longitude:g}, the two seem to be swapped."
        yield row.problem("place", message)
    elif ("latitude" in row.attributes) != ("longitude" in row.attributes):
        yield row.problem("place", "A place needs both latitude and longitude; one is missing.")
    yield from _zip_problems(row, row.attributes.get("zip"))


def _zip_problems(row: Row, value: Any) -> Iterator[Problem]:
    text = f"{value:.0f}" if isinstance(value, float) else str(value).split("-")[0]
    if value is not None and text.isdigit() and len(text) < 5:
        message = (
            f"A US ZIP has five digits, got {value!r}: perhaps {text.zfill(5)!r}, whose zeros were "
            "lost where it was kept as a number."
        )
        yield row.problem("zip", message)


def _number(value: Any) -> float | None:
    """A number, or a text that is one; None for anything else and for NaN."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return None if number != number else number


def _read_cut_rows(path: Path) -> Iterator[Row]:
    """One row for each supervision of each cut of a cuts manifest."""
    for number, values in read_json_objects(path):
        row = Row(number, path.name)
        if isinstance(values, Problem):
            yield replace(row, problems=(values,))
            continue
        row = replace(row, utterance_id=str(values["id"]) if "id" in values else None)
        try:
            cut = cut_from_json(values, path.parent)
            found = utterances(cut)
        except ManifestError as error:
            yield row.with_problem("cut", str(error))
            continue
        if not found:
            yield row.with_problem("missing-field", "The cut has no supervision: no text.")
        for u in found:
            yield replace(
                row,
                utterance_id=u.utterance_id,
                speaker=u.speaker,
                text=u.text,
                audio=u.audio,
                start_seconds=u.start_seconds if u.is_partial else None,
                seconds=u.seconds,
                sample_rate=getattr(cut, "sampling_rate", None),
                attributes=u.attributes,
            )
