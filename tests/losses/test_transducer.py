# SPDX-License-Identifier: Apache-2.0
"""The loss against the sum over every alignment, and against itself seen in other ways.

Dimensions: B utterances, T frames, U tokens (logits have U + 1 columns), V vocabulary.
"""

import itertools
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evenear.errors import ConfigError
from evenear.losses import packed_transducer_loss, transducer_loss
from evenear.seeding import torch_rng_for

LATTICES = ["torch", "numba"]


def enumerated_loss(
    logits_TUV: Tensor, tokens: list[int], blank_id: int, penalty_TU: Tensor | None = None
) -> Tensor:
    """Minus log of the summed probability of all alignments, each walked arc by arc."""
    log_probs_TUV = logits_TUV.log_softmax(-1)
    num_frames = len(logits_TUV)
    scores = []
    for positions in itertools.combinations(range(num_frames - 1 + len(tokens)), len(tokens)):
        t = u = 0
        score = logits_TUV.new_zeros(())
        for step in range(num_frames - 1 + len(tokens)):
            if step in positions:
                score = score + log_probs_TUV[t, u, tokens[u]]
                if penalty_TU is not None:
                    score = score - penalty_TU[t, u]
                u += 1
            else:
                score = score + log_probs_TUV[t, u, blank_id]
                t += 1
        scores.append(score + log_probs_TUV[t, u, blank_id])
    return -torch.logsumexp(torch.stack(scores), 0)


def batch(
    frames: list[int], tokens: list[int], vocabulary: int, blank_id: int, *, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random logits and targets, padded by one frame and one column more than needed."""
    rng = torch_rng_for(seed, "transducer-test", (tuple(frames), tuple(tokens), vocabulary))
    shape = (len(frames), max(frames) + 1, max(tokens) + 2, vocabulary)
    logits_BTUV = torch.randn(shape, generator=rng, dtype=torch.float64) * 2
    offsets = torch.randint(1, vocabulary, (len(frames), max(tokens) + 1), generator=rng)
    targets_BU = (blank_id + offsets) % vocabulary
    return logits_BTUV, targets_BU, torch.tensor(frames), torch.tensor(tokens)


def loss_and_gradient(logits_BTUV: Tensor, *arguments: Tensor, **options) -> tuple[Tensor, Tensor]:
    logits_BTUV = logits_BTUV.detach().requires_grad_()
    loss_B = transducer_loss(logits_BTUV, *arguments, **options)
    weights_B = torch.arange(1.0, len(loss_B) + 1, dtype=loss_B.dtype)
    (gradient_BTUV,) = torch.autograd.grad((loss_B * weights_B).sum(), logits_BTUV)
    return loss_B.detach(), gradient_BTUV


@pytest.mark.parametrize("lattice", LATTICES)
@pytest.mark.parametrize("blank_id", [0, 2, 4])
def test_loss_and_gradient_equal_the_sum_over_every_alignment(lattice, blank_id):
    sizes = list(itertools.product(range(1, 5), range(4)))
    logits_BTUV, targets_BU, *lengths = batch(*map(list, zip(*sizes, strict=True)), 5, blank_id)
    loss_B, gradient_BTUV = loss_and_gradient(
        logits_BTUV, targets_BU, *lengths, blank_id=blank_id, lattice=lattice
    )
    logits_BTUV.requires_grad_()
    expected_B = torch.stack(
        [
            enumerated_loss(logits_TUV[:t, : u + 1], targets_U[:u].tolist(), blank_id)
            for logits_TUV, targets_U, (t, u) in zip(logits_BTUV, targets_BU, sizes, strict=True)
        ]
    )
    weights_B = torch.arange(1.0, len(sizes) + 1, dtype=torch.float64)
    (expected_BTUV,) = torch.autograd.grad((expected_B * weights_B).sum(), logits_BTUV)
    torch.testing.assert_close(loss_B, expected_B.detach(), rtol=0, atol=1e-10)
    torch.testing.assert_close(gradient_BTUV, expected_BTUV, rtol=0, atol=1e-10)


@pytest.mark.parametrize("lattice", LATTICES)
def test_gradient_passes_finite_differences(lattice):
    logits_BTUV, *rest = batch([3, 4, 1], [2, 3, 0], 4, 1)
    penalty_BTU = torch.rand(3, 4, 3, dtype=torch.float64).requires_grad_()

    def loss(logits_BTUV: Tensor, penalty_BTU: Tensor) -> Tensor:
        return transducer_loss(
            logits_BTUV, *rest, blank_id=1, label_penalty_BTU=penalty_BTU, lattice=lattice
        )

    assert torch.autograd.gradcheck(loss, (logits_BTUV.requires_grad_(), penalty_BTU))
