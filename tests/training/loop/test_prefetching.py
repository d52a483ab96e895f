# SPDX-License-Identifier: Apache-2.0
"""Batches come in order, errors come through, and no thread is left behind."""

import threading
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from evenear.training.loop.prefetching import moved, prefetched


class Pair(NamedTuple):
    names: tuple[str, ...]
    numbers_B: Tensor
    maybe_B: Tensor | None = None


def test_all_that_is_made_comes_in_order():
    assert list(prefetched(range(20), lambda n: n * n)) == [n * n for n in range(20)]


def test_an_error_comes_after_what_was_made_before_it():
    def make(number: int) -> int:
        if number == 3:
            raise OSError("the disk is gone")
        return number

    made = prefetched(range(9), make)
    assert [next(made) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(made)


def test_closing_it_leaves_no_thread():
    before = threading.active_count()
    made = prefetched(range(1000), lambda n: n)
    next(made)
    made.close()
    assert threading.active_count() == before


def test_a_batch_that_is_on_the_cpu_stays_the_same_object():
    batch = Pair(("a",), torch.ones(1))
    assert moved(batch, torch.device("cpu")) is batch


def test_tensors_of_a_batch_are_moved_and_the_rest_is_kept():
    there = moved(Pair(("a",), torch.ones(1)), torch.device("meta"))
    assert there.names == ("a",)
    assert there.numbers_B.device.type == "meta"
    assert there.maybe_B is None
