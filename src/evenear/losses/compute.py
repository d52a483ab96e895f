# SPDX-License-Identifier: Apache-2.0
"""What computing costs, as a loss: the share of the dense model's work, and how to reach a target.

    share = sum_t spent_t / sum_t dense_t                         between 0 and 1, whatever the size
    excess = max(share - asked, 0) + slack max(asked - share, 0)  where a share is asked for
    backlog_t = max(backlog_(t-1) + spent_t - budget, 0)          work that waits at a bounded rate

A share has no unit: the paper's weight of 5e-8 on operations is one of 1.7 on the share of its 34
million. `spent_t` includes the arbitrators, so that what they cost is not hidden. The backlog is
the amortized form of the same group: a burst of work is free if a lull follows before the end.

Legend: B utterances, T frames, G shares of a table.

Source: Xie et al. 2022, arXiv:2207.02393, section 2.3; the backlog is the amortized loss of
Macoskey et al. 2021 (AmNets), arXiv:2108.01553. Our reading: the sum over an utterance is taken
relative to the dense sum, so that long utterances do not weigh more.
"""

import math
from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from evenear.config import config

__all__ = [
    "ControllerConfig",
    "PriceTable",
    "PricesConfig",
    "WeightController",
    "backlog",
    "excess",
    "share",
]


def share(spent_BT: Tensor, dense_BT: Tensor) -> Tensor:
    """The share (B,) of the dense model's work that utterances cost; padding has none of either."""
    return spent_BT.sum(dim=1) / dense_BT.sum(dim=1).clamp_min(1.0)


def excess(share_B: Tensor, asked_B: Tensor, *, slack: float = 0.0) -> Tensor:
    """How far shares (B,) lie above what was asked for; and, times `slack`, below it."""
    above_B = share_B - asked_B
    return above_B.clamp_min(0.0) + slack * (-above_B).clamp_min(0.0)


def backlog(spent_BT: Tensor, dense_BT: Tensor, budget: float) -> Tensor:
    """Work that waits at the end of utterances, in dense frames, (B,).

    Args:
        spent_BT: Work that each frame brings; none for padding.
        dense_BT: What it would bring without gates; zero for padding, which leaves the backlog.
        budget: Work that is done in the time of a frame, as a share of the dense work.
    """
    real_BT = dense_BT > 0
    dense_B = dense_BT.sum(dim=1) / real_BT.sum(dim=1).clamp_min(1)
    waiting_B = torch.zeros_like(dense_B)
    for spent_B, is_real_B in zip(spent_BT.unbind(1), real_BT.unbind(1), strict=True):
        after_B = (waiting_B + spent_B - budget * dense_B).clamp_min(0.0)
        waiting_B = torch.where(is_real_B, after_B, waiting_B)
    return waiting_B / dense_B.clamp_min(1.0)


@config
class ControllerConfig:
    """How the weight of the cost is led to where the target is met."""

    target: float = Field(gt=0, le=1)
    """The share of the dense work to reach."""
    first_weight: float = Field(default=0.1, gt=0)
    gain: float = Field(default=0.5, gt=0)
    """The logarithm of the weight grows by this times the excess, at every update."""
    smoothing: float = Field(default=0.9, ge=0, lt=1)
    """Of the share that is compared with the target, over updates."""
    most: float = Field(default=100.0, gt=0)


class WeightController:
    """Raises the weight of the cost while too much is spent, and lowers it while too little is.

    So one asks for a share and not for a weight whose effect nobody knows beforehand.
    """

    def __init__(self, config: ControllerConfig) -> None:
        self.config = config
        self.weight = config.first_weight
        self.smoothed: float | None = None

    def observe(self, spent_share: float) -> float:
        """Take note of what an update spent; return the weight for the next."""
        settings = self.config
        before = spent_share if self.smoothed is None else self.smoothed
        self.smoothed = settings.smoothing * before + (1 - settings.smoothing) * spent_share
        grown = self.weight * math.exp(settings.gain * (self.smoothed - settings.target))
        self.weight = min(max(grown, 1.0 / settings.most), settings.most)
        return self.weight

    def state_dict(self) -> dict[str, float]:
        """What a snapshot must hold."""
        smoothed = {} if self.smoothed is None else {"smoothed": self.smoothed}
        return {"weight": self.weight, **smoothed}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go back to what `state_dict` gave."""
        self.weight, self.smoothed = state["weight"], state.get("smoothed")


@config
class PricesConfig:
    """What computing costs those who ask for much and those who ask for little."""

    count: int = Field(default=9, ge=2)
    """Shares, from 0 to 1, whose prices are led; between them the logarithm goes in a line."""
    first_least: float = Field(default=3.0, gt=0)
    """Price at first of the whole of the computation, for those who ask for nothing."""
    first_most: float = Field(default=0.1, gt=0)
    """The same, for those who ask for all."""
    gain: float = Field(default=0.1, gt=0)
    """The logarithm of a price grows by this times the mean excess of an update's utterances."""
    most: float = Field(default=20.0, gt=0)
    """No price is higher, or lower than one over it."""


class PriceTable:
    """A controller for each share that may be asked for: its price rises while too much is spent.

    One price would lead all that is spent to one target. With a price for each share, every one of
    them has an optimum of its own: what is worth its price is computed. An utterance that is hard
    may spend more than another that asks for the same; it is their mean that meets the share.

    Dual ascent on the constraint that the mean share spent is the share asked for.
    """

    def __init__(self, config: PricesConfig) -> None:
        self.config = config
        ends = math.log(config.first_least), math.log(config.first_most)
        self.log_prices_G = torch.linspace(*ends, config.count, dtype=torch.float64)

    def prices(self, asked_B: Tensor) -> Tensor:
        """What the whole of the computation costs those who ask for these shares."""
        near_BG = self._near(asked_B)
        return (near_BG @ self.log_prices_G.to(near_BG)).exp().to(asked_B)

    def observe(self, asked_B: Tensor, spent_B: Tensor) -> None:
        """Take note of what utterances spent."""
        near_BG = self._near(asked_B)
        moved_G = (near_BG * (spent_B - asked_B).double()[:, None].cpu()).sum(dim=0) / len(asked_B)
        limit = math.log(self.config.most)
        moved_G = self.config.gain * self.config.count * moved_G
        self.log_prices_G = (self.log_prices_G + moved_G).clamp(-limit, limit)

    def state_dict(self) -> dict[str, Tensor]:
        """What a snapshot must hold."""
        return {"log_prices_G": self.log_prices_G}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go back to what `state_dict` gave."""
        self.log_prices_G = state["log_prices_G"]

    def _near(self, asked_B: Tensor) -> Tensor:
        """How near (B, G) each share lies to the table's: two weights that sum to 1."""
        place_B1 = asked_B.detach().double().cpu()[:, None] * (self.config.count - 1)
        return (1 - (place_B1 - torch.arange(self.config.count)).abs()).clamp_min(0)
