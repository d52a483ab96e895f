# SPDX-License-Identifier: Apache-2.0
"""Who said what: turns of one person keep one label over a conversation.

Each turn becomes a vector, and joins the nearest speaker so far or begins a new one. This is
online: a turn is labeled once it is over, and no label changes later. What makes the vectors is
behind a small protocol: a speaker encoder if there is one, or the statistics of the turn's log-mel
frames, which need nothing and tell voices apart only roughly.

Where another turn overlaps, the sound is of two people; so a turn is heard where it is alone, if
that is half a second or more, and everywhere else.

Legend: N audio samples, T frames, M mel bins, D width of a vector.

Source: leader clustering (Hartigan 1975), as online diarization uses it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evenear.config import config
from evenear.features import FeatureConfig, log_mel
from evenear.transcripts import Segment
from evenear.units import SAMPLE_RATE

__all__ = [
    "LabelConfig",
    "LogMelVoice",
    "SpeakerLabels",
    "VoiceEncoder",
    "label_segments",
    "unit_vector",
]

_LEAST_SAMPLES = SAMPLE_RATE // 2


class VoiceEncoder(Protocol):
    """Makes a vector of a voice; vectors of one voice point the same way."""

    def embed(self, samples_N: NDArray[np.float32]) -> NDArray[np.float64]:
        """The vector (D,) of 16 kHz sound."""
        ...


class LogMelVoice:
    """Means and deviations of a turn's log-mel frames, its loudness taken out.

    Our own, from no paper: a stand-in for a speaker encoder that hears timbre and microphone alike.
    """

    def __init__(self, features: FeatureConfig | None = None) -> None:
        self.features = features or FeatureConfig()

    def embed(self, samples_N: NDArray[np.float32]) -> NDArray[np.float64]:
        """The vector of 16 kHz sound, from its louder half."""
        frames_TM = log_mel(samples_N, self.features).astype(np.float64)
        if not len(frames_TM):
            return np.zeros(2 * self.features.num_mel_bins)
        loud_T = frames_TM.mean(axis=1)
        frames_TM = frames_TM[loud_T >= np.median(loud_T)]
        mean_M = frames_TM.mean(axis=0)
        return np.concatenate([mean_M - mean_M.mean(), frames_TM.std(axis=0) - 1.5])


@config
class LabelConfig:
    """When a turn is of somebody new."""

    least_likeness: float = Field(default=0.75, ge=-1, le=1)
    """Cosine to the nearest speaker below which a new one begins."""
    most_speakers: int = Field(default=8, ge=1)
    """From then on the nearest speaker is taken."""


class SpeakerLabels:
    """Labels of one conversation, given turn by turn.

    Args:
        encoder: Makes vectors of turns.
        config: When a turn is of somebody new.
    """

    def __init__(self, encoder: VoiceEncoder, config: LabelConfig | None = None) -> None:
        self.encoder, self.config = encoder, config or LabelConfig()
        self._sums: list[NDArray[np.float64]] = []

    def label(self, samples_N: NDArray[np.float32], *, not_these: Sequence[str] = ()) -> str:
        """The label of a turn.

        Args:
            samples_N: Its sound.
            not_these: Labels of turns that overlap it: nobody talks over themselves.
        """
        vector_D = unit_vector(self.encoder.embed(samples_N))
        excluded = {int(name.rpartition("-")[2]) - 1 for name in not_these}
        likeness = [
            -np.inf if place in excluded else float(vector_D @ unit_vector(sum_D))
            for place, sum_D in enumerate(self._sums)
        ]
        best = int(np.argmax(likeness)) if likeness else -1
        is_full = len(self._sums) >= self.config.most_speakers
        is_known = best >= 0 and likeness[best] > -np.inf
        if not is_known or (likeness[best] < self.config.least_likeness and not is_full):
            self._sums.append(vector_D)
            return f"speaker-{len(self._sums)}"
        self._sums[best] = self._sums[best] + vector_D
        return f"speaker-{best + 1}"


def label_segments(
    segments: Sequence[Segment], samples_N: NDArray[np.float32], labels: SpeakerLabels
) -> list[Segment]:
    """Segments of one recording with speakers, in the order in which they ended.

    Args:
        segments: One for each turn.
        samples_N: The recording's 16 kHz sound.
        labels: A fresh conversation.
    """
    done: list[Segment] = []
    for segment in sorted(segments, key=lambda s: s.end_seconds):
        over = [other for other in segments if other is not segment and _overlap(segment, other)]
        talking = [other.speaker for other in done if _overlap(segment, other)]
        name = labels.label(_own_sound(segment, over, samples_N), not_these=talking)
        done.append(replace(segment, speaker=name))
    return done


def _own_sound(
    segment: Segment, others: Sequence[Segment], samples_N: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Where the segment is alone, or all of it if that is too little."""
    first, last = (round(s * SAMPLE_RATE) for s in (segment.start_seconds, segment.end_seconds))
    alone_N = np.ones(max(0, last - first), bool)
    for other in others:
        start = round(other.start_seconds * SAMPLE_RATE) - first
        end = round(other.end_seconds * SAMPLE_RATE) - first
        alone_N[max(0, start) : max(0, end)] = False
    sound_N = samples_N[first:last]
    alone_N = alone_N[: len(sound_N)]
    return sound_N[alone_N] if alone_N.sum() >= _LEAST_SAMPLES else sound_N


def _overlap(one: Segment, other: Segment) -> bool:
    return one.start_seconds < other.end_seconds and other.start_seconds < one.end_seconds


def unit_vector(vector_D: NDArray[np.float64]) -> NDArray[np.float64]:
    """The direction of a vector; zeros stay zeros."""
    return vector_D / max(float(np.linalg.norm(vector_D)), 1e-12)
