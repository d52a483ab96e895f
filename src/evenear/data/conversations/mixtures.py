# SPDX-License-Identifier: Apache-2.0
"""Conversations made on the fly from recordings of single speakers, with exact truth.

A plan says who speaks when, how loud, and on which output channel each turn belongs; it depends on
nothing but the settings, the recordings' lengths, a seed and the mixture's id, so any worker makes
the same mixture. `render` makes the sound of a plan, and of each channel without the other, which
is what a separator is to hear.

At most two speak at once, and nobody overlaps themselves. Two ways to choose channels: by overlap
(a turn goes to the other channel only if it begins before the one before it has ended), and the
first channel that is free.

Legend: N samples, C channels, T frames.

Source: Sklyar et al. 2022, MT-RNN-T, arXiv:2111.03841 (overlap-based target arrangement; 1 to 5
utterances, energies within 5 dB, delays of at least 0.5 s); Raj et al. 2022 (HEAT: first free).
Our reading: that a third voice may not begin while two speak is said nowhere, but two channels
could not hold it. Departs from the paper: turns need not overlap; rooms are decaying noise tails.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import signal

from evenear.config import config
from evenear.data.conversations.rooms import colored_noise, room_response
from evenear.data.conversations.sounds import Sounds
from evenear.errors import ConfigError, ManifestError
from evenear.seeding import rng_for
from evenear.units import SAMPLE_RATE, FrameClock, Frames, Samples, Seconds

__all__ = [
    "Assignment",
    "Mixture",
    "MixtureConfig",
    "MixturePlan",
    "PlannedTurn",
    "activity",
    "assign_channels",
    "overlap_ratio",
    "plan_from_json",
    "plan_mixture",
    "plan_to_json",
    "render",
]

Assignment = Literal["overlap", "first-free"]
_Samples = NDArray[np.float32]


@config
class MixtureConfig:
    """How conversations are made. Ranges are drawn from evenly."""

    num_turns: tuple[int, int] = (1, 5)
    num_speakers: tuple[int, int] = (2, 2)
    """Speakers of a conversation; they take turns in a random order."""
    same_speaker_chance: float = Field(default=0.1, ge=0, le=1)
    """Chance that whoever spoke last goes on after a pause."""
    overlap_chance: float = Field(default=0.7, ge=0, le=1)
    """Chance that another speaker begins before the last one has ended."""
    overlap_part: tuple[float, float] = (0.1, 0.8)
    """How much of the shorter of two turns is overlapped."""
    min_delay_seconds: float = Field(default=0.5, gt=0)
    """Nobody begins sooner than this after the turn before began."""
    gap_seconds: tuple[float, float] = (0.1, 1.0)
    """Silence between turns that do not overlap."""
    edge_seconds: tuple[float, float] = (0.1, 0.6)
    """Silence before the first turn and after the last."""
    level_db: tuple[float, float] = (-32.0, -20.0)
    """Level of a conversation below full scale."""
    level_difference_db: float = Field(default=5.0, ge=0)
    """Each turn is up to so much louder or softer."""
    speed: tuple[float, float] = (1.0, 1.0)
    """Each speaker of a conversation is played so much faster, and higher: voices nobody has."""
    room_chance: float = Field(default=0.4, ge=0, le=1)
    room_seconds: tuple[float, float] = (0.1, 0.5)
    """Least and greatest reverberation time (RT60)."""
    noise_chance: float = Field(default=0.5, ge=0, le=1)
    noise_snr_db: tuple[float, float] = (10.0, 30.0)
    max_seconds: float = Field(default=30.0, gt=0)
    """No turn is added that would end later."""
    assignment: Assignment = "overlap"


@dataclass(frozen=True, kw_only=True)
class PlannedTurn:
    """One turn of a plan: a stretch of a recording, and where it is put."""

    utterance_id: str
    speaker: str
    text: str
    first_sample: Samples
    """Where the speech begins in its recording."""
    num_samples: Samples
    start_sample: Samples
    """Where it begins in the mixture."""
    level_db: float
    channel: int = 0
    speed: float = 1.0
    """How much faster the recording is played, and higher."""

    @property
    def end_sample(self) -> Samples:
        """One past its last sample in the mixture."""
        return self.start_sample + self.num_samples

    @property
    def start_seconds(self) -> Seconds:
        """When it begins."""
        return self.start_sample / SAMPLE_RATE

    @property
    def end_seconds(self) -> Seconds:
        """When it ends."""
        return self.end_sample / SAMPLE_RATE


@dataclass(frozen=True, kw_only=True)
class MixturePlan:
    """All that a mixture is made from, besides the recordings."""

    mixture_id: str
    num_samples: Samples
    turns: tuple[PlannedTurn, ...]
    """In order of their start."""
    rt60_seconds: Seconds = 0.0
    """Reverberation time; 0 for no room."""
    noise_snr_db: float | None = None
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """A plan's sound."""

    plan: MixturePlan
    samples_N: _Samples
    sources_CN: _Samples
    """What each channel is to hear: its turns, in their room, without the others and the noise."""


