# SPDX-License-Identifier: Apache-2.0
"""The task of gates around a recognizer that is trained already: hear as it does, for less.

    loss = match_weight * match + kl_weight * kl + phone_weight * phones + price(asked) * share

`match` is the squared distance of encoder frames to those of the same encoder with everything on,
relative to their spread; `kl` and `phones` are the divergences of what the CTC heads for tokens and
for phones make of both. Each utterance asks for a share drawn at random and pays for what it spends
at a price that is led, share by share, to where about that much is spent. (Without prices it pays
for what it spends beyond what it asked for.) The encoder itself stays as it is, so that whoever
asks for all gets what was there before; what computes in its place for less may learn additions to
its matrices.

Legend: B utterances, T frames, D width, F feature width, V vocabulary, K steps of a frame,
N frames or steps of an utterance in a row.

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
from evenear.losses.compute import PricesConfig, PriceTable, excess, share
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
        first_temperature=1.0,
        last_temperature=0.5,
        first_contribution=1.0,
        last_contribution=0.0,
        hard=True,
    )
    match_weight: float = Field(default=1.0, ge=0)
    kl_weight: float = Field(default=1.0, ge=0)
    phone_weight: float = Field(default=1.0, ge=0)
    """Of the divergence of phones, where the model tells phones apart."""
    prices: PricesConfig | None = PricesConfig()
    """None: the excess over what is asked for is paid for, at one fixed price."""
    cost_weight: float = Field(default=5.0, ge=0)
    """Of the excess, without prices."""
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
            "match": config.match_weight,
            "kl": config.kl_weight,
            "phones": config.phone_weight,
            "cost": config.cost_weight if config.prices is None else 1.0,
        }
        self.prices = None if config.prices is None else PriceTable(config.prices)

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
        self.encoder.thrifty.eval()  # dropout would blur what is to be matched
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
        model = self.model
        if model.ctc is not None and self.config.kl_weight:
            terms["kl"] = _divergence(model.ctc(gated_BTD), model.ctc(dense_BTD), real_BT)
        if model.phones is not None and self.config.phone_weight:
            said = [
                model.phone_logits(model.joiner.encoder_proj(each)).unflatten(
                    1, (-1, model.phone_steps)
                )
                for each in (gated_BTD, dense_BTD)
            ]
            real_BTK = real_BT[:, :, None].expand(said[0].shape[:3])
            terms["phones"] = _divergence(said[0], said[1], real_BTK)
        spent_B = share(found.spent_BT, found.dense_BT)
        if not is_soft:
            terms["cost"] = self._cost(spent_B, asked_B)
        return Losses(terms, {"spent": spent_B.detach(), "asked": asked_B})

    def evaluate(self, model: nn.Module) -> float:
        """What the judge says."""
        assert isinstance(model, Transducer)
        return float("nan") if self.judge is None else self.judge(model)

    def heard_seconds(self, batch: Batch) -> float:
        """Seconds of speech in a batch."""
        return float(batch.lengths_B.sum()) * self.batches.features.clock.frame_seconds

    def state_dict(self) -> dict[str, Any]:
        """Its prices."""
        return {} if self.prices is None else self.prices.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state_dict` gave."""
        if self.prices is not None:
            self.prices.load_state_dict(state)

    def _cost(self, spent_B: Tensor, asked_B: Tensor) -> Tensor:
        """What is paid for what was spent."""
        if self.prices is None:
            return excess(spent_B, asked_B, slack=self.config.slack)
        cost_B = self.prices.prices(asked_B) * spent_B
        self.prices.observe(asked_B, spent_B.detach())
        return cost_B


def gate_parameters(encoder: GatedTransformer) -> list[nn.Parameter]:
    """Weights of arbitrators, stand-ins and what is added to the layers."""
    parts = (encoder.arbitrators, encoder.stand_ins, encoder.thrifty)
    return [weight for part in parts for weight in part.parameters()]


def _distance(gated_BTD: Tensor, dense_BTD: Tensor, real_BT: Tensor) -> Tensor:
    """Squared distance of frames over the variance of the dense ones, (B,)."""
    spread = (dense_BTD - dense_BTD.mean(dim=(0, 1))).square().mean()
    squares_BT = (gated_BTD - dense_BTD).square().mean(dim=2)
    each_B = (squares_BT * real_BT).sum(dim=1) / real_BT.sum(dim=1).clamp_min(1)
    return each_B / spread.clamp_min(1e-9)


def _divergence(gated: Tensor, dense: Tensor, real: Tensor) -> Tensor:
    """Of what is made of gated frames from what is made of dense ones, (B,), a mean over frames."""
    dense, gated = dense.log_softmax(dim=-1), gated.log_softmax(dim=-1)
    kl_BN = ((dense.exp() * (dense - gated)).sum(dim=-1) * real).flatten(1)
    return kl_BN.sum(dim=1) / real.flatten(1).sum(dim=1).clamp_min(1)
