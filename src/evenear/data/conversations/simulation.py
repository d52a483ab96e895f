# SPDX-License-Identifier: Apache-2.0
"""Simulated conversations as files: WAV, who said what when, cuts, and the list to rebuild them.

    audio/NAME.wav         the mixtures
    reference.seglst.json  every turn with its speaker, channel, times and words
    cuts.jsonl.gz          lhotse cuts, a supervision for each turn
    mixtures.jsonl         the plans: recordings, offsets, levels, seeds

`mixtures.jsonl` and the recordings are enough to make the rest again bit for bit. LibriSpeechMix
publishes lists of another form; `read_librispeechmix` makes plans of them.

Legend: N samples.

Source of that form: Kanda et al. 2020, LibriSpeechMix,
https://github.com/NaoyukiKanda/LibriSpeechMix (recordings are summed as they are, with delays).
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evenear.atomic import write_bytes
from evenear.audio import write_audio
from evenear.data.conversations.mixtures import (
    Mixture,
    MixtureConfig,
    MixturePlan,
    PlannedTurn,
    assign_channels,
    plan_from_json,
    plan_mixture,
    plan_to_json,
    render,
)
from evenear.data.conversations.sounds import Sounds
from evenear.data.corpora.manifests import save_cuts
from evenear.errors import ManifestError
from evenear.transcripts import Segment, write_transcript
from evenear.units import SAMPLE_RATE

if TYPE_CHECKING:
    from lhotse.cut import Cut

__all__ = [
    "plan_mixtures",
    "read_librispeechmix",
    "read_plans",
    "reference_segments",
    "write_mixtures",
    "write_plans",
]


def plan_mixtures(
    settings: MixtureConfig, sounds: Sounds, *, num_mixtures: int, seed: int
) -> list[MixturePlan]:
    """So many plans, named by their number; each depends on its name, not on the others."""
    width = max(4, len(str(num_mixtures - 1)))
    return [
        plan_mixture(settings, sounds, seed=seed, mixture_id=f"mix-{seed}-{number:0{width}d}")
        for number in range(num_mixtures)
    ]


def write_mixtures(
    plans: Sequence[MixturePlan],
    sounds: Sounds,
    folder: Path,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write sound, references, cuts and the list into a folder, instead of those there before.

    Raises:
        ManifestError: A recording is not there.
    """
    from lhotse import CutSet

    places = sounds.by_id()
    if (folder / "mixtures.jsonl").is_file():  # what was there before is no part of the new list
        for plan in read_plans(folder / "mixtures.jsonl"):
            (folder / "audio" / f"{plan.mixture_id}.wav").unlink(missing_ok=True)
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    cuts = []
    for plan in plans:
        mixture = render(plan, sounds, places)
        path = folder / "audio" / f"{plan.mixture_id}.wav"
        write_audio(path, mixture.samples_N)
        cuts.append(_cut(mixture, path.relative_to(folder)))
        if progress is not None:
            progress(1)
    segments = [segment for plan in plans for segment in reference_segments(plan)]
    write_transcript(segments, folder / "reference.seglst.json", "seglst")
    write_plans(plans, folder / "mixtures.jsonl")
    save_cuts(CutSet(cuts), folder)


def reference_segments(plan: MixturePlan) -> list[Segment]:
    """What is said in a mixture: a segment for each turn."""
    return [
        Segment(
            session_id=plan.mixture_id,
            speaker=turn.speaker,
            start_seconds=turn.start_seconds,
            end_seconds=turn.end_seconds,
            text=turn.text,
            channel=turn.channel,
        )
        for turn in plan.turns
    ]


def write_plans(plans: Iterable[MixturePlan], path: Path) -> None:
    """Write a list of mixtures as JSON lines, whole or not at all."""
    lines = (json.dumps(plan_to_json(plan), ensure_ascii=False) + "\n" for plan in plans)
    write_bytes(path, "".join(lines).encode())


def read_plans(path: Path) -> list[MixturePlan]:
    """Read what `write_plans` wrote.

    Raises:
        ManifestError: A line is no plan.
    """
    return [plan_from_json(row) for row in _rows(path)]


def read_librispeechmix(path: Path, sounds: Sounds) -> list[MixturePlan]:
    """Plans of a published list, such as `list/test-clean-2mix.jsonl`.

    Recordings are known by their file's name without its ending, as LibriSpeech and our importer
    name utterances. They are summed at their own levels, silence included.

    Raises:
        ManifestError: A row is of another form, names a recording that is not there, or lets three
            speak at once.
    """
    places = sounds.by_id()
    plans = []
    for row in _rows(path):
        try:
            parts = list(
                zip(row["wavs"], row["delays"], row["texts"], row["speakers"], strict=True)
            )
            name = str(row["id"])
        except (KeyError, TypeError, ValueError) as error:
            raise ManifestError(
                f"{path} must be a list of LibriSpeechMix: {error!r}.",
                hint="Its rows have id, wavs, delays, texts and speakers.",
            ) from None
        turns = [_whole(places, sounds, *part) for part in parts]
        turns.sort(key=lambda turn: turn.start_sample)
        plan = MixturePlan(
            mixture_id=name.replace("/", "-"),
            num_samples=max(turn.end_sample for turn in turns),
            turns=assign_channels(turns, "overlap"),
        )
        plans.append(plan)
    return plans


def _whole(
    places: dict[str, int], sounds: Sounds, wav: str, delay: float, text: str, speaker: str
) -> PlannedTurn:
    """A whole recording at its own level."""
    name = Path(wav).stem
    if name not in places:
        raise ManifestError(
            f"The list names {wav!r}, but there is no recording {name!r}.",
            hint="Import the part of LibriSpeech that the list was made from.",
        )
    samples_N = sounds.samples(places[name])
    power = float(np.square(samples_N, dtype=np.float64).mean())
    return PlannedTurn(
        utterance_id=name,
        speaker=str(speaker),
        text=text,
        first_sample=0,
        num_samples=len(samples_N),
        start_sample=round(delay * SAMPLE_RATE),
        level_db=float(10 * np.log10(max(power, 1e-12))),
    )


def _cut(mixture: Mixture, audio: Path) -> "Cut":
    """The cut of a mixture: a supervision for each turn."""
    from lhotse import MonoCut, Recording, SupervisionSegment
    from lhotse.audio import AudioSource

    plan = mixture.plan
    recording = Recording(
        id=plan.mixture_id,
        sources=[AudioSource("file", [0], str(audio))],
        sampling_rate=SAMPLE_RATE,
        num_samples=plan.num_samples,
        duration=plan.num_samples / SAMPLE_RATE,
    )
    supervisions = [
        SupervisionSegment(
            id=f"{plan.mixture_id}-{number}",
            recording_id=plan.mixture_id,
            start=turn.start_seconds,
            duration=turn.num_samples / SAMPLE_RATE,
            channel=0,
            text=turn.text,
            speaker=turn.speaker,
            custom={"output_channel": turn.channel, "utterance_id": turn.utterance_id},
        )
        for number, turn in enumerate(plan.turns)
    ]
    return MonoCut(
        id=plan.mixture_id,
        start=0.0,
        duration=recording.duration,
        channel=0,
        supervisions=supervisions,
        recording=recording,
    )


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        raise ManifestError(f"There is no list of mixtures at {path}.")
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ManifestError(f"{path}, line {number}, is no JSON: {error}") from None
        if not isinstance(row, dict):
            raise ManifestError(f"{path}, line {number}, must be an object.")
        yield row
