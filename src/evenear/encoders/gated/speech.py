# SPDX-License-Identifier: Apache-2.0
"""An arbitrator at the door of an encoder: says which blocks of sound have anything to be heard.

    gate = SpeechGate(SpeechGateConfig(hidden_dim=64), encoder)
    logits_BK, memory = gate.step(features_BTF, memory)     # frames of 40 ms, in whole groups
    plan = gate.plan(0.4)                                   # how to hear for two fifths of all

It costs a five-hundredth of what the encoder does. What stands in for frames that are not heard is
what the encoder says of silence. It also keeps the table of plans, made by measuring, that turns a
share of the computation into how it is spent.

Legend: B streams, T feature frames, F feature width, K groups of `stride` feature frames, H hidden
units, D encoder width, P plans.

Source: an arbitrator as in Xie et al. 2022, arXiv:2207.02393, for the whole encoder and for blocks;
ours: what it hears, and that it learns from what the recognizer says.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from evenear.config import config
from evenear.errors import ConfigError

__all__ = ["MOST_PLANS", "Plan", "SpeechGate", "SpeechGateConfig"]

MOST_PLANS = 16
"""Lines of the table of plans."""


@config
class SpeechGateConfig:
    """Size of the network that tells speech from what need not be heard."""

    hidden_dim: int = Field(default=64, ge=1)


class Plan(NamedTuple):
    """How to spend a share of the computation."""

    share: float
    """What was spent so, of all, on the speech of the calibration."""
    hop_frames: int
    """Feature frames of unbroken speech that a window settles at once."""
    gates: float
    """The share that the encoder's own gates are asked for."""


class SpeechGate(nn.Module):
    """One gated recurrent layer over joined feature frames.

    Args:
        config: Its size.
        feature_dim: Width of a feature frame.
        stride: Feature frames joined into one, those of an encoder frame.
        dim: Width of the encoder.
    """

    def __init__(
        self, config: SpeechGateConfig, *, feature_dim: int, stride: int, dim: int
    ) -> None:
        super().__init__()
        self.config, self.feature_dim, self.stride = config, feature_dim, stride
        self.input = nn.Linear(stride * feature_dim, config.hidden_dim)
        self.layer = nn.GRU(config.hidden_dim, config.hidden_dim, batch_first=True)
        self.output = nn.Linear(config.hidden_dim, 1)
        self.silence_D: Tensor
        self.register_buffer("silence_D", torch.zeros(dim))
        self.threshold: Tensor
        self.register_buffer("threshold", torch.zeros(()))
        self.plans_P3: Tensor
        self.register_buffer("plans_P3", torch.zeros(MOST_PLANS, 3))

    @property
    def macs(self) -> int:
        """Its multiply-accumulates for a group of frames."""
        return sum(p.numel() for p in self.parameters() if p.ndim > 1)

    def initial_state(self, batch_size: int) -> Tensor:
        """Nothing heard yet, (B, H)."""
        return self.output.weight.new_zeros(batch_size, self.config.hidden_dim)

    def step(self, features_BTF: Tensor, memory_BH: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, K) that there is speech, and what is remembered.

        Args:
            features_BTF: Normalized feature frames; the last group may be incomplete.
            memory_BH: What was remembered.
        """
        if not features_BTF.shape[1]:
            return features_BTF.new_zeros(len(features_BTF), 0), memory_BH
        missing = -features_BTF.shape[1] % self.stride
        padded_BTF = torch.cat([features_BTF, features_BTF[:, -1:].expand(-1, missing, -1)], dim=1)
        x_BKF = padded_BTF.unflatten(1, (-1, self.stride)).flatten(2)
        x_BKH = torch.relu(self.input(x_BKF))
        x_BKH, memory_1BH = self.layer(x_BKH, memory_BH[None].contiguous())
        return self.output(x_BKH)[:, :, 0], memory_1BH[0]

    def is_speech(self, logits_K: Tensor) -> bool:
        """Whether a block of one stream is to be heard."""
        return bool((logits_K > self.threshold).any())

    def put_plans(self, plans: Sequence[Plan]) -> None:
        """Fill the table.

        Raises:
            ConfigError: There are none, or too many.
        """
        if not 0 < len(plans) <= MOST_PLANS:
            raise ConfigError(f"A table has 1 to {MOST_PLANS} plans, got {len(plans)}.")
        self.plans_P3.zero_()
        self.plans_P3[: len(plans)] = torch.tensor(sorted(plans))

    @property
    def plans(self) -> list[Plan]:
        """The table, from the cheapest plan on."""
        filled = [row for row in self.plans_P3.tolist() if row[1]]
        return [Plan(share, round(hop), gates) for share, hop, gates in filled]

    def plan(self, asked: float) -> Plan:
        """How to spend about this share: the dearest plan below it, its gates as far open as fits.

        The cheapest plan where less is asked for than any spends.

        Raises:
            ConfigError: The table is empty.
        """
        plans = self.plans
        if not plans:
            raise ConfigError(
                "Nobody has measured yet what this dial spends.",
                hint="Make its table with `evenear.training.sparing.measured_plans`.",
            )
        place = max((i for i, plan in enumerate(plans) if plan.share <= asked), default=0)
        here, above = plans[place], plans[min(place + 1, len(plans) - 1)]
        if here.hop_frames != above.hop_frames or asked <= here.share or above == here:
            return here
        part = min(1.0, (asked - here.share) / (above.share - here.share))
        return Plan(asked, here.hop_frames, here.gates + part * (above.gates - here.gates))
