# SPDX-License-Identifier: Apache-2.0
"""Utterances with tight ends, and utterances that follow one another as in a long recording.

Corpora of sentences begin and end with silence, one sentence each, and models learn to rely on it:
they lose the last word of a recording that ends with it, and hear the second minute worse than the
first. So in training silence is cut off now and then, and another utterance may follow.

Legend: T frames, M mel bins.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_PAUSE_SECONDS", "Spoken", "joined", "trimmed"]

MOST_PAUSE_SECONDS = 1.0
"""Longest pause between two utterances that are joined."""
_FRAMES_PER_SECOND = 100
_MARGIN = 6
"""Most frames of silence that are left at an end that was cut."""
_QUIET = 0.35
"""Frames below this part of the way from the quietest to the loudest are silence."""


class Spoken(NamedTuple):
    """Log-mel frames and what is said in them."""

    frames_TM: NDArray[np.float32]
    clean_TM: NDArray[np.float32] | None
    """The same frames without noise, if somebody is to hear them."""
    text: str


def trimmed(spoken: Spoken, rng: np.random.Generator) -> Spoken:
    """The utterance without the silence at its ends, but for some frames."""
    heard_TM = spoken.frames_TM if spoken.clean_TM is None else spoken.clean_TM
    loudness_T = heard_TM.mean(axis=1)
    low, high = np.percentile(loudness_T, (5, 95)) if len(loudness_T) else (0.0, 0.0)
    loud = np.flatnonzero(loudness_T > low + _QUIET * (high - low))
    if not len(loud):
        return spoken
    before, after = (int(n) for n in rng.integers(2, _MARGIN + 1, 2))
    part = slice(max(0, int(loud[0]) - before), int(loud[-1]) + 1 + after)
    clean_TM = None if spoken.clean_TM is None else spoken.clean_TM[part]
    return Spoken(spoken.frames_TM[part], clean_TM, spoken.text)


def joined(first: Spoken, second: Spoken, rng: np.random.Generator) -> Spoken:
    """One utterance, a pause of its own quietest frames, and another."""
    pause = int(rng.integers(0, int(MOST_PAUSE_SECONDS * _FRAMES_PER_SECOND) + 1))
    frames_TM = _after_pause(first.frames_TM, second.frames_TM, pause)
    clean_TM = None
    if first.clean_TM is not None and second.clean_TM is not None:
        clean_TM = _after_pause(first.clean_TM, second.clean_TM, pause)
    return Spoken(frames_TM, clean_TM, f"{first.text} {second.text}".strip())


def _after_pause(
    first_TM: NDArray[np.float32], second_TM: NDArray[np.float32], pause: int
) -> NDArray[np.float32]:
    """Both, and between them the quietest tenth of the first, over and over."""
    many = max(1, len(first_TM) // 10)
    quiet = np.sort(np.argsort(first_TM.mean(axis=1), kind="stable")[:many])
    return np.concatenate([first_TM, first_TM[np.resize(quiet, pause)], second_TM])
