# SPDX-License-Identifier: Apache-2.0
"""Corpora as other tools keep them, as cuts: LibriSpeech, Kaldi, NeMo, Common Voice, JSONL.

Each importer reads what the corpus declares and the header of each audio file; nothing is decoded
unless a header does not say how long its file is. All that is known of a speaker or an utterance
stays with it as an attribute. Attributes are what the corpus says, in its own words; only the
letters m and f of Kaldi and LibriSpeech are spelled out.

The first broken row is an error that names it, unless `skipped` is given: then it is called with
what is wrong with each broken row, and the rest is read. All of them are named by
`evenear.data.corpora.validation`.

Source: Panayotov et al. 2015, LibriSpeech; https://kaldi-asr.org/doc/data_prep.html; Ardila et al.
2020, Common Voice, arXiv:1912.06670; NVIDIA NeMo's documentation of ASR manifests.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from evenear.data.corpora.cuts import cuts_from_rows
from evenear.data.corpora.rows import (
    Problem,
    Row,
    read_lines,
    read_nemo_rows,
    read_utterance_rows,
    with_attributes,
)
from evenear.errors import ManifestError, nearest_names

if TYPE_CHECKING:
    from lhotse import CutSet

__all__ = [
    "ROW_READERS",
    "Skipped",
    "import_common_voice",
    "import_kaldi",
    "import_librispeech",
    "import_nemo",
    "import_utterances_jsonl",
    "read_common_voice_rows",
    "read_kaldi_rows",
    "read_librispeech_rows",
]

Skipped = Callable[[str], None] | None
"""Told what is wrong with each broken row; None: the first one is an error."""

_AUDIO_SUFFIXES = (".flac", ".wav", ".opus", ".ogg", ".mp3")
_GENDERS = {"m": "male", "f": "female"}
_COMMON_VOICE_SPLITS = ("train.tsv", "dev.tsv", "test.tsv")
_KALDI_NEEDED = ("wav.scp", "text", "utt2spk")
_KALDI_DERIVED = ("utt2spk", "spk2utt", "utt2dur", "utt2num_frames", "utt2uniq", "utt2max_frames")


def import_utterances_jsonl(path: str | Path, *, skipped: Skipped = None) -> "CutSet":
    """Cuts of an `utterances.jsonl`: utterance_id, speaker, text, audio and any attributes.

    A folder holds it, perhaps gzipped.

    Raises:
        ManifestError: The file is missing, or a row of it is broken.
    """
    return _cuts(read_utterance_rows(_utterance_file(_existing(path))), skipped)


def import_nemo(path: str | Path, *, skipped: Skipped = None) -> "CutSet":
    """Cuts of a NeMo manifest: audio_filepath, duration, text, perhaps offset and speaker.

    Of a folder, all manifests are read (train_manifest.json, test_manifest.json); the beginning of
    the name is the attribute `split` of rows that have none.

    Raises:
        ManifestError: The file is missing, or a row of it is broken.
    """
    return _cuts(_nemo_rows(_existing(path)), skipped)


def import_librispeech(folder: str | Path, *, skipped: Skipped = None) -> "CutSet":
    """Cuts of folders with `*.trans.txt` files beside their audio, as LibriSpeech is laid out.

    The gender comes from SPEAKERS.TXT in the folder or up to two above it; the attribute `split`
    is the folder of the speaker's folder, such as dev-clean.

    Raises:
        ManifestError: There is no transcript, or a row is broken.
    """
    return _cuts(read_librispeech_rows(_existing(folder)), skipped)


def import_kaldi(folder: str | Path, *, skipped: Skipped = None) -> "CutSet":
    """Cuts of a Kaldi data directory: wav.scp, text, utt2spk, perhaps segments and spk2gender.

    Any other `spk2NAME` or `utt2NAME` becomes the attribute NAME. Commands in wav.scp are not run.

    Raises:
        ManifestError: A file is missing, or a row is broken.
    """
    return _cuts(read_kaldi_rows(_existing(folder)), skipped)


def import_common_voice(path: str | Path, *, skipped: Skipped = None) -> "CutSet":
    """Cuts of a Common Voice table such as validated.tsv, whose clips are in `clips` beside it.

    `client_id` is the speaker, the table's name the attribute `split`; all other columns that are
    not empty are attributes. Of a folder, train.tsv, dev.tsv and test.tsv are read, or its only
    table.

    Raises:
        ManifestError: The table lacks a column, or a row is broken.
    """
    return _cuts(_common_voice_rows(_existing(path)), skipped)


def read_librispeech_rows(folder: Path) -> Iterator[Row]:
    """Rows of all `*.trans.txt` files below a folder, in the order of their names.

    Raises:
        ManifestError: There is no such file.
    """
    transcripts = sorted(folder.rglob("*.trans.txt"))
    if not transcripts:
        raise ManifestError(
            f"{folder} must hold LibriSpeech's *.trans.txt files, but there are none in it.",
            hint="Give the folder of a split, such as LibriSpeech/dev-clean.",
        )
    genders = _librispeech_genders(folder)
    for transcript in transcripts:
        source = transcript.relative_to(folder).as_posix()
        split = transcript.resolve().parent.parent.parent.name
        for number, line in read_lines(transcript):
            row = Row(number, source)
            if isinstance(line, Problem):
                yield replace(row, problems=(replace(line, source=source),))
                continue
            utterance_id, _, text = line.strip().partition(" ")
            speaker = utterance_id.split("-")[0]
            row = replace(row, utterance_id=utterance_id, speaker=speaker, text=text.strip())
            known = {"gender": genders.get(speaker), "split": split}
            yield with_attributes(_with_sibling(row, transcript.parent / utterance_id), known)


def read_kaldi_rows(folder: Path) -> Iterator[Row]:
    """Rows of a Kaldi data directory, in the order of `segments`, or else of `wav.scp`.

    Raises:
        ManifestError: wav.scp, text or utt2spk is missing.
    """
    missing = [name for name in _KALDI_NEEDED if not (folder / name).is_file()]
    if missing:
        raise ManifestError(
            f"A Kaldi directory holds {', '.join(_KALDI_NEEDED)}; {folder} lacks "
            f"{', '.join(missing)}."
        )
    scripts, texts, speakers = (_KaldiTable.read(folder / name) for name in _KALDI_NEEDED)
    has_segments = (folder / "segments").is_file()
    rows = _KaldiTable.read(folder / "segments") if has_segments else scripts
    attributes = [
        _KaldiTable.read(path)
        for path in sorted([*folder.glob("spk2*"), *folder.glob("utt2*")])
        if path.name not in _KALDI_DERIVED and path.is_file()
    ]
    tables = {t.name: t for t in (scripts, texts, speakers, rows, *attributes)}
    for table in tables.values():
        for problem in table.problems:
            yield Row(problem.row, problem.source, problem.utterance_id, problems=(problem,))
    for utterance_id, (number, value) in rows.values.items():
        row = Row(number, rows.name, utterance_id)
        row = _with_kaldi_audio(row, value, scripts if has_segments else None, folder)
        row = _with_kaldi_text(row, texts, speakers)
        yield with_attributes(row, _kaldi_attributes(row, attributes))
    for utterance_id, (number, _) in texts.values.items():
        if utterance_id not in rows.values:
            row = Row(number, texts.name, utterance_id)
            yield row.with_problem("missing-field", f"The utterance is not in {rows.name}.")


def read_common_voice_rows(path: Path) -> Iterator[Row]:
    """Rows of a Common Voice table, which is tab-separated and never quoted.

    Raises:
        ManifestError: The table has no line, or lacks client_id, path or sentence.
    """
    lines = read_lines(path)
    _, header = next(lines, (0, ""))
    columns = header.split("\t") if isinstance(header, str) and header else []
    for needed in ("client_id", "path", "sentence"):
        if needed not in columns:
            raise ManifestError(
                f"A Common Voice table has a column {needed!r}; {path.name} has none.",
                hint=nearest_names(needed, columns) if columns else "The table is empty.",
            )
    for number, line in lines:
        row = Row(number, path.name)
        if isinstance(line, Problem):
            yield replace(row, problems=(line,))
            continue
        cells = line.split("\t")
        if len(cells) != len(columns):
            message = f"The line must have {len(columns)} columns, it has {len(cells)}."
            yield row.with_problem("columns", message)
            continue
        values = dict(zip(columns, cells, strict=True))
        clip, speaker = values.pop("path"), values.pop("client_id")
        row = replace(row, speaker=speaker or None, text=values.pop("sentence"))
        if clip:
            row = replace(row, utterance_id=Path(clip).stem, audio=path.parent / "clips" / clip)
        for name, cell in (("path", clip), ("client_id", speaker)):
            if not cell:
                row = row.with_problem("missing-field", f"The column {name!r} is empty.")
        yield with_attributes(row, {"split": path.stem, **values})


ROW_READERS: Mapping[str, Callable[[Path], Iterator[Row]]] = MappingProxyType(
    {
        "commonvoice": read_common_voice_rows,
        "kaldi": read_kaldi_rows,
        "librispeech": read_librispeech_rows,
        "nemo": read_nemo_rows,
        "utterances": read_utterance_rows,
    }
)
"""How to read each kind of corpus row by row."""


@dataclass(frozen=True)
class _KaldiTable:
    """A Kaldi file: for each key, the number of its line and the rest of it."""

    name: str
    values: dict[str, tuple[int, str]]
    problems: tuple[Problem, ...]

    @classmethod
    def read(cls, path: Path) -> "_KaldiTable":
        values: dict[str, tuple[int, str]] = {}
        problems = []
        for number, line in read_lines(path):
            if isinstance(line, Problem):
                problems.append(line)
                continue
            key, *rest = line.strip().split(maxsplit=1)
            if key in values:
                message = f"{key!r} was there before, in line {values[key][0]}."
                problems.append(Problem(number, key, "duplicate-id", message, path.name))
            else:
                values[key] = (number, rest[0].strip() if rest else "")
        return cls(path.name, values, tuple(problems))

    def get(self, key: str) -> str | None:
        """What stands beside a key."""
        return self.values[key][1] if key in self.values else None


def _cuts(rows: Iterator[Row], skipped: Skipped) -> "CutSet":
    from lhotse import CutSet

    return CutSet(list(cuts_from_rows(rows, read_headers=True, skipped=skipped)))


def _utterance_file(path: Path) -> Path:
    """The file itself, or the one that a folder holds."""
    names = ("utterances.jsonl", "utterances.jsonl.gz")
    if not path.is_dir():
        return path
    found = [path / name for name in names if (path / name).is_file()]
    if not found:
        raise ManifestError(f"The folder {path} must hold one of {', '.join(names)}.")
    return found[0]


def _nemo_rows(path: Path) -> Iterator[Row]:
    """Rows of a manifest, or of all manifests of a folder."""
    if not path.is_dir():
        yield from read_nemo_rows(path)
        return
    found = sorted([*path.glob("*.json"), *path.glob("*.jsonl")])
    if not found:
        raise ManifestError(f"The folder {path} must hold NeMo manifests, as train_manifest.json.")
    for manifest in found:
        split = manifest.stem.removesuffix("manifest").rstrip("_-.")
        for row in read_nemo_rows(manifest):
            known = {"split": split} if split else {}
            yield replace(row, attributes={**known, **row.attributes})


def _common_voice_rows(path: Path) -> Iterator[Row]:
    """Rows of a table, or of the tables of a folder that share no clip."""
    tables = [path]
    if path.is_dir():
        tables = [path / name for name in _COMMON_VOICE_SPLITS]
        tables = [table for table in tables if table.is_file()] or sorted(path.glob("*.tsv"))
        if not tables or (len(tables) > 1 and tables[0].name not in _COMMON_VOICE_SPLITS):
            names = ", ".join(table.name for table in tables) or "none"
            raise ManifestError(
                f"The folder {path} must hold train.tsv, dev.tsv and test.tsv, or one table, and "
                f"holds {names}.",
                hint="Give the path of the table to read.",
            )
    for table in tables:
        yield from read_common_voice_rows(table)


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.exists():
        raise ManifestError(f"There is no {path}.", hint="Check the name and the folder.")
    return path


def _with_sibling(row: Row, path: Path) -> Row:
    """The audio file of this name with whichever suffix there is."""
    for suffix in _AUDIO_SUFFIXES:
        audio = path.with_name(path.name + suffix)
        if audio.is_file():
            return replace(row, audio=audio)
    message = f"There is no {path.name} with one of {', '.join(_AUDIO_SUFFIXES)}."
    return row.with_problem("missing-file", message)


def _librispeech_genders(folder: Path) -> dict[str, str]:
    """Speakers and genders of the nearest SPEAKERS.TXT: `14 | F | dev-clean | ...`."""
    resolved = folder.resolve()
    for place in (resolved, *resolved.parents[:2]):
        if not (place / "SPEAKERS.TXT").is_file():
            continue
        genders = {}
        for _, line in read_lines(place / "SPEAKERS.TXT"):
            cells = [] if isinstance(line, Problem) else [c.strip() for c in line.split("|")]
            if len(cells) > 1 and not cells[0].startswith(";"):
                genders[cells[0]] = _GENDERS.get(cells[1].lower(), cells[1])
        return genders
    return {}


def _with_kaldi_audio(row: Row, value: str, scripts: _KaldiTable | None, folder: Path) -> Row:
    """Set audio, start and length from a line of wav.scp, or of segments and wav.scp."""
    place = value
    if scripts is not None:
        cells = value.split()
        try:
            recording_id, start, end = cells[0], float(cells[1]), float(cells[2])
        except (IndexError, ValueError):
            message = f"A segment is `utterance recording start end`, got {value!r} after the id."
            return row.with_problem("columns", message)
        seconds = None if end == -1 else end - start
        row = replace(row, start_seconds=start, seconds=seconds)
        found = scripts.get(recording_id)
        if found is None:
            message = f"The recording {recording_id!r} is not in wav.scp."
            return row.with_problem("missing-field", message)
        place = found
    if not place:
        return row.with_problem("missing-field", "wav.scp names no file.")
    if "|" in place or ".ark:" in place:
        message = (
            f"wav.scp must name audio files; {place!r} is a command or an archive, which is not "
            "read. Write the audio to files."
        )
        return row.with_problem("pipe", message)
    is_beside = (folder / place).is_file() or not Path(place).is_file()
    return replace(row, audio=folder / place if is_beside else Path(place))


def _with_kaldi_text(row: Row, texts: _KaldiTable, speakers: _KaldiTable) -> Row:
    utterance_id = str(row.utterance_id)
    row = replace(row, text=texts.get(utterance_id), speaker=speakers.get(utterance_id) or None)
    if row.text is None:
        row = row.with_problem("missing-field", "The utterance is not in text.")
    if row.speaker is None:
        row = row.with_problem("missing-field", "The utterance is not in utt2spk.")
    return row


def _kaldi_attributes(row: Row, tables: list[_KaldiTable]) -> dict[str, str | None]:
    """What spk2NAME and utt2NAME files say of an utterance, by NAME."""
    found = {}
    for table in tables:
        key = row.speaker if table.name.startswith("spk2") else row.utterance_id
        value = table.get(str(key))
        name = table.name[len("spk2") :]
        found[name] = _GENDERS.get(str(value).lower(), value) if name == "gender" else value
    return found
