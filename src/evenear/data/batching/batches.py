# SPDX-License-Identifier: Apache-2.0
"""Batches of similar length, planned for a whole epoch from nothing but a seed and a number.

The plan of an epoch is a pure function of the store, the seed and the epoch, so a run resumes at
batch k of epoch e by computing the plan again and starting there: no batch is replayed.

Legend: B utterances, T frames, M mel bins, F feature width, U tokens, P phones.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from evenear.config import config
from evenear.data.batching.augmentation import FrameAugmentation, augment_frames
from evenear.data.batching.joining import MOST_PAUSE_SECONDS, Spoken, joined, trimmed
from evenear.data.batching.splicing import SplicePoints, Splicer
from evenear.data.batching.store import FrameStore
from evenear.data.corpora.splits import in_words
from evenear.errors import ManifestError
from evenear.features import FeatureConfig, bin_hz, stack_frames
from evenear.lexicon import Lexicon
from evenear.seeding import rng_for
from evenear.shapes import few_sizes
from evenear.tokenizer import Tokenizer

__all__ = ["Batch", "BatchConfig", "BatchMaker", "Pick", "collate", "padded"]

_MOST_TOKENS_PER_SECOND = 80.0
"""Nobody says more (fast speech has some 20 letters a second): such a text is of other speech."""


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
    clean_BTF: Tensor | None = None
    """The features without noise or masks, frame by frame, if a teacher is to hear them."""


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
    join_chance: float = Field(default=0.0, ge=0, lt=1)
    """Chance that an utterance of another speaker follows, after a pause; then again another."""
    trim_chance: float = Field(default=0.0, ge=0, le=1)
    """Chance that the silence before and after an utterance is cut off."""
    splice_chance: float = Field(default=0.5, ge=0, le=1)
    """Chance that an utterance whose splice points are known gets the ending of another."""
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
        splice_points: Where utterances can be parted, to make new sentences of them; None
            makes none.
        lexicon: How words are said; None leaves the phones out.
        with_clean: Also give the features as a teacher should hear them.
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
        splice_points: SplicePoints | None = None,
        lexicon: Lexicon | None = None,
        with_clean: bool = False,
    ) -> None:
        self.store, self.settings, self.lexicon = store, settings, lexicon
        self.repeats = repeats or {}
        self.splice_points, self._splicer = splice_points, None
        if splice_points:
            self._splicer = Splicer(
                store, splice_points, middle_chance=settings.splice_middle_chance
            )
        self._tokenizer, self.with_clean = tokenizer, with_clean
        self._clean: dict[str, int] = {}
        self.features, self.seed = features, seed
        self._bin_hz = None if features.kind == "log-mel" else bin_hz(features)
        self._tokens: dict[int, list[int]] = {}
        self._copies: dict[str, list[int]] = {}
        refused: dict[str, str] = {}
        for index, utterance in enumerate(store.utterances):
            if with_clean and utterance.copy == 0:
                self._clean[utterance.utterance_id] = index
            tokens = tokenizer.encode(utterance.text) if tokenizer else []
            if why := self._refusal(index, len(tokens)):
                refused[utterance.utterance_id] = why
                continue
            self._copies.setdefault(utterance.utterance_id, []).append(index)
            self._tokens[index] = tokens
        self._names = list(self._copies)
        self.left_out = Counter(w for u, w in refused.items() if u not in self._copies)
        """How many stored utterances are in no epoch, by why."""
        if not self._copies:
            raise ManifestError(
                f"A batch needs an utterance between {settings.min_seconds} and "
                f"{settings.max_seconds} seconds; of {len(store)} stored ones none is"
                + (f": {in_words(self.left_out)}." if self.left_out else "."),
                hint="Change data.batches.min_seconds or max_seconds, or cut the recordings.",
            )

    @property
    def hours(self) -> float:
        """Hours of speech that epochs are made of, all copies counted."""
        return sum(map(self._seconds, self._tokens)) / 3600

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
        ids, frames, clean, texts, targets = [], [], [], [], []
        for stored, occurrence in group:
            utterance = self.store.utterances[stored]
            spoken = Spoken(self.store.frames(stored), self._clean_frames(stored), utterance.text)
            if epoch >= self.settings.easy_epochs:
                key = (epoch, occurrence, utterance.utterance_id, utterance.copy)
                spoken = self._varied(stored, spoken, key)
            ids.append(utterance.utterance_id)
            frames.append(stack_frames(spoken.frames_TM, self.features))
            if spoken.clean_TM is not None:
                clean.append(stack_frames(spoken.clean_TM, self.features))
            texts.append(spoken.text)
            known = spoken.text == utterance.text
            encode = self._tokenizer.encode if self._tokenizer else _nothing
            targets.append(self._tokens[stored] if known else encode(spoken.text))
        batch = collate(ids, frames, targets)
        if clean:
            batch = batch._replace(clean_BTF=padded(clean))
        if self.lexicon is None:
            return batch
        phones_BP, lengths_B = _padded([self.lexicon.phones_of(text) for text in texts])
        return batch._replace(phones_BP=phones_BP, phone_lengths_B=lengths_B)

    def _varied(self, stored: int, spoken: Spoken, key: tuple[int, int, str, int]) -> Spoken:
        """The utterance as an epoch varies it: spliced or joined, trimmed, warped, masked."""
        settings = self.settings
        if (spliced := self._spliced(stored, key)) is not None:
            spoken = spliced
        if settings.trim_chance or settings.join_chance:
            rng = rng_for(self.seed, "joined", key)
            if rng.random() < settings.trim_chance:
                spoken = trimmed(spoken, rng)
            while rng.random() < settings.join_chance:
                other = self._fitting(len(spoken.frames_TM), rng)
                if other is None:
                    break
                spoken = joined(spoken, other, rng)
        if settings.augmentation is not None:
            rng = rng_for(self.seed, "frames", key)
            frames_TM = augment_frames(spoken.frames_TM, settings.augmentation, rng, self._bin_hz)
            spoken = spoken._replace(frames_TM=frames_TM)
        return spoken

    def _fitting(self, num_frames: int, rng: np.random.Generator) -> Spoken | None:
        """Another utterance that fits behind one of so many frames."""
        hops = 1000 / self.features.hop_milliseconds
        room = self.settings.max_seconds * hops - num_frames - MOST_PAUSE_SECONDS * hops
        copies = self._names[int(rng.integers(len(self._names)))]
        stored = self._copies[copies][0]
        if self.store.utterances[stored].num_frames > room:
            return None
        text = self.store.utterances[stored].text
        return Spoken(self.store.frames(stored), self._clean_frames(stored), text)

    def _clean_frames(self, stored: int) -> NDArray[np.float32] | None:
        """The frames of the copy that was not varied, if the varied one is as long."""
        if not self.with_clean:
            return None
        one = self.store.utterances[stored]
        place = self._clean.get(one.utterance_id, stored)
        same = self.store.utterances[place].num_frames == one.num_frames
        return self.store.frames(place if same else stored)

    def _spliced(self, stored: int, key: tuple[int, int, str, int]) -> Spoken | None:
        """A new sentence that begins as this utterance, if chance wants one and it has a point."""
        if self._splicer is None or self._tokenizer is None:
            return None
        rng = rng_for(self.seed, "splice", key)
        if rng.random() >= self.settings.splice_chance:
            return None
        made = self._splicer.splice(stored, rng)
        if made is None:
            return None
        return Spoken(made[0], made[0] if self.with_clean else None, made[1])

    def _refusal(self, stored: int, num_tokens: int) -> str | None:
        """Why an utterance is not learned from, in words; None if it is."""
        seconds, settings = self._seconds(stored), self.settings
        if seconds > settings.max_seconds:
            return f"longer than {settings.max_seconds:g} s"
        if seconds < settings.min_seconds:
            return f"shorter than {settings.min_seconds:g} s"
        if num_tokens > _MOST_TOKENS_PER_SECOND * seconds:
            return f"with a text of more than {_MOST_TOKENS_PER_SECOND:g} tokens a second"
        return None

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
    return Batch(
        tuple(utterance_ids),
        padded(frames),
        torch.tensor([len(f) for f in frames]),
        *_padded(targets),
    )


def padded(frames: list[np.ndarray]) -> Tensor:
    """Frames (T, F) padded with zeros to one of few lengths, (B, T, F)."""
    longest = few_sizes(max(len(f) for f in frames))
    # Filled by numpy: torch would spread it over threads that the training itself computes with.
    features_BTF = np.zeros((len(frames), longest, frames[0].shape[1]), np.float32)
    for row, frame_TF in enumerate(frames):
        features_BTF[row, : len(frame_TF)] = frame_TF
    return torch.from_numpy(features_BTF)


def _nothing(_: str) -> list[int]:
    return []


def _padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Numbers padded with 0 to one of few sizes, and how many there are in each row."""
    padded_BU = np.zeros((len(rows), few_sizes(max([1, *map(len, rows)]))), np.int64)
    for padded_U, numbers in zip(padded_BU, rows, strict=True):
        padded_U[: len(numbers)] = numbers
    return torch.from_numpy(padded_BU), torch.tensor([len(numbers) for numbers in rows])
