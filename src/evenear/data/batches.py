# SPDX-License-Identifier: Apache-2.0
"""Batches of similar length, planned for a whole epoch from nothing but a seed and a number.

The plan of an epoch is a pure function of the store, the seed and the epoch, so a run resumes at
batch k of epoch e by computing the plan again and starting there: no batch is replayed.

Legend: B utterances, T frames, M mel bins, F feature width, U tokens, P phones.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from evenear.config import config
from evenear.data.augmentation import FrameAugmentation, augment_frames
from evenear.data.splicing import Seams, Splicer
from evenear.data.store import FrameStore
from evenear.errors import ManifestError
from evenear.features import FeatureConfig, bin_hz, stack_frames
from evenear.lexicon import Lexicon
from evenear.seeding import rng_for
from evenear.shapes import few_sizes
from evenear.tokenizer import Tokenizer

__all__ = ["Batch", "BatchConfig", "BatchMaker", "Pick", "collate"]


class Batch(NamedTuple):
    """Padded utterances and their tokens."""

    utterance_ids: tuple[str, ...]
    features_BTF: Tensor
    lengths_B: Tensor
    targets_BU: Tensor
    target_lengths_B: Tensor
    phones_BP: Tensor | None = None
    """Phones of the texts, if pronunciations are known."""
    phone_lengths_B: Tensor | None = None
    """0 for texts with a word that no dictionary has."""


class Pick(NamedTuple):
    """A place in an epoch. As an index it is that of the stored utterance."""

    stored: int
    """Which stored utterance."""
    occurrence: int = 0
    """How often the epoch held the same stored utterance before; each time it is varied anew."""

    def __index__(self) -> int:
        return self.stored


@config
class BatchConfig:
    """How an epoch is made."""

    seconds: float = Field(default=120.0, gt=0)
    """Speech in a batch, padding included."""
    max_utterances: int = Field(default=64, ge=1)
    min_seconds: float = Field(default=0.3, ge=0)
    max_seconds: float = Field(default=16.0, gt=0)
    augmentation: FrameAugmentation | None = FrameAugmentation()
    splice_chance: float = Field(default=0.5, ge=0, le=1)
    """Chance that an utterance whose seams are known gets the ending of another."""
    splice_middle_chance: float = Field(default=0.5, ge=0, lt=1)
    """Chance that words of a third come between, and then again that more do."""
    easy_epochs: int = Field(default=0, ge=0)
    """First epochs of short utterances as they are stored: alignment is found there much sooner."""
    easy_seconds: float = Field(default=3.0, gt=0)
    """Greatest length of an utterance in the easy epochs."""
    easy_batch_seconds: float | None = Field(default=None, gt=0)
    """Speech in a batch of the easy epochs, if not `seconds`: small batches make many updates, and
    alignment takes a number of updates more than of hours."""


class BatchMaker:
    """Plans epochs over a store and makes their batches.

    Args:
        store: Frames and texts.
        tokenizer: Turns texts into targets; None leaves them empty.
        settings: Sizes and augmentation.
        features: How log-mel frames are stacked.
        seed: The run's seed.
        seams: Where utterances can be parted, to make new sentences of them; None makes none.
        lexicon: How words are said; None leaves the phones out.
        repeats: Times an utterance occurs in an epoch, by its id, where that is not once; a
            fraction takes it in so many epochs.
    """

    def __init__(
        self,
        store: FrameStore,
        tokenizer: Tokenizer | None,
        settings: BatchConfig,
        features: FeatureConfig,
        *,
        seed: int,
        repeats: Mapping[str, float] | None = None,
        seams: Seams | None = None,
        lexicon: Lexicon | None = None,
    ) -> None:
        self.store, self.settings, self.lexicon = store, settings, lexicon
        self.repeats = repeats or {}
        self.seams, self._splicer = seams, None
        if seams:
            self._splicer = Splicer(store, seams, middle_chance=settings.splice_middle_chance)
        self._tokenizer = tokenizer
        self.features, self.seed = features, seed
        self._bin_hz = None if features.kind == "log-mel" else bin_hz(features)
        self._tokens: dict[int, list[int]] = {}
        self._copies: dict[str, list[int]] = {}
        for index, utterance in enumerate(store.utterances):
            if settings.min_seconds <= self._seconds(index) <= settings.max_seconds:
                self._copies.setdefault(utterance.utterance_id, []).append(index)
                self._tokens[index] = tokenizer.encode(utterance.text) if tokenizer else []
        if not self._copies:
            raise ManifestError(
                f"A batch needs an utterance between {settings.min_seconds} and "
                f"{settings.max_seconds} seconds; of {len(store)} stored ones none is.",
                hint="Change data.batches.min_seconds or max_seconds, or cut the recordings.",
            )

    def plan(self, epoch: int) -> list[list[Pick]]:
        """Batches of one epoch, as places in the store."""
        rng = rng_for(self.seed, "epoch", epoch)
        chosen: list[Pick] = []
        is_easy = epoch < self.settings.easy_epochs
        for utterance_id, copies in self._copies.items():
            if is_easy and self._seconds(copies[0]) > self.settings.easy_seconds:
                continue
            repeats = self.repeats.get(utterance_id, 1.0)
            times = int(repeats) + int(rng.random() < repeats - int(repeats))
            start, many = int(rng.integers(len(copies))), len(copies)
            chosen += [Pick(copies[(start + k) % many], k // many) for k in range(times)]
        seconds = self.settings.easy_batch_seconds if is_easy else None
        return self._grouped(chosen, seconds or self.settings.seconds, rng)

    def batches(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number `first` on."""
        for group in self.plan(epoch)[first:]:
            yield self.batch(group, epoch)

    def batch(self, group: list[Pick], epoch: int) -> Batch:
        """One batch: frames augmented afresh for this epoch, stacked and padded."""
        ids, frames, texts, targets = [], [], [], []
        for stored, occurrence in group:
            utterance = self.store.utterances[stored]
            frames_TM, text = self.store.frames(stored), utterance.text
            tokens = self._tokens[stored]
            if epoch >= self.settings.easy_epochs:
                key = (epoch, occurrence, utterance.utterance_id, utterance.copy)
                if (spliced := self._spliced(stored, key)) is not None:
                    frames_TM, text, tokens = spliced
                if self.settings.augmentation is not None:
                    rng = rng_for(self.seed, "frames", key)
                    frames_TM = augment_frames(
                        frames_TM, self.settings.augmentation, rng, self._bin_hz
                    )
            ids.append(utterance.utterance_id)
            frames.append(stack_frames(frames_TM, self.features))
            texts.append(text)
            targets.append(tokens)
        batch = collate(ids, frames, targets)
        if self.lexicon is None:
            return batch
        phones_BP, lengths_B = _padded([self.lexicon.phones_of(text) for text in texts])
        return batch._replace(phones_BP=phones_BP, phone_lengths_B=lengths_B)

    def _spliced(
        self, stored: int, key: tuple[int, int, str, int]
    ) -> tuple[NDArray[np.float32], str, list[int]] | None:
        """A new sentence that begins as this utterance, if chance wants one and seams allow it."""
        if self._splicer is None or self._tokenizer is None:
            return None
        rng = rng_for(self.seed, "splice", key)
        if rng.random() >= self.settings.splice_chance:
            return None
        made = self._splicer.splice(stored, rng)
        return None if made is None else (*made, self._tokenizer.encode(made[1]))

    def _seconds(self, stored: int) -> float:
        frames = self.store.utterances[stored].num_frames
        return frames * self.features.hop_milliseconds / 1000

    def _grouped(
        self, chosen: list[Pick], seconds: float, rng: np.random.Generator
    ) -> list[list[Pick]]:
        """Sort into the few lengths of `collate`, cut each into batches of one size, shuffle.

        What is left of one length goes with the next, so shapes are few and batches full.
        """
        frame_seconds = self.features.clock.frame_seconds
        by_length: dict[int, list[Pick]] = {}
        for place in rng.permutation(len(chosen)):
            num_frames = self.store.utterances[chosen[place].stored].num_frames
            length = few_sizes(-(-num_frames // self.features.stack))
            by_length.setdefault(length, []).append(chosen[place])
        groups: list[list[Pick]] = []
        waiting: list[Pick] = []
        for length in sorted(by_length):
            waiting += by_length[length]
            fitting = int(seconds / frame_seconds) // length
            size = max(1, min(fitting, self.settings.max_utterances))
            while len(waiting) >= size:
                groups.append(waiting[:size])
                waiting = waiting[size:]
        if waiting:
            groups.append(waiting)
        return [groups[i] for i in rng.permutation(len(groups))]


def collate(utterance_ids: list[str], frames: list[np.ndarray], targets: list[list[int]]) -> Batch:
    """Pad stacked frames (T, F) and tokens into a batch, to one of few sizes."""
    longest = few_sizes(max(len(f) for f in frames))
    # Filled by numpy: torch would spread it over threads that the training itself computes with.
    features_BTF = np.zeros((len(frames), longest, frames[0].shape[1]), np.float32)
    for row, frame_TF in enumerate(frames):
        features_BTF[row, : len(frame_TF)] = frame_TF
    return Batch(
        tuple(utterance_ids),
        torch.from_numpy(features_BTF),
        torch.tensor([len(f) for f in frames]),
        *_padded(targets),
    )


def _padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Numbers padded with 0 to one of few sizes, and how many there are in each row."""
    padded_BU = np.zeros((len(rows), few_sizes(max([1, *map(len, rows)]))), np.int64)
    for padded_U, numbers in zip(padded_BU, rows, strict=True):
        padded_U[: len(numbers)] = numbers
    return torch.from_numpy(padded_BU), torch.tensor([len(numbers) for numbers in rows])
