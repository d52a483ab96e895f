# SPDX-License-Identifier: Apache-2.0
"""Batches of simulated conversations: what is heard, and what each channel is to say.

Mixtures are made when they are asked for and never twice the same; those of an epoch are a pure
function of seed and epoch, so a run resumes without replaying anything.

Legend: B mixtures, S channels of all mixtures (channel 0 of each, then channel 1 of each), T
frames, F feature width, U tokens, P phones, N samples, C channels.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from evenear.config import config, replace
from evenear.data.batching.augmentation import FrameAugmentation, spec_augment
from evenear.data.conversations.mixtures import (
    Mixture,
    MixtureConfig,
    MixturePlan,
    activity,
    plan_mixture,
    render,
)
from evenear.data.conversations.sounds import Sounds
from evenear.data.conversations.turntargets import TurnMarks, turn_targets
from evenear.features import FeatureConfig, log_mel, stack_frames
from evenear.lexicon import Lexicon
from evenear.seeding import rng_for
from evenear.shapes import few_sizes
from evenear.tokenizer import Tokenizer

__all__ = ["MixtureBatch", "MixtureBatchConfig", "MixtureBatchMaker"]


class MixtureBatch(NamedTuple):
    """Padded mixtures, and the references of their channels."""

    mixture_ids: tuple[str, ...]
    features_BTF: Tensor
    lengths_B: Tensor
    sources_STF: Tensor
    """Frames of each channel's own sound, without the other channel and the noise; no frames
    where the maker leaves them out."""
    targets_SU: Tensor
    target_lengths_S: Tensor
    ends_SU: Tensor
    """For each end-of-turn token the encoder frame in which its speech ends; for others -1."""
    silent_ST: Tensor
    """Real encoder frames in which nobody speaks on the channel."""
    phones_SP: Tensor
    phone_lengths_S: Tensor
    """0 for texts with a word that no dictionary has."""


_SHORT = 1600
"""Samples of silence that are enough to know its frames."""


@config
class MixtureBatchConfig:
    """How an epoch is made."""

    mixtures: MixtureConfig = MixtureConfig()
    num_mixtures: int = Field(default=2000, ge=1)
    """Mixtures of an epoch."""
    seconds: float = Field(default=60.0, gt=0)
    """Sound in a batch, padding included."""
    augmentation: FrameAugmentation | None = None
    """Masks over the mixture's frames; vocal tract and tempo stay as they are."""
    fixed: bool = False
    """Every epoch has the same mixtures (what on-the-fly mixing is compared with)."""


