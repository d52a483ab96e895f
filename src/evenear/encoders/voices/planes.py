# SPDX-License-Identifier: Apache-2.0
"""Convolutions over time and frequency that stride over both, causal in time.

Features come stacked: an input frame holds `stack` log-mel frames, one after another. They are
parted again here, so a chunk always has a multiple of `stack` of them, and strides over time that
multiply to at most `stack` meet every chunk at the same phase. Nothing then depends on how a stream
was cut.

Legend: B streams, T frames, M mel bins, F feature width (M times the stack), C planes, P frames of
the past that a convolution still needs.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["PlaneConv", "ResidualPlanes", "ResidualPlanesState", "unstack"]


def unstack(features_BTF: Tensor, stack: int) -> Tensor:
    """Stacked features as one plane of log-mel frames, (B, 1, T * stack, M)."""
    size, frames, width = features_BTF.shape
    return features_BTF.reshape(size, 1, frames * stack, width // stack)


class PlaneConv(nn.Module):
    """A 3 x 3 convolution with batch normalization.

        y[k] = sum over taps i = 0, 1, 2 of weight[i] * x[k * stride - 2 + stride - 1 + i]

    So the last tap meets the newest of the `stride` frames that make an output frame.

    Args:
        in_planes: Input planes.
        out_planes: Output planes.
        in_bins: Frequency bins of the input.
        time_stride: Input frames for each output frame, at most 3.
        frequency_stride: Step along frequency.
    """

    KERNEL = 3

    def __init__(
        self,
        in_planes: int,
        out_planes: int,
        in_bins: int,
        *,
        time_stride: int = 1,
        frequency_stride: int = 1,
    ) -> None:
        super().__init__()
        self.in_planes, self.out_planes, self.in_bins = in_planes, out_planes, in_bins
        self.time_stride = time_stride
        self.past_frames = self.KERNEL - time_stride
        self.out_bins = (in_bins + 2 - self.KERNEL) // frequency_stride + 1
        stride = (time_stride, frequency_stride)
        self.conv = nn.Conv2d(
            in_planes, out_planes, self.KERNEL, stride=stride, padding=(0, 1), bias=False
        )
        self.norm = nn.BatchNorm2d(out_planes)

    def initial_state(self, batch_size: int) -> Tensor:
        """Zeros before the stream, (B, C, P, M)."""
        shape = (batch_size, self.in_planes, self.past_frames, self.in_bins)
        return self.conv.weight.new_zeros(shape)

    def step(self, x_BCTM: Tensor, past_BCPM: Tensor) -> tuple[Tensor, Tensor]:
        """Convolve a chunk of a multiple of `time_stride` frames; return it and the next past."""
        joined_BCTM = torch.cat([past_BCPM, x_BCTM], dim=2)
        next_past_BCPM = joined_BCTM[:, :, joined_BCTM.shape[2] - self.past_frames :]
        if x_BCTM.shape[2] == 0:
            shape = (len(x_BCTM), self.out_planes, 0, self.out_bins)
            return x_BCTM.new_zeros(shape), next_past_BCPM
        return self.norm(self.conv(joined_BCTM)), next_past_BCPM


class ResidualPlanesState(NamedTuple):
    """The pasts of both convolutions of a block."""

    first_BCPM: Tensor
    second_BCPM: Tensor


class ResidualPlanes(nn.Module):
    """Two convolutions around which the input goes as it is, or mixed where the shape changes.

    Source: He et al. 2016, arXiv:1512.03385, the basic block. Departs from the paper: causal in
    time; the newest of the frames that are strided over goes around.
    """

    def __init__(
        self,
        in_planes: int,
        out_planes: int,
        in_bins: int,
        *,
        time_stride: int = 1,
        frequency_stride: int = 1,
    ) -> None:
        super().__init__()
        self.time_stride, self.frequency_stride = time_stride, frequency_stride
        self.first = PlaneConv(
            in_planes,
            out_planes,
            in_bins,
            time_stride=time_stride,
            frequency_stride=frequency_stride,
        )
        self.out_bins = self.first.out_bins
        self.second = PlaneConv(out_planes, out_planes, self.out_bins)
        keeps_shape = in_planes == out_planes and time_stride == frequency_stride == 1
        mixing = (nn.Conv2d(in_planes, out_planes, 1, bias=False), nn.BatchNorm2d(out_planes))
        self.around = nn.Identity() if keeps_shape else nn.Sequential(*mixing)

    def initial_state(self, batch_size: int) -> ResidualPlanesState:
        """Zeros before the stream."""
        return ResidualPlanesState(
            self.first.initial_state(batch_size), self.second.initial_state(batch_size)
        )

    def step(
        self, x_BCTM: Tensor, state: ResidualPlanesState
    ) -> tuple[Tensor, ResidualPlanesState]:
        """Convolve a chunk of a multiple of `time_stride` frames."""
        y_BCTM, first_BCPM = self.first.step(x_BCTM, state.first_BCPM)
        y_BCTM, second_BCPM = self.second.step(functional.relu(y_BCTM), state.second_BCPM)
        next_state = ResidualPlanesState(first_BCPM, second_BCPM)
        if x_BCTM.shape[2] == 0:
            return y_BCTM, next_state
        newest_BCTM = x_BCTM[:, :, self.time_stride - 1 :: self.time_stride]
        around_BCTM = self.around(newest_BCTM[..., :: self.frequency_stride])
        return functional.relu(y_BCTM + around_BCTM), next_state
