# SPDX-License-Identifier: Apache-2.0
"""Manifests of speech: load and save them, and see each utterance as a plain value.

Manifests are lhotse's cuts, one JSON object a line; an `utterances.jsonl` or a NeMo manifest may
stand in their place. `utterance` turns a cut into what the rest of evenear reads: who said what, in
which file, from when and for how long, and everything else known as attributes. This module and
`cuts` are the only door to lhotse, which is slow to import and is so imported where it is used.

Relative audio paths in a manifest are taken from the manifest's folder; if there is no such file,
from the working folder, as lhotse does.

Source: Zelasko et al. 2021, Lhotse, arXiv:2110.12561.
"""

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenear.atomic import writing
from evenear.data.corpora.cuts import cut_from_json, cuts_from_rows, refused
from evenear.data.corpora.rows import (
    UNKNOWN_SPEAKER,
    Problem,
    read_json_objects,
    read_nemo_rows,
    read_utterance_rows,
)
from evenear.errors import ManifestError
from evenear.units import Seconds

if TYPE_CHECKING:
    from lhotse import CutSet, Recording
    from lhotse.cut import Cut

__all__ = [
    "MANIFEST_NAMES",
    "Utterance",
    "find_manifest",
    "load_cuts",
    "save_cuts",
    "utterance",
    "utterances",
]

MANIFEST_NAMES = ("cuts.jsonl.gz", "cuts.jsonl", "utterances.jsonl", "utterances.jsonl.gz")
"""What `load_cuts` looks for in a folder, the first of these first."""
_LINES_TO_TELL = 20
_PARTIAL_SECONDS = 0.005


@dataclass(frozen=True)
class Utterance:
    """What one speaker said in one stretch of one audio file."""

    utterance_id: str
    speaker: str
    text: str
    audio: Path
    start_seconds: Seconds
    """Where the utterance begins in the file."""
    seconds: Seconds
    attributes: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """All else that is known: gender, age, region, latitude, longitude, zip, split ..."""
    is_partial: bool = False
    """Whether the file holds more than this utterance."""


def load_cuts(path: str | Path, *, lazy: bool = False) -> "CutSet":
    """Read cuts from a manifest, or from a folder that holds one.

    Args:
        path: A .jsonl or .jsonl.gz file of cuts, an `utterances.jsonl`, a NeMo manifest, or a
            folder with `cuts.jsonl(.gz)` or `utterances.jsonl` in it.
        lazy: Read the file again at each pass instead of holding all cuts, for corpora that
            outgrow memory. Broken rows are then found only as they come up.

    Returns:
        Cuts. Of files whose rows say how long they are, not even headers are read; unless a row
        has a `sample_rate`, its cut says 16 kHz, as which evenear reads all audio. To pass cuts
        on to other lhotse tools, make them with `evenear.data.corpora.importers`: these read
        headers.

    Raises:
        ManifestError: There is no manifest, it is empty, or a row of it is broken.
    """
    from lhotse import CutSet

    kind, file = find_manifest(Path(path))
    makers: dict[str, Callable[[], Iterator[Cut]]] = {
        "cuts": lambda: _read_cuts(file),
        "utterances": lambda: cuts_from_rows(read_utterance_rows(file), read_headers=False),
        "nemo": lambda: cuts_from_rows(read_nemo_rows(file), read_headers=False),
    }
    if lazy:
        return CutSet(_Rereading(makers[kind]))
    cuts = list(makers[kind]())
    if not cuts:
        raise ManifestError(f"{file} must hold at least one row, but it is empty.")
    return CutSet(cuts)


