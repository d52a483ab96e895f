# SPDX-License-Identifier: Apache-2.0
"""Which output channel is to say which reference: the order they come in, or the best for it.

With deterministic assignment (DAT) reference c belongs to channel c, and each needs one loss. With
permutation-invariant training (PIT) every channel is held against every reference, and the
permutation of least loss counts: for two channels, four losses instead of two.

Legend: B utterances, C channels, R references (as many as channels).

Source: Sklyar, Piunova, Liu 2021, MS-RNN-T, arXiv:2011.11671, section 3. Follows the paper.
"""

import itertools

import torch
from torch import Tensor

from evenear.errors import ConfigError

__all__ = ["best_assignment", "fixed_assignment"]


def fixed_assignment(losses_BCR: Tensor) -> Tensor:
    """Loss (B,) of reference c on channel c, summed."""
    _check(losses_BCR)
    return losses_BCR.diagonal(dim1=1, dim2=2).sum(dim=1)


def best_assignment(losses_BCR: Tensor) -> tuple[Tensor, Tensor]:
    """Loss (B,) of the best permutation, summed; and its reference for each channel, (B, C)."""
    _check(losses_BCR)
    channels = range(losses_BCR.shape[1])
    ways = list(itertools.permutations(channels))
    sums = [sum(losses_BCR[:, c, r] for c, r in zip(channels, way, strict=True)) for way in ways]
    best = torch.stack(sums, dim=1).min(dim=1)  # pyright: ignore[reportArgumentType]
    references = torch.tensor(ways, device=losses_BCR.device)
    return best.values, references[best.indices]


def _check(losses_BCR: Tensor) -> None:
    if losses_BCR.ndim != 3 or losses_BCR.shape[1] != losses_BCR.shape[2]:
        raise ConfigError(
            f"Losses must be (B, C, C), channels by references, got {tuple(losses_BCR.shape)}."
        )
