# SPDX-License-Identifier: Apache-2.0
"""LSTM layers against an LSTM written out, and frame reduction."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evenear.errors import StateError
from evenear.nn.recurrent import FrameReducer, LstmStack, LstmStackConfig
from evenear.nn.state import stack_states
from laws import chunkings


def written_out(stack: LstmStack, x_TD: Tensor) -> Tensor:
    """The recurrence gate by gate, frame by frame, in float64."""
    x_TD = x_TD.double()
    for lstm, projection in zip(stack.lstms, stack.projections, strict=True):
        w_ih, w_hh = lstm.weight_ih_l0.double(), lstm.weight_hh_l0.double()
        bias = lstm.bias_ih_l0.double() + lstm.bias_hh_l0.double()
        hidden = cell = torch.zeros(w_hh.shape[1], dtype=torch.float64)
        rows = []
        for x_D in x_TD:
            enter, forget, new, leave = (w_ih @ x_D + w_hh @ hidden + bias).chunk(4)
            cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
            hidden = leave.sigmoid() * cell.tanh()
            y_D = projection.weight.double() @ hidden + projection.bias.double()
            rows.append(y_D * y_D.sigmoid())
        x_TD = torch.stack(rows)
    return x_TD


@pytest.mark.parametrize("num_frames", [1, 7, 30])
@pytest.mark.parametrize("is_training", [False, True])
def test_layers_match_the_recurrence_written_out(num_frames, is_training):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stack = LstmStack(LstmStackConfig(num_layers=2, hidden_dim=5, dim=4), input_dim=3).eval()
        x_BTD = torch.randn(1, num_frames, 3)
    with torch.set_grad_enabled(is_training):  # few frames without a gradient go another way
        y_BTD, _ = stack.step(x_BTD, stack.initial_state(1))
    torch.testing.assert_close(y_BTD[0].double(), written_out(stack, x_BTD[0]), atol=1e-6, rtol=0)


def test_the_forget_gate_starts_open():
    stack = LstmStack(LstmStackConfig(num_layers=1, hidden_dim=5, dim=4), input_dim=3)
    assert stack.lstms[0].bias_ih_l0.chunk(4)[1].tolist() == [1.0] * 5


@torch.no_grad()
def test_the_state_is_float32_even_when_the_frames_are_not():
    stack = LstmStack(LstmStackConfig(num_layers=2, hidden_dim=8, dim=8), input_dim=8).eval()
    stack = stack.to(torch.bfloat16)
    y_BTD, state = stack.step(torch.zeros(2, 3, 8, dtype=torch.bfloat16), stack.initial_state(2))
    assert y_BTD.dtype == torch.bfloat16
    assert {t.dtype for t in state} == {torch.float32}
    assert state.hidden_BLH.shape == (2, 2, 8)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(data=st.data(), factor=st.integers(1, 4), num_frames=st.integers(0, 13))
def test_groups_hold_every_frame_once_and_in_order(data, factor, num_frames):
    frames_BTD = torch.arange(1.0, num_frames + 1)[None, :, None].expand(2, -1, 1)
    reducer = FrameReducer(factor, 1)
    state, parts = reducer.initial_state(2), []
    for chunk_BTD in frames_BTD.split(data.draw(chunkings(num_frames)), dim=1):
        groups_BTD, state = reducer.step(chunk_BTD, state)
        parts.append(groups_BTD)
    groups_BTD = torch.cat([*parts, reducer.flush(state)], dim=1)
    heard = groups_BTD[1].flatten().tolist()
    assert heard[:num_frames] == list(range(1, num_frames + 1))
    assert set(heard[num_frames:]) <= {0.0}
    assert groups_BTD.shape[1] == reducer.output_lengths(torch.tensor(num_frames)).item()


def test_streams_at_different_phases_are_refused():
    reducer = FrameReducer(2, 3)
    fresh = reducer.initial_state(1)
    _, waiting = reducer.step(torch.zeros(1, 1, 3), fresh)
    with pytest.raises(StateError, match=r"one phase of 2 frames, got \[0, 1\]"):
        reducer.step(torch.zeros(2, 2, 3), stack_states([fresh, waiting]))
