# SPDX-License-Identifier: Apache-2.0
"""Make lhotse cuts: from the rows of any corpus, and from the lines of a cuts manifest.

Headers of audio files are read where asked for, or where a row does not say how long it is; no
audio is decoded. lhotse is slow to import, so it is imported where it is used.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenear.data.corpora.rows import Problem, Row, ends_beyond, measure_audio
from evenear.errors import AudioError, ManifestError
from evenear.units import SAMPLE_RATE

if TYPE_CHECKING:
    from lhotse import Recording
    from lhotse.cut import Cut

    from evenear.audio import AudioInfo

__all__ = ["cut_from_json", "cuts_from_rows", "refused"]


def cuts_from_rows(
    rows: Iterable[Row], *, read_headers: bool, skipped: Callable[[str], None] | None = None
) -> Iterator["Cut"]:
    """Cuts of rows, one by one.

    Args:
        rows: What a corpus declares.
        read_headers: Ask each audio file for its rate, channels and length. If False, this is done
            only for rows that do not say how long they are, or are a stretch of a longer file.
        skipped: Told what is wrong with each broken row, which is then left out.

    Raises:
        ManifestError: A row is broken and nobody wants it skipped; the message names it.
    """
    ids: set[str] = set()
    infos: dict[Path, AudioInfo] = {}
    for row in rows:
        problems = list(row.problems)
        if row.utterance_id in ids:
            problems.append(row.problem("duplicate-id", f"{row.utterance_id!r} was there before."))
        try:
            if problems:
                raise refused(problems[0])
            cut = _cut(row, infos, read_headers=read_headers)
        except ManifestError as error:
            if skipped is None:
                raise
            skipped(error.message)
            continue
        ids.add(str(row.utterance_id))
        yield cut


def cut_from_json(values: dict[str, Any], folder: Path) -> "Cut":
    """A cut from its JSON object; `folder` is where relative audio paths begin.

    Raises:
        ManifestError: The object is no cut.
    """
    from lhotse.cut import MixedCut, MonoCut, MultiCut
    from lhotse.serialization import deserialize_item

    try:
        cut = deserialize_item(values)
    except Exception as error:  # lhotse raises whatever its constructors do
        raise ManifestError(
            f"The line must be a lhotse cut, but {type(error).__name__}: {error}."
        ) from None
    if not isinstance(cut, (MonoCut, MultiCut, MixedCut)):
        raise ManifestError(
            f"The line must be a lhotse cut, got a {type(cut).__name__}.",
            hint="Join recordings and supervisions: lhotse cut simple -r ... -s ... cuts.jsonl.gz",
        )
    recording = None if isinstance(cut, MixedCut) else cut.recording
    for source in recording.sources if recording is not None else ():
        if source.type == "file":
            source.source = str(_found(folder, str(source.source)))
    return cut


def refused(problem: Problem) -> ManifestError:
    """The error that a broken row is answered with."""
    return ManifestError(str(problem), hint="`evenear data validate` names all broken rows.")


def _found(folder: Path, source: str) -> Path:
    """A relative path is one from the manifest's folder, unless only the working folder has it."""
    inside = folder / source
    return Path(source) if not inside.exists() and Path(source).exists() else inside


def _cut(row: Row, infos: "dict[Path, AudioInfo]", *, read_headers: bool) -> "Cut":
    """The cut of a row without problems."""
    from lhotse import MonoCut, SupervisionSegment
    from lhotse.cut import MultiCut

    recording = _recording(row, infos, read_headers=read_headers)
    start, seconds = _stretch(row, recording.duration)
    channels = recording.channel_ids or [0]
    channel = channels[0] if len(channels) == 1 else channels
    attributes = {name: _plain(name, value) for name, value in row.attributes.items()}
    attributes = {name: value for name, value in attributes.items() if value is not None}
    own = {
        name: attributes.pop(name)
        for name in ("gender", "language")
        if isinstance(attributes.get(name), str)
    }
    supervision = SupervisionSegment(
        id=str(row.utterance_id),
        recording_id=recording.id,
        start=0.0,
        duration=seconds,
        channel=channel,
        text=row.text,
        speaker=row.speaker,
        custom=attributes or None,
        **own,
    )
    kind: Any = MonoCut if isinstance(channel, int) else MultiCut
    return kind(
        id=supervision.id,
        start=start,
        duration=seconds,
        channel=channel,
        supervisions=[supervision],
        recording=recording,
    )


def _stretch(row: Row, file_seconds: float) -> tuple[float, float]:
    """Start and length of an utterance in its file. The file's own length is believed."""
    start = row.start_seconds or 0.0
    rest = file_seconds - start
    is_whole = row.start_seconds is None
    seconds = rest if is_whole or row.seconds is None else row.seconds
    if start < 0 or seconds <= 0 or rest <= 0:
        message = f"It is {seconds:.3f} s from {start:.3f} s on in a file of {file_seconds:.3f} s."
        raise refused(row.problem("zero-length", message))
    if ends_beyond(start, seconds, file_seconds):
        message = f"It ends at {start + seconds:.2f} s, its file at {file_seconds:.2f} s."
        raise refused(row.problem("seconds", message))
    return start, min(seconds, rest)


def _recording(row: Row, infos: "dict[Path, AudioInfo]", *, read_headers: bool) -> "Recording":
    """The file behind a row, from its header where that is asked for or nothing else is known."""
    from lhotse import Recording
    from lhotse.audio import AudioSource

    audio = row.audio if row.audio is not None else Path()
    is_whole = row.start_seconds is None
    if read_headers or not is_whole or row.seconds is None:
        if audio not in infos:
            infos.clear()  # the rows of a file stand together
            try:
                infos[audio] = measure_audio(audio)
            except AudioError as error:
                raise refused(row.problem("unreadable-audio", str(error))) from None
        info = infos[audio]
        rate, num_samples, seconds = info.sample_rate, info.num_samples, info.seconds
        channels = info.channels
    else:
        rate, seconds, channels = row.sample_rate or SAMPLE_RATE, row.seconds, 1
        num_samples = round(seconds * rate)
    return Recording(
        id=str(row.utterance_id) if is_whole else audio.stem,
        sources=[AudioSource("file", list(range(channels)), str(audio.absolute()))],
        sampling_rate=rate,
        num_samples=num_samples,
        duration=seconds,
    )


def _plain(name: str, value: Any) -> Any:
    """An attribute as manifests keep it: a ZIP as text, and None for what is not a number."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if name == "zip" and isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if name == "zip" else value
