# SPDX-License-Identifier: Apache-2.0
"""How the weights of a batch are spread: is the adversary idle, useful, or has it collapsed?

    effective size = (sum of weights)^2 / sum of squared weights, as a share of B

1 is equal weights; 1 / B is one utterance with all the weight. An adversary that sits on a few
outliers has a small effective size; one that has nothing to say, 1.

Legend: B utterances.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["WeightReport", "describe_weights", "weight_by_group"]

_COLLAPSED = 0.1


class WeightReport(NamedTuple):
    """The spread of a batch's weights."""

    effective_share: float
    """Effective size over B, in (0, 1]."""
    entropy: float
    """Entropy of the weights as shares of their sum, over that of equal weights: in [0, 1]."""
    correlation: float
    """Of weights and losses; 0 where either is constant."""
    largest_share: float
    """The greatest weight as a share of their sum."""

    @property
    def has_collapsed(self) -> bool:
        """Whether less than a tenth of the batch decides the update."""
        return self.effective_share < _COLLAPSED


def describe_weights(weights_B: Tensor, losses_B: Tensor) -> WeightReport:
    """The spread of weights, and whether they follow the losses."""
    weights_B, losses_B = weights_B.double(), losses_B.double()
    shares_B = weights_B / weights_B.sum()
    size = len(weights_B)
    entropy = -torch.special.xlogy(shares_B, shares_B).sum()
    most = torch.tensor(max(size, 2), dtype=torch.float64).log()
    apart_B, lost_B = weights_B - weights_B.mean(), losses_B - losses_B.mean()
    spread = apart_B.square().sum().sqrt() * lost_B.square().sum().sqrt()
    correlation = float((apart_B * lost_B).sum() / spread) if spread > 0 else 0.0
    return WeightReport(
        effective_share=float(1.0 / (size * shares_B.square().sum())),
        entropy=float(entropy / most),
        correlation=correlation,
        largest_share=float(shares_B.max()),
    )


def weight_by_group(weights_B: Tensor, groups: Sequence[str]) -> dict[str, float]:
    """Mean weight of each group over the mean of all: for looking at afterwards, never to train."""
    overall = float(weights_B.double().mean())
    found: dict[str, list[float]] = {}
    for weight, group in zip(weights_B.double().tolist(), groups, strict=True):
        found.setdefault(group, []).append(weight)
    return {group: sum(all_) / len(all_) / overall for group, all_ in sorted(found.items())}
