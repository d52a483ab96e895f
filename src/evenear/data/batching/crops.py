# SPDX-License-Identifier: Apache-2.0
"""Batches for learning voices: some utterances of each of some speakers, cropped to one length.

An epoch's batches are planned from the seed alone. Each draws N different speakers (those with more
speech more often) and M utterances of each; an utterance shorter than the crop is joined with
others of its speaker. A speaker at another speed of speech counts as another speaker: pitch and
formants move along.

Crops are varied afresh in each epoch: a smooth change of the spectrum, as another microphone makes,
and a masked band and stretch. Noise and rooms are in the stored copies.

Legend: B utterances (N speakers times M), T frames, M mel bins, F feature width, S speakers.

Source: Yamamoto et al. 2019 (speeds as new speakers); Park et al. 2019, arXiv:1904.08779 (masks).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from evenear.config import config
from evenear.data.batching.store import FrameStore
from evenear.errors import ConfigError
from evenear.features import FeatureConfig, stack_frames
from evenear.seeding import rng_for

__all__ = ["CropConfig", "CropMaker", "SpeakerBatch", "StoredVoices"]

_Frames = NDArray[np.float32]


@config
class CropConfig:
    """How batches of voices are drawn and varied."""

    num_speakers: int = Field(default=64, ge=2)
    """Different speakers in a batch, N."""
    num_each: int = Field(default=2, ge=2)
    """Utterances of each, M."""
    seconds: float = Field(default=2.0, gt=0)
    """Length of a crop."""
    tilt: float = Field(default=1.0, ge=0)
    """Size of the change of spectrum: about this in natural log of energy (4.3 dB)."""
    band: float = Field(default=0.12, ge=0, lt=1)
    """Widest masked band, as a part of all."""
    stretch: float = Field(default=0.1, ge=0, lt=1)
    """Longest masked stretch, as a part of the crop."""


class SpeakerBatch(NamedTuple):
    """Crops of one length; those of a speaker follow each other."""

    features_BTF: Tensor
    speakers_B: Tensor
    """Numbers of speakers among those trained on."""
    rows_B: Tensor
    """Places of the (first) utterances among all that are trained on."""
    epoch: Tensor
    """Of shape ()."""


class StoredVoices:
    """Stored utterances by speaker, over one or more stores.

    Args:
        stores: Stores by a name that is joined to the speakers': "" for speech as it is.
        excluded: Speakers that are left out.
    """

    def __init__(self, stores: Mapping[str, FrameStore], excluded: Sequence[str] = ()) -> None:
        self.stores = dict(stores)
        self.places: list[tuple[str, int]] = []
        by_speaker: dict[str, list[int]] = {}
        left_out = set(excluded)
        for name, store in self.stores.items():
            for index, utterance in enumerate(store.utterances):
                if utterance.speaker in left_out:
                    continue
                speaker = f"{utterance.speaker}@{name}" if name else utterance.speaker
                by_speaker.setdefault(speaker, []).append(len(self.places))
                self.places.append((name, index))
        self.speakers = tuple(sorted(by_speaker))
        self.rows = [np.array(by_speaker[speaker]) for speaker in self.speakers]

    def __len__(self) -> int:
        return len(self.places)

    def frames(self, row: int) -> _Frames:
        """Log-mel frames of an utterance."""
        name, index = self.places[row]
        return self.stores[name].frames(index)

    def num_frames(self, row: int) -> int:
        """Its length."""
        name, index = self.places[row]
        return self.stores[name].utterances[index].num_frames

    @property
    def hours(self) -> float:
        """Hours of speech, all copies counted."""
        return sum(self.num_frames(row) for row in range(len(self))) / 360_000


class CropMaker:
    """Plans epochs of crops and makes them.

    Raises:
        ConfigError: There are fewer speakers than a batch needs.
    """

    def __init__(
        self, voices: StoredVoices, settings: CropConfig, features: FeatureConfig, *, seed: int = 0
    ) -> None:
        if len(voices.speakers) < settings.num_speakers:
            raise ConfigError(
                f"A batch of {settings.num_speakers} different speakers needs as many, got "
                f"{len(voices.speakers)}.",
                hint="Give more speakers, or --set crops.num_speakers=…",
            )
        self.voices, self.settings, self.features, self.seed = voices, settings, features, seed
        hop = features.hop_milliseconds / 1000
        frames = round(settings.seconds / hop)
        self.num_frames = max(features.stack, frames // features.stack * features.stack)
        seconds_S = np.array([sum(map(voices.num_frames, rows)) for rows in voices.rows], float)
        chances_S = np.sqrt(np.minimum(seconds_S, 4.0 * np.median(seconds_S)))
        self._chances_S = chances_S / chances_S.sum()

    def plan(self, epoch: int) -> list[tuple[tuple[int, ...], int]]:
        """Batches of an epoch: speakers, and the number of the batch."""
        size = self.settings.num_speakers * self.settings.num_each
        rng = rng_for(self.seed, "speakers", epoch)
        drawn = []
        for number in range(max(1, len(self.voices) // size)):
            chosen_N = rng.choice(
                len(self._chances_S), self.settings.num_speakers, replace=False, p=self._chances_S
            )
            drawn.append((tuple(int(speaker) for speaker in chosen_N), number))
        return drawn

    def batch(self, group: tuple[tuple[int, ...], int], epoch: int) -> SpeakerBatch:
        """Make a batch of the plan."""
        speakers, number = group
        rng = rng_for(self.seed, "crops", (epoch, number))
        crops, rows = [], []
        for speaker in speakers:
            for row in self._rows(speaker, rng):
                crops.append(stack_frames(self._crop(speaker, row, rng), self.features))
                rows.append(row)
        return SpeakerBatch(
            torch.from_numpy(np.stack(crops)),
            torch.tensor(speakers).repeat_interleave(self.settings.num_each),
            torch.tensor(rows),
            torch.tensor(epoch),
        )

    def _rows(self, speaker: int, rng: np.random.Generator) -> list[int]:
        """Different utterances of a speaker, if there are enough."""
        rows = self.voices.rows[speaker]
        num_each = self.settings.num_each
        return [int(row) for row in rng.choice(rows, num_each, replace=len(rows) < num_each)]

    def _crop(self, speaker: int, row: int, rng: np.random.Generator) -> _Frames:
        frames_TM = self.voices.frames(row)
        while len(frames_TM) < self.num_frames:
            other = int(rng.choice(self.voices.rows[speaker]))
            frames_TM = np.concatenate([frames_TM, self.voices.frames(other)])
        start = int(rng.integers(0, len(frames_TM) - self.num_frames + 1))
        return self._varied(frames_TM[start : start + self.num_frames].copy(), rng)

    def _varied(self, frames_TM: _Frames, rng: np.random.Generator) -> _Frames:
        num_frames, num_bins = frames_TM.shape
        if self.settings.tilt:
            frames_TM = frames_TM + _smooth(num_bins, self.settings.tilt, rng)
        mean = float(frames_TM.mean())
        width = int(rng.integers(0, int(self.settings.band * num_bins) + 1))
        low = int(rng.integers(0, num_bins - width + 1))
        frames_TM[:, low : low + width] = mean
        length = int(rng.integers(0, int(self.settings.stretch * num_frames) + 1))
        start = int(rng.integers(0, num_frames - length + 1))
        frames_TM[start : start + length] = mean
        return frames_TM


def _smooth(num_bins: int, size: float, rng: np.random.Generator) -> _Frames:
    """A random smooth curve over the bins: loudness, tilt, and two waves."""
    sizes = size * rng.standard_normal(4) * (1.0, 0.6, 0.4, 0.3)
    phase = np.pi * (np.arange(num_bins) + 0.5) / num_bins
    waves = np.stack([np.cos(order * phase) for order in range(4)])
    return (sizes @ waves).astype(np.float32)
