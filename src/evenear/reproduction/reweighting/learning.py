# SPDX-License-Identifier: Apache-2.0
"""The variants, and a run of each: one small network, the same batches, only the weights differ.

Batches, first weights and the schedule depend on the seed alone, so the variants of a seed differ
by nothing but the loss that is weighted and who weighs it. Every variant has a control of the same
loss and the same mean weight: a weight that is 2 on average doubles the steps of plain SGD, and
comparing it with an unweighted run would compare learning rates. (AdamW takes most of that back.)

What a run is given holds numbers of utterances and of speakers. There is no attribute in it. One
run alone is given weights by somebody who knows a group: `TRUTH`, which says what the best of
adversaries could reach.

Legend: B utterances, X numbers of an utterance, D width of an embedding, N speakers of a batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from evenear.config import config
from evenear.losses.reweighting.arw import Reweighting, ReweightingConfig, Variant
from evenear.losses.reweighting.weights import WeightReport
from evenear.seeding import rng_for, torch_rng_for
from evenear.training.tasks.speaker import SpeakerHeads, SpeakerObjectiveConfig

__all__ = [
    "CONTROLS",
    "LABELS",
    "TRUTH",
    "VARIANTS",
    "Learned",
    "LearningConfig",
    "learn",
    "learn_knowing",
]

TRUTH = "truth"
"""The variant whose weights come from whoever planted a group."""


@config
class LearningConfig:
    """A run of the small network."""

    num_updates: int = Field(default=400, ge=1)
    warmup_updates: int = Field(default=100, ge=0)
    """Updates before the adversary has a say."""
    num_speakers: int = Field(default=64, ge=2)
    num_each: int = Field(default=2, ge=2)
    hidden_dim: int = Field(default=256, ge=1)
    embedding_dim: int = Field(default=96, ge=2)
    noise: float = Field(default=0.3, ge=0)
    """Of the standardized numbers, against learning utterances by heart."""
    peak_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    adversary_rate: float = Field(default=0.05, gt=0)
    num_regions: int = Field(default=16, ge=1)
    epoch_updates: int = Field(default=50, ge=1)
    """The regions are found anew after so many."""


def _objective(variant: Variant | None, metric: str) -> SpeakerObjectiveConfig:
    reweighting = ReweightingConfig(variant=variant) if variant is not None else None
    assert metric in ("prototypical", "pairwise")
    return SpeakerObjectiveConfig(metric=metric, reweighting=reweighting)


VARIANTS: Mapping[str, SpeakerObjectiveConfig] = {
    "baseline": _objective(None, "prototypical"),
    "constant": _objective("constant", "prototypical"),
    "constant-pairwise": _objective("constant", "pairwise"),
    "aps": _objective("aps", "pairwise"),
    "pl": _objective("pl", "prototypical"),
    "pw": _objective("pw", "pairwise"),
    "pw-row": _objective("pw-row", "prototypical"),
}
"""Losses and who weighs them, by name."""

LABELS: Mapping[str, str] = {
    "baseline": "baseline, weight 1",
    "constant": "constant weight 2",
    "constant-pairwise": "constant weight 2, pairwise loss",
    "aps": "ARW-APS",
    "pl": "ARW-PL",
    "pw": "ARW-PW, pairwise binary",
    "pw-row": "ARW-PW, per row",
    TRUTH: "weights by who is hidden, 3 to 1",
}

CONTROLS: Mapping[str, str] = {
    "constant": "baseline",
    "aps": "constant-pairwise",
    "pl": "constant",
    "pw": "constant-pairwise",
    "pw-row": "constant",
    TRUTH: "constant",
}
"""What each is compared with: the same loss and mean weight, nobody weighing."""


@dataclass(frozen=True, eq=False)
class Learned:
    """A trained network, and how its last batch was weighed."""

    network: nn.Module
    reweighting: Reweighting | None
    mean_X: NDArray[np.float32]
    scale_X: NDArray[np.float32]
    weights: WeightReport | None
    losses_B: NDArray[np.float64]
    """Mean loss of each training utterance in the last quarter of the run; not a number where it
    was not drawn."""

    @torch.inference_mode()
    def embed(self, numbers_BX: NDArray[np.float32]) -> NDArray[np.float32]:
        """Unit vectors (B, D)."""
        normal_BX = torch.from_numpy((numbers_BX - self.mean_X) * self.scale_X)
        return functional.normalize(self.network(normal_BX), dim=1).numpy()

    def adversary_scores(self, numbers_BX: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the adversary would give each utterance."""
        assert self.reweighting is not None
        embeddings_BD = torch.from_numpy(self.embed(numbers_BX))
        nobody_B = torch.zeros(len(embeddings_BD), dtype=torch.int64)
        return self.reweighting.scores(embeddings_BD, nobody_B).numpy()


def learn(
    numbers_BX: NDArray[np.float32],
    speakers_B: NDArray[np.int64],
    objective: SpeakerObjectiveConfig,
    settings: LearningConfig,
    *,
    seed: int,
) -> Learned:
    """Train the network.

    Args:
        numbers_BX: Numbers of utterances.
        speakers_B: Who speaks, as numbers from 0.
        objective: The loss, and who weighs it.
        settings: The rest.
        seed: Decides weights and batches.
    """
    return _learn(numbers_BX, speakers_B, objective, settings, seed, None)


