# SPDX-License-Identifier: Apache-2.0
"""The task of gates around a recognizer that is trained already: hear as it does, for less.

    loss = match + kl_weight * kl + cost_weight * excess

`match` is the squared distance of encoder frames to those of the same encoder with everything on,
relative to their spread; `kl` the divergence of what the CTC head makes of both. Each utterance
asks for a share drawn at random and pays for what it spends beyond. The encoder itself stays as it
is, so that whoever asks for all gets what was there before.

Legend: B utterances, T frames, D width, F feature width, V vocabulary.

Source: the toggles, their noise and schedules are those of Xie et al. 2022, arXiv:2207.02393.
Departs from the paper: it trains encoder and arbitrators together on the transducer loss; this
learns arbitrators (and stand-ins) alone, from the encoder's own dense output, in minutes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from evenear.config import config
from evenear.data.batching.batches import Batch, BatchMaker
from evenear.encoders.gated.encoder import GatedTransformer
from evenear.errors import ConfigError
from evenear.losses.compute import excess, share
from evenear.models.transducer import Transducer
from evenear.nn.gate import GateSchedule
from evenear.training.loop.task import Losses, Task
from evenear.training.settings import OptimizerConfig

__all__ = ["GateTask", "GateTraining", "gate_parameters"]


@config
class GateTraining:
    """How gates are learned."""

    seed: int = 0
    num_updates: int = Field(default=400, ge=1)
    soft_part: float = Field(default=0.0, ge=0, le=1)
    """Part of the updates (phase 1) in which toggles are soft and cost nothing."""
    schedule: GateSchedule = GateSchedule(
        first_temperature=1.0, last_temperature=0.3, first_contribution=1.0, hard=True
    )
    kl_weight: float = Field(default=1.0, ge=0)
    cost_weight: float = Field(default=5.0, ge=0)
    slack: float = Field(default=0.1, ge=0)
    """What it costs to spend less than was asked for, relative to spending more."""
    least: float = Field(default=0.2, ge=0, le=1)
    optimizer: OptimizerConfig = OptimizerConfig(
        peak_rate=2e-3, warmup_updates=20, decay_from=0.6, average_decay=0.98
    )
    precision: Literal["float32", "bfloat16"] = "float32"
    evaluate_every: int = Field(default=10_000, ge=1)
    snapshot_every: int = Field(default=50, ge=1)


class GateTask(Task):
    """Learn gates around an encoder that stays as it is.

    Args:
        config: How.
        model: A recognizer whose encoder has gates.
        batches: Plans and makes the training batches; texts are not needed.
        judge: How badly the recognizer does on held-out speech; None: not asked.
    """

    score_name = "dev_wer"

    def __init__(
        self,
        config: GateTraining,
        model: Transducer,
        batches: BatchMaker,
        judge: Callable[[Transducer], float] | None = None,
    ) -> None:
        if not isinstance(model.encoder, GatedTransformer):
            raise ConfigError("Gates can be learned where there are some: of another encoder.")
        self.config, self.batches, self.judge = config, batches, judge
        self.model: Transducer = model
        self.encoder: GatedTransformer = model.encoder
        self._is_narrow = config.precision == "bfloat16"
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        for parameter in gate_parameters(self.encoder):
            parameter.requires_grad_(True)
        self.term_weights: Mapping[str, float] = {
            "match": 1.0,
            "kl": config.kl_weight,
            "cost": config.cost_weight,
        }

    @property
    def identity(self) -> str:
        """The speech that is planned."""
        return " ".join(part.name for part in self.batches.store.parts)

    def plan(self, epoch: int) -> Sequence[Any]:
        """The batches of an epoch, as places in the store."""
        return self.batches.plan(epoch)

    def batch(self, group: Any, epoch: int) -> Batch:
        """One batch, varied afresh for this epoch."""
        return self.batches.batch(group, epoch)

    def losses(self, batch: Batch, update: int) -> Losses:
        """Distances to the dense encoder, and what was spent beyond what was asked for."""
        progress = (update - 1) / self.config.num_updates
        is_soft = progress < self.config.soft_part
        part = max(self.config.soft_part, 1e-9)
        gone = progress / part if is_soft else (progress - part) / max(1 - part, 1e-9)
        schedule = GateSchedule(last_contribution=0.0) if is_soft else self.config.schedule
        self.encoder.sampling = schedule.at(gone)
        features_BTF = self.model.normalize(batch.features_BTF)
        asked_B = torch.rand(len(features_BTF), device=features_BTF.device)
        asked_B = self.config.least + (1 - self.config.least) * asked_B
        self.encoder.train()
        self.encoder.backbone.eval()
        usual = self.encoder.block_frames
        blocks = self.encoder.config.backbone.training_blocks or (usual,)
        self.encoder.set_block(blocks[int(torch.randint(len(blocks), ()))])
        with torch.autocast(features_BTF.device.type, torch.bfloat16, self._is_narrow):
            found = self.encoder.encode_asked(features_BTF, batch.lengths_B, asked_B)
            with torch.no_grad():
                dense_BTD = self.encoder.backbone(features_BTF, batch.lengths_B).encoded_BTD
        self.encoder.set_block(usual)
        gated_BTD, dense_BTD = found.encoded.encoded_BTD.float(), dense_BTD.float()
        frames_T = torch.arange(dense_BTD.shape[1], device=dense_BTD.device)
        real_BT = (frames_T < found.encoded.lengths_B[:, None]).float()
        terms = {"match": _distance(gated_BTD, dense_BTD, real_BT)}
        if self.model.ctc is not None and self.config.kl_weight:
            terms["kl"] = self._divergence(gated_BTD, dense_BTD, real_BT)
        spent_B = share(found.spent_BT, found.dense_BT)
        if not is_soft:
            terms["cost"] = excess(spent_B, asked_B, slack=self.config.slack)
        return Losses(terms, {"spent": spent_B.detach(), "asked": asked_B})

    def evaluate(self, model: nn.Module) -> float:
        """What the judge says."""
        assert isinstance(model, Transducer)
        return float("nan") if self.judge is None else self.judge(model)

    def heard_seconds(self, batch: Batch) -> float:
        """Seconds of speech in a batch."""
        return float(batch.lengths_B.sum()) * self.batches.features.clock.frame_seconds

    def _divergence(self, gated_BTD: Tensor, dense_BTD: Tensor, real_BT: Tensor) -> Tensor:
        """What the CTC head makes of the dense frames, against what it makes of the gated ones."""
        assert self.model.ctc is not None
        dense_BTV = self.model.ctc(dense_BTD).log_softmax(dim=2)
        gated_BTV = self.model.ctc(gated_BTD).log_softmax(dim=2)
        kl_BT = (dense_BTV.exp() * (dense_BTV - gated_BTV)).sum(dim=2)
        return (kl_BT * real_BT).sum(dim=1) / real_BT.sum(dim=1).clamp_min(1)


def gate_parameters(encoder: GatedTransformer) -> list[nn.Parameter]:
    """Weights of arbitrators and stand-ins."""
    return [*encoder.arbitrators.parameters(), *encoder.stand_ins.parameters()]


def _distance(gated_BTD: Tensor, dense_BTD: Tensor, real_BT: Tensor) -> Tensor:
    """Squared distance of frames over the variance of the dense ones, (B,)."""
    spread = (dense_BTD - dense_BTD.mean(dim=(0, 1))).square().mean()
    squares_BT = (gated_BTD - dense_BTD).square().mean(dim=2)
    each_B = (squares_BT * real_BT).sum(dim=1) / real_BT.sum(dim=1).clamp_min(1)
    return each_B / spread.clamp_min(1e-9)