class MixtureBatchMaker:
    """Plans epochs of mixtures and makes their batches.

    Args:
        sounds: Recordings of single speakers; their texts are normalized.
        tokenizer: Makes targets of texts.
        settings: What is mixed.
        features: How sound becomes frames.
        stride: Feature frames for each encoder frame.
        marks: How turns are marked.
        seed: The run's seed.
        lexicon: How words are said; None leaves the phones out.
        own_sound: Whether frames of each channel's own sound are made.
        kept: Frames of mixtures by name, where another run with the same settings and seed finds
            them again; they then cost no rendering.
        frames_of: What makes frames of samples; then `features` says their width and clock. None:
            `log_mel` with `features`.
    """

    def __init__(
        self,
        sounds: Sounds,
        tokenizer: Tokenizer,
        settings: MixtureBatchConfig,
        features: FeatureConfig,
        *,
        stride: int,
        marks: TurnMarks,
        seed: int,
        lexicon: Lexicon | None = None,
        own_sound: bool = True,
        kept: dict[str, np.ndarray] | None = None,
        frames_of: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        assert kept is None or not own_sound, "only the mixtures' own frames can be kept"
        self.sounds, self.tokenizer, self.settings = sounds, tokenizer, settings
        self.features, self.seed, self.lexicon = features, seed, lexicon
        self.marks: TurnMarks = marks
        self.stride, self._own_sound, self._kept = stride, own_sound, kept
        self.clock = replace(features.clock, stride=features.clock.stride * stride)
        """The clock of encoder frames."""
        self._frames_of = frames_of or (lambda samples_N: log_mel(samples_N, features))
        self._places = sounds.by_id()

    def plan(self, epoch: int) -> list[tuple[str, ...]]:
        """The epoch's batches, as names of mixtures of similar length."""
        epoch = 0 if self.settings.fixed else epoch
        by_length: dict[int, list[str]] = {}
        for number in range(self.settings.num_mixtures):
            name = f"{epoch}-{number}"
            plan = plan_mixture(
                self.settings.mixtures, self.sounds, seed=self.seed, mixture_id=name
            )
            num_frames = plan.num_samples // self.features.clock.frame_samples + 1
            by_length.setdefault(few_sizes(num_frames), []).append(name)
        groups: list[tuple[str, ...]] = []
        waiting: list[str] = []
        for length in sorted(by_length):
            waiting += by_length[length]
            size = max(1, int(self.settings.seconds / self.features.clock.frame_seconds) // length)
            while len(waiting) >= size:
                groups.append(tuple(waiting[:size]))
                waiting = waiting[size:]
        if waiting:
            groups.append(tuple(waiting))
        order = rng_for(self.seed, "order of mixtures", epoch).permutation(len(groups))
        return [groups[i] for i in order]

    def batch(self, names: Sequence[str], epoch: int) -> MixtureBatch:
        """Mix these, as planned, and compute their frames."""
        plans = [self.plan_of(name) for name in names]
        made = [self._heard(plan) for plan in plans]
        frames = [own for own, _ in made]
        if self.settings.augmentation is not None:
            rngs = [rng_for(self.seed, "frames", (epoch, name)) for name in names]
            drawn = zip(frames, rngs, strict=True)
            frames = [spec_augment(f, self.settings.augmentation, rng) for f, rng in drawn]
        sources = [own[c] for c in range(2) for _, own in made if own]
        return self._collate(plans, frames, sources)

    def plan_of(self, name: str) -> MixturePlan:
        """Who speaks when in the mixture of a name."""
        return plan_mixture(self.settings.mixtures, self.sounds, seed=self.seed, mixture_id=name)

    def mixture(self, name: str) -> Mixture:
        """The mixture of a name."""
        return render(self.plan_of(name), self.sounds, self._places)

    def _heard(self, plan: MixturePlan) -> tuple[np.ndarray, list[np.ndarray]]:
        """Frames of a mixture, and of what each channel is to hear where that is made."""
        kept = None if self._kept is None else self._kept.get(plan.mixture_id)
        if kept is not None:
            return kept, []
        mixture = render(plan, self.sounds, self._places)
        frames_TF = self._frames_of(mixture.samples_N)
        if self._kept is not None:
            self._kept[plan.mixture_id] = frames_TF
        if not self._own_sound:
            return frames_TF, []
        return frames_TF, [self._source(mixture, c, len(frames_TF)) for c in range(2)]

    def _source(self, mixture: Mixture, channel: int, num_frames: int) -> np.ndarray:
        """Frames of a channel's own sound; those of silence are all alike."""
        samples_N = mixture.sources_CN[channel]
        if samples_N.any():
            return self._frames_of(samples_N)
        return np.repeat(self._frames_of(samples_N[:_SHORT])[:1], num_frames, axis=0)

    def _collate(
        self, plans: list[MixturePlan], frames: list[np.ndarray], sources: list[np.ndarray]
    ) -> MixtureBatch:
        features = [stack_frames(f, self.features) for f in frames]
        targets = [turn_targets(p.turns, self.tokenizer, self.clock, self.marks) for p in plans]
        rows = [target[c] for c in range(2) for target in targets]
        texts = [_text(plan, c) for c in range(2) for plan in plans]
        phones = [self.lexicon.phones_of(text) if self.lexicon else [] for text in texts]
        lengths = [len(f) for f in features]
        longest = few_sizes(max(lengths))
        num_encoded = -(-longest // self.stride)
        silent_ST = np.zeros((len(rows), num_encoded), bool)
        for b, plan in enumerate(plans):
            real = -(-lengths[b] // self.stride)
            active_CT = activity(plan, self.clock, num_encoded)
            for c in range(2):
                silent_ST[c * len(plans) + b, :real] = ~active_CT[c, :real]
        return MixtureBatch(
            mixture_ids=tuple(plan.mixture_id for plan in plans),
            features_BTF=_frames(features, longest),
            lengths_B=torch.tensor(lengths),
            sources_STF=(
                _frames([stack_frames(s, self.features) for s in sources], longest)
                if sources
                else torch.zeros(len(rows), 0, features[0].shape[1])
            ),
            targets_SU=_numbers([row.tokens for row in rows], 0),
            target_lengths_S=torch.tensor([len(row.tokens) for row in rows]),
            ends_SU=_numbers([row.ends for row in rows], -1),
            silent_ST=torch.from_numpy(silent_ST),
            phones_SP=_numbers(phones, 0),
            phone_lengths_S=torch.tensor([len(row) for row in phones]),
        )


def _text(plan: MixturePlan, channel: int) -> str:
    return " ".join(turn.text for turn in plan.turns if turn.channel == channel)


def _frames(rows: Sequence[np.ndarray], longest: int) -> Tensor:
    """Frames padded with zeros."""
    padded = np.zeros((len(rows), longest, rows[0].shape[1]), np.float32)
    for row, frames in zip(padded, rows, strict=True):
        row[: len(frames)] = frames
    return torch.from_numpy(padded)


def _numbers(rows: Sequence[Sequence[int]], padding: int) -> Tensor:
    """Numbers padded to one of few sizes."""
    padded = np.full((len(rows), few_sizes(max([1, *map(len, rows)]))), padding, np.int64)
    for row, numbers in zip(padded, rows, strict=True):
        row[: len(numbers)] = numbers
    return torch.from_numpy(padded)