def learn_knowing(
    numbers_BX: NDArray[np.float32],
    speakers_B: NDArray[np.int64],
    known_B: NDArray[np.float32],
    settings: LearningConfig,
    *,
    seed: int,
) -> Learned:
    """Train it by the baseline's loss and weights (B,) of somebody who knows whom to help.

    They are scaled to a mean of 2 in each batch, as those of an adversary are.
    """
    return _learn(numbers_BX, speakers_B, VARIANTS["baseline"], settings, seed, known_B)


def _learn(
    numbers_BX: NDArray[np.float32],
    speakers_B: NDArray[np.int64],
    objective: SpeakerObjectiveConfig,
    settings: LearningConfig,
    seed: int,
    known_B: NDArray[np.float32] | None,
) -> Learned:
    mean_X, scale_X = numbers_BX.mean(axis=0), 1.0 / (numbers_BX.std(axis=0) + 1e-5)
    normal_BX = torch.from_numpy((numbers_BX - mean_X) * scale_X)
    num_speakers = int(speakers_B.max()) + 1
    with torch.random.fork_rng(devices=[]):
        torch.random.set_rng_state(torch_rng_for(seed, "weights").get_state())
        network = nn.Sequential(
            nn.Linear(numbers_BX.shape[1], settings.hidden_dim),
            nn.BatchNorm1d(settings.hidden_dim),
            nn.ReLU(),
            nn.Linear(settings.hidden_dim, settings.embedding_dim),
        )
        heads = SpeakerHeads(
            settings.embedding_dim,
            objective,
            num_speakers=num_speakers,
            num_each=settings.num_each,
        )
    parameters = [*network.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(
        parameters, lr=settings.peak_rate, weight_decay=settings.weight_decay, fused=True
    )
    reweighting = _reweighting(objective, settings, seed)
    rows_by_speaker = [np.flatnonzero(speakers_B == speaker) for speaker in range(num_speakers)]
    rng, noise_rng = rng_for(seed, "batches"), torch_rng_for(seed, "noise")
    bank_BD = torch.zeros(0, settings.embedding_dim)
    sums_B, counts_B = np.zeros(len(numbers_BX)), np.zeros(len(numbers_BX))
    for update in range(1, settings.num_updates + 1):
        left = 1.0 - (update - 1) / settings.num_updates
        for group in optimizer.param_groups:
            group["lr"] = settings.peak_rate * min(1.0, 2.0 * left)
        rows_B, who_B = _batch(rows_by_speaker, settings, rng)
        seen_BX = normal_BX[rows_B]
        seen_BX = seen_BX + settings.noise * torch.randn(seen_BX.shape, generator=noise_rng)
        embeddings_BD = functional.normalize(network(seen_BX), dim=1)
        terms = heads(embeddings_BD, who_B)
        total_B = terms["softmax"] + terms["metric"]
        weights_B: Tensor | float = 1.0
        if reweighting is not None:
            detached_BD = embeddings_BD.detach()
            bank_BD = torch.cat([bank_BD, detached_BD])[-2048:]
            if (update - 1) % settings.epoch_updates == 0 and reweighting.settings.sees_regions:
                reweighting.fit_regions(bank_BD, epoch=update)
            weights_B = reweighting.weigh(detached_BD, total_B.detach(), who_B, update=update)
        elif known_B is not None:
            weights_B = torch.from_numpy(known_B)[rows_B]
            weights_B = 2.0 * weights_B / weights_B.mean()
        if update > 0.75 * settings.num_updates:
            np.add.at(sums_B, rows_B.numpy(), total_B.detach().numpy())
            np.add.at(counts_B, rows_B.numpy(), 1.0)
        optimizer.zero_grad(set_to_none=True)
        (weights_B * total_B).mean().backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
    report = reweighting.last if reweighting is not None else None
    losses_B = np.divide(sums_B, counts_B, out=np.full(len(sums_B), np.nan), where=counts_B > 0)
    return Learned(network.eval(), reweighting, mean_X, scale_X, report, losses_B)


def _reweighting(
    objective: SpeakerObjectiveConfig, settings: LearningConfig, seed: int
) -> Reweighting | None:
    if objective.reweighting is None:
        return None
    adversary = ReweightingConfig(
        variant=objective.reweighting.variant,
        num_regions=settings.num_regions,
        rate=settings.adversary_rate,
        warmup_updates=settings.warmup_updates,
    )
    return Reweighting(adversary, settings.embedding_dim, seed=seed)


def _batch(
    rows_by_speaker: list[NDArray[np.int64]], settings: LearningConfig, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    size = min(settings.num_speakers, len(rows_by_speaker))
    chosen_N = rng.choice(len(rows_by_speaker), size, replace=False)
    rows = [
        rng.choice(rows_by_speaker[n], settings.num_each, replace=len(rows_by_speaker[n]) < 2)
        for n in chosen_N
    ]
    who_B = torch.from_numpy(chosen_N).repeat_interleave(settings.num_each)
    return torch.from_numpy(np.concatenate(rows)), who_B
