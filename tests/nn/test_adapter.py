# SPDX-License-Identifier: Apache-2.0
"""A linear layer that owns only how it differs from another.

Legend: R rank, O and I outputs and inputs, N units.
"""

import copy

import pytest
import torch
from torch import nn

from evenear.nn.adapter import AdaptedLinear
from evenear.seeding import torch_rng_for


def made(reordered=None) -> tuple[nn.Linear, AdaptedLinear]:
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(3)
        base = nn.Linear(5, 7)
        return base, AdaptedLinear(base, 2, reordered)


def x_35() -> torch.Tensor:
    return torch.randn(3, 5, generator=torch_rng_for(0, "x"))


@pytest.mark.parametrize("reordered", [None, "outputs", "inputs"])
def test_it_begins_as_its_base_and_owns_no_matrix_of_it(reordered):
    base, adapted = made(reordered)
    assert torch.equal(adapted(x_35()), base(x_35()))
    sizes = {name: weight.numel() for name, weight in adapted.named_parameters()}
    assert sizes == {"up_OR": 14, "down_RI": 10, "bias": 7}


def test_it_is_the_base_and_a_matrix_of_low_rank():
    base, adapted = made()
    with torch.no_grad():
        adapted.up_OR.normal_(generator=torch_rng_for(1, "up"))
    expected = base(x_35()) + x_35() @ adapted.down_RI.T @ adapted.up_OR.T
    torch.testing.assert_close(adapted(x_35()), expected)
    assert torch.linalg.matrix_rank(adapted.weight - base.weight) == 2


def test_an_order_moves_rows_or_columns():
    order_N = torch.tensor([3, 0, 6, 1, 2, 5, 4])
    base, outputs = made("outputs")
    outputs.reorder(order_N)
    assert torch.equal(outputs(x_35()), base(x_35())[:, order_N])
    base, inputs = made("inputs")
    inputs.reorder(order_N[order_N < 5])
    torch.testing.assert_close(inputs(x_35()[:, order_N[order_N < 5]]), base(x_35()))


def test_what_was_kept_is_made_anew_when_a_part_has_changed():
    base, adapted = made("outputs")
    with torch.no_grad():
        before = adapted.weight
        assert adapted.weight is before
        adapted.up_OR.fill_(0.5)
        learned = adapted.weight
        base.weight.mul_(2.0)
        doubled = adapted.weight
        adapted.reorder(torch.arange(6, -1, -1))
        turned = adapted.weight
    assert not torch.equal(before, learned)
    torch.testing.assert_close(doubled - learned, base.weight / 2)
    torch.testing.assert_close(turned - (doubled - base.weight), base.weight.flip(0))


def test_gradients_reach_what_it_owns_and_stop_where_the_base_is_frozen():
    base, adapted = made()
    base.requires_grad_(False)
    adapted(x_35()).square().sum().backward()
    assert adapted.up_OR.grad is not None
    assert adapted.up_OR.grad.abs().sum() > 0
    assert base.weight.grad is None


def test_a_copy_of_both_is_a_pair_of_its_own():
    pair = nn.ModuleList(made())
    twin = copy.deepcopy(pair)
    with torch.no_grad():
        twin[0].weight.zero_()
        twin[0].bias.zero_()
    assert torch.equal(twin[1].weight, torch.zeros(7, 5))
    assert pair[1].weight.abs().sum() > 0
