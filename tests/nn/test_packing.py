# SPDX-License-Identifier: Apache-2.0
"""Cells in a row, without padding: places and sums, against loops.

Legend: B utterances, T frames, U columns, D width, N cells.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.nn.packing import CellLayout, gathered_sums, packed_sums
from evenear.seeding import torch_rng_for

LENGTHS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 4)), min_size=1, max_size=4)


@settings(deadline=None, derandomize=True)
@given(lengths=LENGTHS, dtype=st.sampled_from([torch.int32, torch.int64]))
def test_places_count_frames_and_columns_of_each_utterance(lengths, dtype):
    frames, columns = [t for t, _ in lengths], [u for _, u in lengths]
    layout = CellLayout(frames, columns, torch.device("cpu"))
    expected = [
        (b, t, u)
        for b, (many, wide) in enumerate(lengths)
        for t in range(many)
        for u in range(wide)
    ]
    assert layout.num_cells == len(expected)
    begin_R = (100 * layout.utterance_R + 10 * layout.frame_R).to(dtype)
    found_N = layout.places(begin_R)
    assert found_N.dtype == dtype
    assert found_N.tolist() == [100 * b + 10 * t + u for b, t, u in expected]
    assert layout.spread(begin_R).tolist() == [100 * b + 10 * t for b, t, _ in expected]


@pytest.mark.parametrize("function", [packed_sums, gathered_sums])
@settings(deadline=None, derandomize=True, max_examples=30)
@given(lengths=LENGTHS)
def test_sums_are_those_of_a_loop_and_so_are_gradients(function, lengths):
    frames, columns = [t for t, _ in lengths], [u for _, u in lengths]
    rng = torch_rng_for(0, "packing", len(lengths))
    left_BTD = torch.randn(len(lengths), max(frames), 3, generator=rng, dtype=torch.float64)
    right_BUD = torch.randn(len(lengths), max(columns), 3, generator=rng, dtype=torch.float64)
    left_BTD.requires_grad_()
    right_BUD.requires_grad_()
    sums_ND = function(left_BTD, right_BUD, frames, columns)
    expected_ND = torch.stack(
        [
            left_BTD[b, t] + right_BUD[b, u]
            for b, (many, wide) in enumerate(lengths)
            for t in range(many)
            for u in range(wide)
        ]
    )
    assert torch.equal(sums_ND, expected_ND)
    weights_ND = torch.randn(sums_ND.shape, generator=rng, dtype=torch.float64)
    found = torch.autograd.grad((sums_ND * weights_ND).sum(), (left_BTD, right_BUD))
    expected = torch.autograd.grad((expected_ND * weights_ND).sum(), (left_BTD, right_BUD))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-13)


def test_zeros_follow_where_they_are_asked_for():
    ones_BTD, ones_BUD = torch.ones(1, 2, 3), torch.ones(1, 2, 3)
    sums_ND = packed_sums(ones_BTD, ones_BUD, [2], [1], padding=2)
    assert sums_ND.tolist() == [[2.0] * 3] * 2 + [[0.0] * 3] * 2