def save_cuts(cuts: "CutSet", path: str | Path) -> Path:
    """Write cuts as JSON lines, whole or not at all; the same cuts give the same bytes.

    Args:
        cuts: What to write.
        path: A .jsonl or .jsonl.gz file, or a folder that gets a `cuts.jsonl.gz`.

    Returns:
        The file.

    Raises:
        ManifestError: The name ends otherwise.
    """
    path = Path(path)
    target = path / "cuts.jsonl.gz" if path.is_dir() else path
    if not target.name.endswith((".jsonl", ".jsonl.gz")):
        raise ManifestError(
            f"Cuts are written to .jsonl or .jsonl.gz, got {target.name!r}.",
            hint="Choose such a name, or an existing folder.",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with writing(target) as file:
        if target.suffix == ".gz":
            with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
                packed.writelines(_lines(cuts))
        else:
            file.writelines(_lines(cuts))
    return target


def utterance(cut: "Cut") -> Utterance:
    """The utterance of a cut that has exactly one supervision.

    Raises:
        ManifestError: It has none or several, or its audio is not one plain file.
    """
    found = utterances(cut)
    if len(found) != 1:
        raise ManifestError(
            f"The cut {cut.id!r} must have one supervision, it has {len(found)}.",
            hint="Cut it along its supervisions: cuts.trim_to_supervisions(keep_overlapping=False)",
        )
    return found[0]


def utterances(cut: "Cut") -> tuple[Utterance, ...]:
    """One utterance for each supervision of a cut: where the two overlap.

    Raises:
        ManifestError: The audio is not one plain file, whole with all its channels.
    """
    recording = _plain_recording(cut)
    audio = Path(str(recording.sources[0].source))
    found = []
    for supervision in cut.supervisions:
        start = cut.start + max(0.0, supervision.start)
        end = cut.start + min(cut.duration, supervision.end)
        is_whole_cut = supervision.start <= 0.0 and supervision.end >= cut.duration
        attributes = dict(supervision.custom or {})
        for name in ("gender", "language"):
            if getattr(supervision, name) is not None:
                attributes.setdefault(name, getattr(supervision, name))
        found.append(
            Utterance(
                supervision.id,
                UNKNOWN_SPEAKER if supervision.speaker is None else supervision.speaker,
                supervision.text or "",
                audio,
                start_seconds=round(start, 6),
                seconds=cut.duration if is_whole_cut else round(end - start, 6),
                attributes=attributes,
                is_partial=start > _PARTIAL_SECONDS or end < recording.duration - _PARTIAL_SECONDS,
            )
        )
    return tuple(found)


def find_manifest(path: Path) -> tuple[str, Path]:
    """Which file to read, and what it holds: "cuts", "utterances" or "nemo".

    Raises:
        ManifestError: There is no manifest that `load_cuts` could read.
    """
    if path.is_dir():
        for name in MANIFEST_NAMES:
            if (path / name).is_file():
                return find_manifest(path / name)
        raise ManifestError(
            f"The folder {path} must hold one of {', '.join(MANIFEST_NAMES)}.",
            hint="Other corpora become cuts by `evenear data import`.",
        )
    if not path.exists():
        raise ManifestError(f"There is no manifest {path}.", hint="Check the name and the folder.")
    if not path.name.endswith((".jsonl", ".jsonl.gz", ".json")):
        raise ManifestError(
            f"A manifest must be .jsonl, .jsonl.gz or a folder that holds one, got {path.name!r}.",
            hint="Other corpora become cuts by `evenear data import`.",
        )
    return _kind_of(path), path


@dataclass(frozen=True)
class _Rereading:
    """Cuts that are read from their file at each pass."""

    make: Callable[[], Iterator["Cut"]]

    def __iter__(self) -> Iterator["Cut"]:
        return self.make()


def _read_cuts(path: Path) -> Iterator["Cut"]:
    for number, values in read_json_objects(path):
        if isinstance(values, Problem):
            raise refused(values)
        try:
            yield cut_from_json(values, path.parent)
        except ManifestError as error:
            raise refused(Problem(number, None, "cut", str(error), path.name)) from None


def _lines(cuts: "CutSet") -> Iterator[bytes]:
    for cut in cuts:  # pyright: ignore[reportGeneralTypeIssues]
        yield json.dumps(cut.to_dict(), ensure_ascii=False).encode() + b"\n"


def _kind_of(path: Path) -> str:
    """Tell from the first objects of a file what it holds; if they say nothing, from its name."""
    for count, (_, values) in enumerate(read_json_objects(path)):
        if count == _LINES_TO_TELL:
            break
        if isinstance(values, Problem):
            continue
        if "audio_filepath" in values:
            return "nemo"
        if "supervisions" in values or "tracks" in values or "recording" in values:
            return "cuts"
        if "sources" in values or "recording_id" in values:
            raise ManifestError(
                f"{path} holds lhotse recordings or supervisions; cuts are needed.",
                hint="Join them: lhotse cut simple -r recordings -s supervisions cuts.jsonl.gz",
            )
        if str(values.get("type", "")).endswith("Cut"):
            return "cuts"
        if "audio" in values or "utterance_id" in values:
            return "utterances"
    return "cuts" if path.name.startswith("cuts") else "utterances"


def _plain_recording(cut: "Cut") -> "Recording":
    """The recording behind a cut, if reading its one file gives what the cut means."""
    from lhotse.cut import MonoCut, MultiCut

    why = None
    if not isinstance(cut, (MonoCut, MultiCut)):
        why = f"is a {type(cut).__name__}"
    elif cut.recording is None:
        why = "has no recording"
    elif [source.type for source in cut.recording.sources] != ["file"]:
        why = "reads " + " and ".join(source.type for source in cut.recording.sources)
    elif cut.recording.transforms:
        why = "changes its audio while reading it"
    elif set(_channels(cut)) != set(cut.recording.channel_ids or [0]):
        why = f"takes channels {_channels(cut)} of {cut.recording.channel_ids}"
    if why is None:
        return cut.recording  # pyright: ignore
    raise ManifestError(
        f"A cut must be of one audio file with all its channels, but {cut.id!r} {why}.",
        hint="Write the audio out once: cuts.save_audios('folder')",
    )


def _channels(cut: Any) -> list[int]:
    return [cut.channel] if isinstance(cut.channel, int) else list(cut.channel)
