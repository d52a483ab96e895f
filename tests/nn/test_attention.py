# SPDX-License-Identifier: Apache-2.0
"""Attention to a bounded past, against a plain sum over frames."""

import math

import pytest
import torch

from evenear.errors import ConfigError
from evenear.nn.attention import CausalAttention
from evenear.nn.state import split_state, stack_states, state_bytes


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def attended_by_hand(attention: CausalAttention, x_BTD: torch.Tensor) -> torch.Tensor:
    """Every frame and head on its own; pairs of channels turned as complex numbers, in float64."""
    width = attention.dim // attention.num_heads
    half = width // 2
    rows = []
    projected_BTD = attention.project_in(x_BTD).double()
    for q_TD, k_TD, v_TD in zip(*projected_BTD.chunk(3, dim=2), strict=True):
        frames = []
        for t in range(len(q_TD)):
            heads = []
            for head in range(attention.num_heads):
                own = slice(head * width, (head + 1) * width)
                query = torch.complex(q_TD[t, own][:half], q_TD[t, own][half:])
                scores, values = [], []
                for s in range(max(0, t - attention.left_frames), t + 1):
                    key = torch.complex(k_TD[s, own][:half], k_TD[s, own][half:])
                    angle = (t - s) * 10_000.0 ** (-torch.arange(half).double() / half)
                    turned = query * torch.polar(torch.ones_like(angle), angle)
                    scores.append((turned * key.conj()).real.sum() / math.sqrt(width))
                    values.append(v_TD[s, own])
                weights = torch.stack(scores).softmax(dim=0)
                heads.append((weights[:, None] * torch.stack(values)).sum(dim=0))
            frames.append(torch.cat(heads))
        rows.append(torch.stack(frames))
    return attention.project_out(torch.stack(rows).float())


@pytest.mark.parametrize("left_frames", [1, 3, 50])
def test_a_frame_attends_to_itself_and_the_frames_before_it(left_frames):
    attention = CausalAttention(12, 2, left_frames)
    x_BTD = torch.randn(2, 9, 12)
    found_BTD, _ = attention.step(x_BTD, attention.initial_state(2))
    torch.testing.assert_close(found_BTD, attended_by_hand(attention, x_BTD), atol=1e-5, rtol=1e-5)


def test_what_is_further_back_than_the_window_is_forgotten():
    attention = CausalAttention(8, 1, 4)
    x_BTD = torch.randn(1, 12, 8)
    other_BTD = x_BTD.clone()
    other_BTD[:, :7] += 1.0
    first_BTD, _ = attention.step(x_BTD, attention.initial_state(1))
    second_BTD, _ = attention.step(other_BTD, attention.initial_state(1))
    torch.testing.assert_close(first_BTD[:, 11], second_BTD[:, 11])
    assert (first_BTD[:, 10] - second_BTD[:, 10]).abs().max() > 1e-3


def test_a_stream_that_began_later_does_not_hear_the_others_past():
    attention = CausalAttention(8, 2, 6)
    x_BTD = torch.randn(2, 10, 8)
    _, early = attention.step(x_BTD[:1, :5], attention.initial_state(1))
    late = attention.initial_state(1)
    together_BTD, state = attention.step(x_BTD[:, 5:], stack_states([early, late]))
    for b, own in enumerate((early, late)):
        alone_BTD, after = attention.step(x_BTD[b : b + 1, 5:], own)
        torch.testing.assert_close(together_BTD[b : b + 1], alone_BTD)
        torch.testing.assert_close(split_state(state, 2)[b], after)


def test_the_place_in_a_stream_does_not_matter_once_the_window_is_full():
    attention = CausalAttention(8, 2, 3)
    x_BTD = torch.randn(1, 4, 8)
    first_BTD, _ = attention.step(x_BTD, attention.initial_state(1))
    _, state = attention.step(torch.randn(1, 200, 8), attention.initial_state(1))
    later_BTD, _ = attention.step(x_BTD, state)
    torch.testing.assert_close(first_BTD[:, 3], later_BTD[:, 3])


def test_the_state_never_grows():
    attention = CausalAttention(8, 2, 5)
    state = attention.initial_state(2)
    size = state_bytes(state)
    for num_frames in (1, 3, 20):
        _, state = attention.step(torch.randn(2, num_frames, 8), state)
        assert state_bytes(state) == size
    assert state.count_B.tolist() == [5, 5]


def test_heads_of_odd_width_are_refused():
    with pytest.raises(ConfigError, match="multiple of 8"):
        CausalAttention(12, 4, 5)