def plan_mixture(
    settings: MixtureConfig, sounds: Sounds, *, seed: int, mixture_id: str
) -> MixturePlan:
    """Choose recordings, times, levels, room and noise.

    Raises:
        ConfigError: The recordings are of too few speakers.
    """
    rng = rng_for(seed, "mixture", mixture_id)
    by_speaker = sounds.by_speaker
    num_turns = int(rng.integers(settings.num_turns[0], settings.num_turns[1] + 1))
    most = int(rng.integers(settings.num_speakers[0], settings.num_speakers[1] + 1))
    num_speakers = min(num_turns, most)
    if len(by_speaker) < num_speakers:
        raise ConfigError(
            f"A conversation of {num_speakers} needs as many speakers, got {len(by_speaker)}.",
            hint="Give recordings of more speakers, or lower num_speakers.",
        )
    cast = _cast(sounds, num_speakers, rng)
    level_db = float(rng.uniform(*settings.level_db))
    speeds = dict.fromkeys(cast, 1.0)
    if settings.speed != (1.0, 1.0):  # else nothing is drawn: older lists stay what they are
        speeds = {name: float(rng.uniform(*settings.speed)) for name in cast}
    turns: list[PlannedTurn] = []
    for number in range(num_turns):
        speaker = _next_speaker(settings, cast, turns, number, rng)
        own = by_speaker[speaker]
        index = own[int(rng.integers(len(own)))]
        first, end = sounds.bounds(index)
        difference = float(rng.uniform(-1, 1)) * settings.level_difference_db
        length = int((end - first) / speeds[speaker])
        start = _start(settings, turns, speaker, length, rng)
        if turns and start + length > settings.max_seconds * SAMPLE_RATE:
            break
        turns.append(
            PlannedTurn(
                utterance_id=sounds.voices[index].utterance_id,
                speaker=speaker,
                text=sounds.voices[index].text,
                first_sample=first,
                num_samples=length,
                start_sample=start,
                level_db=level_db + difference,
                speed=speeds[speaker],
            )
        )
    in_room, noisy = rng.random() < settings.room_chance, rng.random() < settings.noise_chance
    tail = round(float(rng.uniform(*settings.edge_seconds)) * SAMPLE_RATE)
    return MixturePlan(
        mixture_id=mixture_id,
        num_samples=max(turn.end_sample for turn in turns) + tail,
        turns=assign_channels(turns, settings.assignment),
        rt60_seconds=float(rng.uniform(*settings.room_seconds)) if in_room else 0.0,
        noise_snr_db=float(rng.uniform(*settings.noise_snr_db)) if noisy else None,
        seed=seed,
    )


