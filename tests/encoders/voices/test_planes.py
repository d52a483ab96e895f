# SPDX-License-Identifier: Apache-2.0
"""Strided convolutions against a plain convolution of the whole utterance.

Dimensions: B streams, C planes, T frames, M mel bins, F feature width.
"""

import pytest
import torch
from torch.nn import functional

from evenear.encoders.voices.planes import PlaneConv, ResidualPlanes, unstack
from evenear.seeding import torch_rng_for
from tiny_voices import settled


def planes(num_frames=12, in_planes=2, bins=7):
    rng = torch_rng_for(0, "planes")
    return torch.randn(2, in_planes, num_frames, bins, generator=rng)


def test_stacked_frames_are_parted_in_their_order():
    frames = torch.arange(24.0).view(1, 6, 4)
    stacked_BTF = frames.reshape(1, 2, 12)
    assert torch.equal(unstack(stacked_BTF, 3)[0, 0], frames[0])


@pytest.mark.parametrize("time_stride", [1, 2, 3])
@torch.no_grad()
def test_a_convolution_is_torchs_own_over_the_padded_utterance(time_stride):
    layer = settled(lambda: PlaneConv(2, 3, 7, time_stride=time_stride, frequency_stride=2))
    found_BCTM, _ = layer.step(planes(), layer.initial_state(2))
    padded = functional.pad(planes(), (1, 1, 3 - time_stride, 0))
    expected = layer.norm(functional.conv2d(padded, layer.conv.weight, stride=(time_stride, 2)))
    torch.testing.assert_close(found_BCTM, expected)
    assert found_BCTM.shape == (2, 3, 12 // time_stride, layer.out_bins)


@torch.no_grad()
def test_a_block_that_keeps_its_shape_adds_its_input():
    block = settled(lambda: ResidualPlanes(2, 2, 7))
    block.second.norm.weight.zero_()
    block.second.norm.bias.zero_()
    found_BCTM, _ = block.step(planes(), block.initial_state(2))
    torch.testing.assert_close(found_BCTM, planes().relu())


@torch.no_grad()
def test_the_newest_frame_goes_around_a_strided_block():
    block = settled(lambda: ResidualPlanes(2, 3, 7, time_stride=2, frequency_stride=2))
    block.second.norm.weight.zero_()
    block.second.norm.bias.zero_()
    found_BCTM, _ = block.step(planes(), block.initial_state(2))
    torch.testing.assert_close(found_BCTM, block.around(planes()[:, :, 1::2, ::2]).relu())
