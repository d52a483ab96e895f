# SPDX-License-Identifier: Apache-2.0
"""Losses of channels and references are put together in order, or in the best order."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evenear.errors import ConfigError
from evenear.losses.assignment import best_assignment, fixed_assignment


@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 99))
def test_the_best_permutation_is_the_least_of_all(channels, batch, seed):
    rng = torch.Generator().manual_seed(seed)
    losses_BCR = torch.randn(batch, channels, channels, generator=rng, dtype=torch.float64)
    loss_B, reference_BC = best_assignment(losses_BCR)
    for b in range(batch):
        sums = [
            sum(losses_BCR[b, c, r].item() for c, r in enumerate(way))
            for way in itertools.permutations(range(channels))
        ]
        assert loss_B[b].item() == pytest.approx(min(sums))
        chosen = [losses_BCR[b, c, r] for c, r in enumerate(reference_BC[b].tolist())]
        assert sum(chosen).item() == pytest.approx(min(sums))


@given(st.integers(0, 99))
def test_the_fixed_order_is_a_permutation_and_never_better_than_the_best(seed):
    losses_BCR = torch.randn(2, 2, 2, generator=torch.Generator().manual_seed(seed))
    fixed_B = fixed_assignment(losses_BCR)
    torch.testing.assert_close(fixed_B, losses_BCR[:, 0, 0] + losses_BCR[:, 1, 1])
    assert (fixed_B >= best_assignment(losses_BCR)[0]).all()


def test_only_the_chosen_permutation_gets_a_gradient():
    losses_BCR = torch.tensor([[[3.0, 1.0], [1.0, 3.0]]], requires_grad=True)
    best_assignment(losses_BCR)[0].sum().backward()
    assert losses_BCR.grad is not None
    assert losses_BCR.grad.tolist() == [[[0.0, 1.0], [1.0, 0.0]]]


def test_other_shapes_are_refused():
    with pytest.raises(ConfigError, match="channels by references"):
        fixed_assignment(torch.zeros(2, 3))
