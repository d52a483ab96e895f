# SPDX-License-Identifier: Apache-2.0
"""Weights of utterances that make the worst group of speakers count most, as training goes.

Both keep a probability q for each group. Groups with large losses gain weight; the loss that is
minimized is the q-weighted sum of the groups' mean losses.

    group DRO    q_g <- q_g exp(step * L_g), then divided by their sum
    CTC-DRO      q_g <- q_g exp(step * L_g / (q_g + smoothing)), then divided by their sum

Sequence losses grow with the length of an utterance, so a group of long utterances looks hard to
plain group DRO whatever the recognizer does. CTC-DRO compares groups on equal amounts of speech,
waits until every group was heard before it moves, and divides by q + smoothing, so that a group
whose loss cannot be lowered does not take everything.

Source: Sagawa et al. 2020, "Distributionally robust neural networks for group shifts",
arXiv:1911.08731, algorithm 1; Bartelds et al. 2025, "CTC-DRO", arXiv:2502.01777.
Departs from the papers: batches here mix groups. A group that is missing from a batch keeps its q
(not the step of a loss of 0), an utterance of group g weighs q_g over the group's share of the
stream, so that the sum is right on average whatever a batch holds; and equal amounts of speech are
made by dividing losses by seconds, where CTC-DRO draws batches of equal length from one group each.

Legend: B utterances, G groups.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from evenear.errors import ConfigError

__all__ = ["CtcDro", "GroupDro", "GroupWeights"]


class GroupWeights(ABC):
    """Weights of utterances, by the group that they are of; q is part of a run's state."""

    q_G: Tensor
    """The probability of each group."""

    @abstractmethod
    def weigh(self, losses_B: Tensor, groups_B: Tensor, seconds_B: Tensor) -> Tensor:
        """Hear a batch: move q, and return the weights (B,) of its utterances.

        Args:
            losses_B: Loss of each utterance; no gradient flows into it.
            groups_B: The group of each, counted from 0.
            seconds_B: How long each is.
        """

    @abstractmethod
    def state_dict(self) -> dict[str, Tensor]:
        """All that moves."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go back to a state."""


class GroupDro(GroupWeights):
    """Group DRO.

    Args:
        shares: The share of each group among the utterances that are drawn; their sum is 1.
        step: Size of the exponentiated step.

    Raises:
        ConfigError: Shares are not those of two groups or more, or the step is not positive.
    """

    def __init__(self, shares: Sequence[float], *, step: float = 0.01) -> None:
        self._shares_G = _checked(shares, step)
        self.step = step
        self.q_G = torch.full((len(shares),), 1.0 / len(shares), dtype=torch.float64)

    def weigh(self, losses_B: Tensor, groups_B: Tensor, seconds_B: Tensor) -> Tensor:  # noqa: ARG002
        """Move q by the mean losses of the groups in the batch; return weights (B,)."""
        losses_B = losses_B.detach().double()
        counts_G = _sums(torch.ones_like(losses_B), groups_B, self.q_G)
        means_G = _sums(losses_B, groups_B, self.q_G) / counts_G.clamp(min=1.0)
        self.q_G = _stepped(self.q_G, torch.where(counts_G > 0, self.step * means_G, 0.0))
        return (self.q_G / self._shares_G)[groups_B].float()

    def state_dict(self) -> dict[str, Tensor]:
        """The probabilities."""
        return {"q_G": self.q_G.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go back to such probabilities."""
        self.q_G = state["q_G"].clone()


class CtcDro(GroupWeights):
    """CTC-DRO.

    Args:
        shares: The share of each group among the utterances that are drawn; their sum is 1.
        step: Size of the exponentiated step.
        smoothing: Added to q where the loss is divided by it; 0 gives small groups the most.
        seconds: The amount of speech that losses are compared on.

    Raises:
        ConfigError: Shares are not those of two groups or more, or another number is not positive.
    """

    def __init__(
        self,
        shares: Sequence[float],
        *,
        step: float = 0.01,
        smoothing: float = 0.1,
        seconds: float = 10.0,
    ) -> None:
        self._shares_G = _checked(shares, step)
        if not (0.0 <= smoothing < math.inf and 0.0 < seconds < math.inf):
            raise ConfigError(
                f"CTC-DRO needs a smoothing of 0 or more and seconds above 0, got {smoothing} and "
                f"{seconds}."
            )
        self.step, self.smoothing, self.seconds = step, smoothing, seconds
        self.q_G = torch.full((len(shares),), 1.0 / len(shares), dtype=torch.float64)
        self._losses_G = torch.zeros_like(self.q_G)
        self._seconds_G = torch.zeros_like(self.q_G)

    def weigh(self, losses_B: Tensor, groups_B: Tensor, seconds_B: Tensor) -> Tensor:
        """Move q once every group was heard since the last move; return weights (B,)."""
        self._losses_G = self._losses_G + _sums(losses_B.detach().double(), groups_B, self.q_G)
        self._seconds_G = self._seconds_G + _sums(seconds_B.double(), groups_B, self.q_G)
        if bool((self._seconds_G > 0).all()):
            losses_G = self.seconds * self._losses_G / self._seconds_G
            self.q_G = _stepped(self.q_G, self.step * losses_G / (self.q_G + self.smoothing))
            self._losses_G = torch.zeros_like(self.q_G)
            self._seconds_G = torch.zeros_like(self.q_G)
        return (self.q_G / self._shares_G)[groups_B].float()

    def state_dict(self) -> dict[str, Tensor]:
        """The probabilities, and what was heard since they moved."""
        held = {"q_G": self.q_G, "losses_G": self._losses_G, "seconds_G": self._seconds_G}
        return {name: tensor.clone() for name, tensor in held.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go back to such a state."""
        self.q_G = state["q_G"].clone()
        self._losses_G, self._seconds_G = state["losses_G"].clone(), state["seconds_G"].clone()


def _checked(shares: Sequence[float], step: float) -> Tensor:
    shares_G = torch.tensor(list(shares), dtype=torch.float64)
    if len(shares) < 2 or not bool((shares_G > 0).all()) or abs(float(shares_G.sum()) - 1) > 1e-6:
        raise ConfigError(
            f"Groups need two shares or more, each above 0, with the sum 1, got {list(shares)}.",
            hint="A group without an utterance cannot be weighed: leave it out.",
        )
    if not 0.0 < step < math.inf:
        raise ConfigError(f"The step must be above 0, got {step}.")
    return shares_G


def _sums(values_B: Tensor, groups_B: Tensor, like_G: Tensor) -> Tensor:
    """Sums over the utterances of each group; what is not finite counts as 0."""
    values_B = values_B.double().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).cpu()
    return torch.zeros_like(like_G).index_add_(0, groups_B.cpu(), values_B)


def _stepped(q_G: Tensor, exponents_G: Tensor) -> Tensor:
    """Multiply q by exp(exponents) and divide by the sum, so that nothing overflows."""
    return torch.softmax(q_G.clamp(min=1e-12).log() + exponents_G, dim=0)
