# SPDX-License-Identifier: Apache-2.0
"""Utterances as a few numbers each, so that a small network learns voices from them in seconds.

An utterance is described by the means and deviations of its log-mel frames and the deviations of
their changes, over its louder half: 192 numbers for 64 bins. They hold a voice's spectrum, and its
channel's; what a network over frames would find in their order is lost. The published comparison is
of losses, and what these numbers cost they cost all losses.

A hidden group can be planted: some speakers are heard through a bad channel in all utterances. One
channel loses the upper half of the mel bins in noise: what it takes from a voice no training gives
back. Another takes nothing, but colors each recording in another way, and a network can learn to
look past that. Nobody tells the training who they are.

Legend: B utterances, T frames, M mel bins, X numbers of an utterance, K cosines over the bins.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evenear.data.batching.store import FrameStore, StoredUtterance
from evenear.seeding import rng_for

__all__ = [
    "Channel",
    "DescribedVoices",
    "age_band",
    "colored",
    "degraded",
    "describe",
    "describe_store",
    "hidden_fifth",
    "known_of",
]

Channel = Callable[[NDArray[np.float32], np.random.Generator], NDArray[np.float32]]
"""What becomes of the frames (T, M) of an utterance."""

_NOISE_BELOW = 2.0
"""The noise of the bad channel lies this much (natural log of energy) below the mean frame."""
_WAVES, _COLOR = 4, 2.0
"""Of the coloring channel: cosines over the bins, and their amplitude in natural logarithms."""


@dataclass(frozen=True, eq=False)
class DescribedVoices:
    """Utterances as numbers, whose they are, and (for tests alone) what is known of speakers."""

    numbers_BX: NDArray[np.float32]
    speakers: tuple[str, ...]
    attributes: tuple[dict[str, str], ...]

    def __len__(self) -> int:
        return len(self.speakers)

    def at_most(self, each: int) -> "DescribedVoices":
        """The first utterances of each speaker."""
        counts: dict[str, int] = {}
        kept = []
        for place, speaker in enumerate(self.speakers):
            counts[speaker] = counts.get(speaker, 0) + 1
            if counts[speaker] <= each:
                kept.append(place)
        return DescribedVoices(
            self.numbers_BX[kept],
            tuple(self.speakers[place] for place in kept),
            tuple(self.attributes[place] for place in kept),
        )


def degraded(frames_TM: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Frames after a channel that loses their upper half and adds noise."""
    num_bins = frames_TM.shape[1]
    noise_TM = rng.gumbel(size=frames_TM.shape) * 0.5 + frames_TM.mean() - _NOISE_BELOW
    lost_TM = np.array(frames_TM, dtype=np.float64)
    lost_TM[:, num_bins // 2 :] = -30.0
    return np.logaddexp(lost_TM, noise_TM).astype(np.float32)


def colored(frames_TM: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Frames after a channel that is another one in each recording.

    Four cosines over the bins, of random amplitude, are added to the logarithms.
    """
    num_bins = frames_TM.shape[1]
    places_M = (np.arange(num_bins) + 0.5) / num_bins
    waves_KM = np.cos(np.pi * np.arange(1, _WAVES + 1)[:, None] * places_M)
    color_M = _COLOR * rng.standard_normal(_WAVES) @ waves_KM
    return (frames_TM + color_M).astype(np.float32)


def describe_store(
    store: FrameStore, bad_channel: frozenset[str] = frozenset(), channel: Channel = degraded
) -> DescribedVoices:
    """Describe the first stored copy of each utterance, as it is or through a bad channel."""
    numbers, speakers, attributes = [], [], []
    for index, utterance in enumerate(store.utterances):
        if utterance.copy > 0:
            continue
        frames_TM = store.frames(index)
        is_bad = utterance.speaker in bad_channel
        if is_bad:
            rng = rng_for(0, "bad channel", utterance.utterance_id)
            frames_TM = channel(frames_TM, rng)
        numbers.append(describe(frames_TM))
        speakers.append(utterance.speaker)
        attributes.append(known_of(utterance, is_bad=is_bad))
    return DescribedVoices(np.stack(numbers), tuple(speakers), tuple(attributes))


def known_of(utterance: StoredUtterance, *, is_bad: bool) -> dict[str, str]:
    """What is known of an utterance's speaker, for tests alone."""
    known = {"channel": "bad" if is_bad else "plain"}
    if "gender" in utterance.attributes:
        known["gender"] = str(utterance.attributes["gender"])
    if "age" in utterance.attributes:
        known["age"] = age_band(int(str(utterance.attributes["age"])))
    return known


def describe(frames_TM: NDArray[np.float32]) -> NDArray[np.float32]:
    """The numbers of an utterance, (3 M,)."""
    loudness_T = frames_TM.mean(axis=1)
    loud_TM = frames_TM[loudness_T >= np.median(loudness_T)]
    change_TM = np.diff(frames_TM, axis=0) if len(frames_TM) > 1 else np.zeros_like(frames_TM)
    parts = (loud_TM.mean(axis=0), loud_TM.std(axis=0), change_TM.std(axis=0))
    return np.concatenate(parts).astype(np.float32)


def hidden_fifth(speakers: Sequence[str], seed: int) -> frozenset[str]:
    """A random fifth of the speakers."""
    names = sorted(set(speakers))
    ranked = sorted(names, key=lambda name: rng_for(seed, "hidden", name).random())
    return frozenset(ranked[: round(len(names) / 5)])


def age_band(years: int) -> str:
    """Child, teenager or adult."""
    return "child (under 13)" if years < 13 else "teenager (13-19)" if years < 20 else "adult (20+)"
