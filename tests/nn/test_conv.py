# SPDX-License-Identifier: Apache-2.0
"""Causal convolutions, masked normalization and the running mean, against plain sums."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from evenear.nn.conv import CausalConv1d, CausalConv2d, RunningSqueezeExcite
from evenear.seeding import torch_rng_for
from laws import chunkings

laws = settings(deadline=None, max_examples=25, derandomize=True)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch_rng_for(seed, "conv test", shape))


def in_chunks(block: nn.Module, x_BT: Tensor, chunks: list[int]) -> Tensor:
    state, parts = block.initial_state(len(x_BT)), []
    for chunk_BT in x_BT.split(chunks, dim=1):
        y_BT, state = block.step(chunk_BT, state)
        parts.append(y_BT)
    return torch.cat(parts, dim=1)


@torch.no_grad()
@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_conv1d_is_the_sum_over_the_past(dilation):
    conv = CausalConv1d(3, 2, 3, dilation)
    x_BTD = randn(1, 12, 3)
    y_BTD, _ = conv.step(x_BTD, conv.initial_state(1))
    weight, bias = conv.conv.weight, conv.conv.bias
    for t in range(12):
        expected = bias.clone()
        for k in range(3):
            source = t - (2 - k) * dilation
            if source >= 0:
                expected += weight[:, :, k] @ x_BTD[0, source]
        torch.testing.assert_close(y_BTD[0, t], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_conv2d_is_causal_in_time_and_centered_in_frequency():
    conv = CausalConv2d(1, 1, kernel=3, stride=1, in_bins=5)
    conv.conv.weight.fill_(1.0)
    conv.conv.bias.zero_()
    x_BTCF = torch.zeros(1, 6, 1, 5)
    x_BTCF[0, 2, 0, 2] = 1.0
    y_BTCF, _ = conv.step(x_BTCF, conv.initial_state(1))
    touched = y_BTCF[0, :, 0].nonzero().tolist()
    assert touched == [[t, f] for t in (2, 3, 4) for f in (1, 2, 3)]


@torch.no_grad()
@pytest.mark.parametrize("separable", [False, True])
@laws
@given(data=st.data(), num_frames=st.integers(1, 20))
def test_convolutions_do_not_feel_chunks(separable, data, num_frames):
    chunks = data.draw(chunkings(num_frames))
    flat = CausalConv1d(3, 4, 3, 2, separable=separable)
    tall = CausalConv2d(2, 4, kernel=3, stride=2, in_bins=6, separable=separable)
    for block, x in ((flat, randn(2, num_frames, 3)), (tall, randn(2, num_frames, 2, 6))):
        whole, _ = block.step(x, block.initial_state(2))
        torch.testing.assert_close(in_chunks(block, x, chunks), whole, atol=1e-5, rtol=1e-5)
        assert whole.shape[1] == num_frames
    assert flat.out_dim == 4
    assert whole.shape[2:] == (4, tall.out_bins)


def test_separable_convolutions_have_fewer_weights():
    dense, separable = (CausalConv1d(64, 64, 3, separable=s) for s in (False, True))
    assert sum(p.numel() for p in separable.parameters()) < 0.5 * sum(
        p.numel() for p in dense.parameters()
    )


@torch.no_grad()
def test_the_gate_is_that_of_the_mean_over_the_past_and_the_present():
    gate = RunningSqueezeExcite(4, reduction=2)
    z_BTD = randn(2, 9, 4)
    y_BTD, state = gate.step(z_BTD, gate.initial_state(2))
    for t in range(9):
        mean_BD = z_BTD[:, : t + 1].mean(dim=1)
        squeezed = torch.relu(gate.squeeze(mean_BD))
        expected_BD = z_BTD[:, t] * torch.sigmoid(gate.excite(squeezed))
        torch.testing.assert_close(y_BTD[:, t], expected_BD, atol=1e-6, rtol=1e-5)
    assert state.count_B.tolist() == [9, 9]


@torch.no_grad()
def test_the_running_mean_stays_exact_over_a_long_stream():
    """A million frames in float32 sums would drift by per cents; the state is float64."""
    gate = RunningSqueezeExcite(1)
    state = gate.initial_state(1)
    chunk_BTD = torch.full((1, 50_000, 1), 0.1)
    for _ in range(20):
        _, state = gate.step(chunk_BTD, state)
    assert (state.sum_BD / state.count_B).item() == pytest.approx(0.1, rel=1e-6)


@torch.no_grad()
def test_the_gate_of_whole_utterances_is_that_of_their_last_frame():
    """At its end an utterance's running mean is its mean."""
    with torch.random.fork_rng():
        torch.manual_seed(0)  # under some weights the bottleneck of two units is shut
        gate = RunningSqueezeExcite(4, 2)
    z_BTD = randn(2, 9, 4)
    valid_BT = torch.arange(9) < torch.tensor([9, 6])[:, None]
    whole_BTD = gate.over_utterance(z_BTD, valid_BT)
    running_BTD, _ = gate.step(z_BTD, gate.initial_state(2))
    for b, last in ((0, 8), (1, 5)):
        torch.testing.assert_close(whole_BTD[b, last], running_BTD[b, last])
    assert (whole_BTD[:, 0] - running_BTD[:, 0]).abs().max() > 1e-3


@pytest.mark.parametrize("chunks", [[2], [1, 1]])
def test_a_running_mean_still_learns_after_hours(chunks):
    """In float32, 2 ** 24 frames of one would be the last that count."""
    gate = RunningSqueezeExcite(1)
    state = gate.initial_state(1)
    z_BTD = torch.tensor([[[2.0**24], [1.0]]])
    for chunk_BTD in z_BTD.split(chunks, dim=1):
        _, state = gate.step(chunk_BTD, state)
    assert state.sum_BD.dtype == state.count_B.dtype == torch.float64
    assert state.sum_BD.item() == 2**24 + 1
