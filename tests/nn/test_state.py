# SPDX-License-Identifier: Apache-2.0
"""States of many listeners are stacked and parted without mixing them."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from evenear.errors import StateError
from evenear.nn.state import map_state, split_state, stack_states, state_bytes, state_tensors


class Inner(NamedTuple):
    counts_B: Tensor


class Outer(NamedTuple):
    layers: tuple[Tensor, ...]
    inner: Inner
    none: tuple[Tensor, ...] = ()


def state(*values: int) -> Outer:
    column = torch.tensor(values, dtype=torch.float32)[:, None]
    return Outer((column, column + 10), Inner(torch.tensor(values)))


def test_splitting_undoes_stacking():
    alice, bob = split_state(stack_states([state(1), state(2)]), 2)
    assert alice.layers[1].item() == 11
    assert bob.inner.counts_B.item() == 2
    assert isinstance(bob, Outer)
    assert isinstance(bob.inner, Inner)


def test_batches_of_any_size_stack_in_order():
    stacked = stack_states([state(1, 2), state(3)])
    assert stacked.inner.counts_B.tolist() == [1, 2, 3]


def test_parts_do_not_share_memory_with_the_whole():
    stacked = state(1, 2)
    first, _ = split_state(stacked, 2)
    first.layers[0].zero_()
    assert stacked.layers[0][0].item() == 1


def test_map_state_keeps_the_structure_and_visits_every_tensor():
    doubled = map_state(lambda a, b: a + b, state(1), state(1))
    assert [t.flatten().tolist() for t in state_tensors(doubled)] == [[2.0], [22.0], [2]]
    assert doubled.none == ()


def test_bytes_are_those_of_all_tensors():
    assert state_bytes(state(1, 2)) == 2 * 4 + 2 * 4 + 2 * 8


def test_states_of_different_models_are_refused():
    with pytest.raises(StateError, match="one structure"):
        stack_states([state(1), Inner(torch.tensor([1]))])
    wider = state(1)._replace(layers=(torch.zeros(1, 2), torch.zeros(1, 1)))
    with pytest.raises(StateError, match="every size but the first"):
        stack_states([state(1), wider])
    with pytest.raises(StateError, match="at least one"):
        stack_states([])


def test_a_state_of_another_batch_size_is_refused():
    with pytest.raises(StateError, match="3 streams, got one of 2"):
        split_state(state(1, 2), 3)