def assign_channels(
    turns: Sequence[PlannedTurn], assignment: Assignment
) -> tuple[PlannedTurn, ...]:
    """Put turns on two channels, in order of their start.

    Raises:
        ManifestError: Three overlap at once, so two channels cannot hold them.
    """
    placed: list[PlannedTurn] = []
    free_from = [0, 0]
    channel = 0
    for turn in sorted(turns, key=lambda t: t.start_sample):
        if assignment == "first-free":
            channel = 0 if free_from[0] <= turn.start_sample else 1
        elif placed and turn.start_sample < placed[-1].end_sample:
            channel = 1 - channel
        if free_from[channel] > turn.start_sample:
            raise ManifestError(
                f"At most two may speak at once, but {turn.utterance_id!r} begins at "
                f"{turn.start_seconds:.2f} s while two others speak.",
                hint="Let it begin when one of them has ended.",
            )
        free_from[channel] = turn.end_sample
        placed.append(PlannedTurn(**{**asdict(turn), "channel": channel}))
    return tuple(placed)


def render(plan: MixturePlan, sounds: Sounds, places: dict[str, int] | None = None) -> Mixture:
    """The sound of a plan.

    Args:
        plan: What to mix.
        sounds: Where its recordings are.
        places: `sounds.by_id()`, for whoever renders many.

    Raises:
        ManifestError: A recording is not there, or shorter than planned.
    """
    places = places if places is not None else sounds.by_id()
    rng = rng_for(plan.seed, "mixture sound", plan.mixture_id)
    responses = {
        speaker: room_response(plan.rt60_seconds, rng)
        for speaker in dict.fromkeys(turn.speaker for turn in plan.turns)
    }
    sources_CN = np.zeros((2, plan.num_samples), np.float32)
    for turn in plan.turns:
        speech_N = _speech(turn, sounds, places)
        heard_N = speech_N
        if plan.rt60_seconds:
            heard_N = signal.fftconvolve(speech_N, responses[turn.speaker])
        room = plan.num_samples - turn.start_sample
        heard_N = heard_N[:room]
        sources_CN[turn.channel, turn.start_sample : turn.start_sample + len(heard_N)] += heard_N
    samples_N = sources_CN.sum(axis=0)
    if plan.noise_snr_db is not None:
        power = float(np.square(samples_N, dtype=np.float64).mean())
        noise_N = colored_noise(plan.num_samples, rng)
        samples_N = samples_N + noise_N * np.float32(
            np.sqrt(power * 10 ** (-plan.noise_snr_db / 10))
        )
    peak = float(np.abs(samples_N).max(initial=0.0))
    scale = np.float32(min(1.0, 0.99 / peak)) if peak > 0 else np.float32(1.0)
    return Mixture(plan=plan, samples_N=samples_N * scale, sources_CN=sources_CN * scale)


def activity(plan: MixturePlan, clock: FrameClock, num_frames: Frames) -> NDArray[np.bool_]:
    """Whether somebody speaks on each channel in each frame, (C, T)."""
    active_CT = np.zeros((2, num_frames), bool)
    for turn in plan.turns:
        first = clock.frame_at(turn.start_seconds)
        last = clock.frame_at(max(turn.start_seconds, turn.end_seconds - 1 / SAMPLE_RATE))
        active_CT[turn.channel, first : last + 1] = True
    return active_CT


def overlap_ratio(plan: MixturePlan) -> float:
    """Time in which two speak, as a part of the time in which anybody does."""
    moments = sorted(
        [(turn.start_sample, 1) for turn in plan.turns]
        + [(turn.end_sample, -1) for turn in plan.turns]
    )
    speaking = overlapped = talking = before = 0
    for moment, change in moments:
        overlapped += (moment - before) * (talking >= 2)
        speaking += (moment - before) * (talking >= 1)
        talking, before = talking + change, moment
    return overlapped / speaking if speaking else 0.0


def plan_to_json(plan: MixturePlan) -> dict[str, Any]:
    """The plan as plain JSON values: a line of a list of mixtures."""
    return asdict(plan)


