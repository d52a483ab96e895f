# SPDX-License-Identifier: Apache-2.0
"""What of a recognizer may move: all of it, a part, or low-rank additions to its matrices.

    weight' = weight + up down,        up (out, R) begins as 0, down (R, in) at random

The additions are learned in place of the weights and at the end added to them, so that what comes
out is an ordinary recognizer of the same size.

Legend: R rank, O and I outputs and inputs of a matrix.

Source: Hu et al. 2021, "LoRA", arXiv:2106.09685. Departs from the paper: all linear layers have
them (those of attention, of predictor and joiner, and behind LSTMs), and the scale alpha / r is 1.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from evenear.errors import ConfigError
from evenear.models.transducer import Transducer
from evenear.nn.batchnorm import MaskedBatchNorm

__all__ = ["LowRank", "add_adapters", "freeze", "hold_statistics", "merged", "optimizer_of"]

_STATISTICS = (MaskedBatchNorm, nn.modules.batchnorm._BatchNorm)


class LowRank(nn.Module):
    """A matrix of low rank that is added to a weight."""

    def __init__(self, weight_OI: Tensor, rank: int) -> None:
        super().__init__()
        num_out, num_in = weight_OI.shape
        self.up_OR = nn.Parameter(torch.zeros(num_out, rank))
        self.down_RI = nn.Parameter(torch.empty(rank, num_in))
        nn.init.kaiming_uniform_(self.down_RI, a=math.sqrt(5))

    def forward(self, weight_OI: Tensor) -> Tensor:
        """The weight with what was learned."""
        return weight_OI + self.up_OR @ self.down_RI


def add_adapters(model: Transducer, rank: int, rng: torch.Generator) -> None:
    """Freeze a recognizer and give each of its linear layers something to learn.

    Args:
        model: The recognizer; it computes what it computed before.
        rank: The rank of each addition.
        rng: Where their beginning comes from.
    """
    model.requires_grad_(False)
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    with torch.random.fork_rng(devices=[]):
        torch.random.set_rng_state(rng.get_state())
        for module in linear:
            parametrize.register_parametrization(module, "weight", LowRank(module.weight, rank))


def merged(model: Transducer) -> Transducer:
    """An ordinary recognizer whose weights hold what adapters learned, if there are any."""
    with torch.random.fork_rng(devices=[]):
        plain = Transducer(model.config)
    weights = {}
    for name in plain.state_dict():
        place, _, leaf = name.rpartition(".")
        weights[name] = getattr(model.get_submodule(place), leaf).detach()
    plain.load_state_dict(weights)
    return plain.eval()


def freeze(model: Transducer, part: str) -> None:
    """Keep a part of a recognizer as it is: its encoder or its predictor.

    Raises:
        ConfigError: There is no such part.
    """
    if part not in ("encoder", "predictor"):
        raise ConfigError(f"What is frozen must be encoder or predictor, got {part!r}.")
    model.get_submodule(part).requires_grad_(False)


def hold_statistics(model: nn.Module) -> None:
    """Let batch normalization use what it knows, and learn nothing of the few speakers heard.

    Its means and variances are no weights: no penalty could hold them.
    """
    for module in model.modules():
        if isinstance(module, _STATISTICS):
            module.eval()


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    """AdamW over what is trained, without decay: that would pull to 0 what is to stay."""
    trained = [p for p in model.parameters() if p.requires_grad]
    group = {"params": trained, "rate_ratio": 1.0, "weight_decay": 0.0}
    return torch.optim.AdamW([group], lr=0.0, betas=(0.9, 0.98), eps=1e-9)