def plan_from_json(values: dict[str, Any]) -> MixturePlan:
    """The inverse of `plan_to_json`.

    Raises:
        ManifestError: The values are no plan.
    """
    try:
        turns = tuple(PlannedTurn(**turn) for turn in values["turns"])
        return MixturePlan(**{**values, "turns": turns})
    except (KeyError, TypeError) as error:
        raise ManifestError(
            f"A row must be a planned mixture, but {error}.",
            hint="Make the list with `evenear data simulate`.",
        ) from None


def _cast(sounds: Sounds, num_speakers: int, rng: np.random.Generator) -> list[str]:
    """Who talks: people of one corpus, if it has enough, so that not microphones part voices."""
    names = list(sounds.by_speaker)
    if len(sounds.by_corpus) > 1:  # else nothing more is drawn: older lists stay what they are
        first = names[int(rng.integers(len(names)))]
        own = next(speakers for speakers in sounds.by_corpus.values() if first in speakers)
        names = own if len(own) >= num_speakers else names
    return [names[i] for i in rng.choice(len(names), num_speakers, replace=False)]


def _next_speaker(
    settings: MixtureConfig,
    cast: list[str],
    turns: list[PlannedTurn],
    number: int,
    rng: np.random.Generator,
) -> str:
    """Everybody speaks once before anybody is heard again; then whoever, mostly another."""
    if number < len(cast):
        return cast[number]
    others = [name for name in cast if name != turns[-1].speaker]
    if not others or rng.random() < settings.same_speaker_chance:
        return turns[-1].speaker
    return others[int(rng.integers(len(others)))]


def _start(
    settings: MixtureConfig,
    turns: list[PlannedTurn],
    speaker: str,
    length: Samples,
    rng: np.random.Generator,
) -> Samples:
    """When the next turn begins: within the last one, or after a gap."""
    if not turns:
        return round(float(rng.uniform(*settings.edge_seconds)) * SAMPLE_RATE)
    gap = round(float(rng.uniform(*settings.gap_seconds)) * SAMPLE_RATE)
    part = float(rng.uniform(*settings.overlap_part))
    overlaps = rng.random() < settings.overlap_chance
    ends = sorted(turn.end_sample for turn in turns)
    last = turns[-1]
    if not overlaps or last.speaker == speaker:
        return ends[-1] + gap
    start = ends[-1] - round(part * min(length, last.num_samples))
    delay = round(settings.min_delay_seconds * SAMPLE_RATE)
    own_end = max((t.end_sample for t in turns if t.speaker == speaker), default=0)
    second = ends[-2] if len(ends) > 1 else 0
    return max(start, last.start_sample + delay, second, own_end)


def _speech(turn: PlannedTurn, sounds: Sounds, places: dict[str, int]) -> _Samples:
    """The turn's stretch of its recording, at its level."""
    if turn.utterance_id not in places:
        raise ManifestError(
            f"The recording {turn.utterance_id!r} of a mixture is not there.",
            hint="Give the corpus that the list of mixtures was made from.",
        )
    samples_N = sounds.samples(places[turn.utterance_id])
    speech_N = samples_N[turn.first_sample : turn.first_sample + turn.num_samples]
    if turn.speed != 1.0:
        places_N = turn.first_sample + turn.speed * np.arange(turn.num_samples)
        places_N = places_N[places_N < len(samples_N)]
        speech_N = np.interp(places_N, np.arange(len(samples_N)), samples_N).astype(np.float32)
    if len(speech_N) < turn.num_samples:
        raise ManifestError(
            f"The recording {turn.utterance_id!r} must have {turn.num_samples} samples from "
            f"{turn.first_sample} on, it has {len(speech_N)}.",
            hint="Give the corpus that the list of mixtures was made from.",
        )
    power = float(np.square(speech_N, dtype=np.float64).mean())
    return speech_N * np.float32(10 ** (turn.level_db / 20) / np.sqrt(max(power, 1e-12)))
