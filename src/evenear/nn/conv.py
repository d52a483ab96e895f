# SPDX-License-Identifier: Apache-2.0
"""Convolutions that hear only the past, and squeeze-and-excite that averages only the past.

Each block maps a chunk and its state to an output chunk of the same length and the next state. The
state of a convolution is the tail of its input; that of squeeze-and-excite is a running sum.

Legend: B streams, T frames, F frequency bins, D width, C planes (channels of a 2-D convolution),
P frames of the past that a convolution still needs, K taps.

Source: Radfar et al. 2022, ConvRNN-T, arXiv:2209.14868, sections 2.1 and 2.2.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from evenear.nn.depthwise import depthwise_conv

__all__ = [
    "CausalConv1d",
    "CausalConv2d",
    "RunningMeanState",
    "RunningSqueezeExcite",
]


class CausalConv1d(nn.Module):
    """A 1-D convolution whose output at frame t depends on frames up to t.

    Args:
        in_dim: Input width.
        out_dim: Output width.
        kernel: Taps.
        dilation: Frames between two taps.
        separable: Depthwise taps followed by a pointwise mixing, instead of a dense convolution.
    """

    def __init__(
        self, in_dim: int, out_dim: int, kernel: int, dilation: int = 1, *, separable: bool = False
    ) -> None:
        super().__init__()
        self.in_dim, self.separable = in_dim, separable
        self.past_frames = (kernel - 1) * dilation
        groups = in_dim if separable else 1
        self.conv = nn.Conv1d(
            in_dim, in_dim if separable else out_dim, kernel, dilation=dilation, groups=groups
        )
        self.mix = nn.Linear(in_dim, out_dim) if separable else nn.Identity()

    def initial_state(self, batch_size: int) -> Tensor:
        """Silence before the stream: zeros of shape (B, P, D)."""
        return self.conv.weight.new_zeros(batch_size, self.past_frames, self.in_dim)

    def step(self, x_BTD: Tensor, past_BPD: Tensor) -> tuple[Tensor, Tensor]:
        """Convolve a chunk of any length; return as many frames, and the next past."""
        joined_BTD = torch.cat([past_BPD.to(x_BTD.dtype), x_BTD], dim=1)
        next_past_BPD = joined_BTD[:, joined_BTD.shape[1] - self.past_frames :]
        if x_BTD.shape[1] == 0:
            return x_BTD.new_zeros(x_BTD.shape[0], 0, self.out_dim), next_past_BPD
        if self.separable:
            taps_DK, bias_D = self.conv.weight[:, 0], self.conv.bias
            assert bias_D is not None
            y_BTD = depthwise_conv(joined_BTD, taps_DK, bias_D, self.conv.dilation[0])
        else:
            y_BTD = self.conv(joined_BTD.transpose(1, 2)).transpose(1, 2)
        return self.mix(y_BTD), next_past_BPD

    @property
    def macs_per_frame(self) -> int:
        """Multiply-accumulates of depthwise taps; a dense convolution is a layer of torch's."""
        return self.in_dim * self.conv.kernel_size[0] if self.separable else 0

    @property
    def sees_each_frame(self) -> nn.Module:
        """The layer through which each frame goes once."""
        return self.mix

    @property
    def out_dim(self) -> int:
        """Output width."""
        mix = self.mix
        return mix.out_features if isinstance(mix, nn.Linear) else self.conv.out_channels


class CausalConv2d(nn.Module):
    """A 2-D convolution over time and frequency: causal in time, centered in frequency.

    Args:
        in_planes: Input planes.
        out_planes: Output planes.
        kernel: Taps along time and along frequency (odd).
        stride: Step along frequency; time is never strided.
        in_bins: Frequency bins of the input.
        separable: Depthwise taps followed by a pointwise mixing.
    """

    def __init__(
        self,
        in_planes: int,
        out_planes: int,
        *,
        kernel: int,
        stride: int,
        in_bins: int,
        separable: bool = False,
    ) -> None:
        super().__init__()
        self.in_planes = in_planes
        self.out_planes = out_planes
        self.in_bins = in_bins
        self.past_frames = kernel - 1
        pad = (kernel - 1) // 2
        self.out_bins = (in_bins + 2 * pad - kernel) // stride + 1
        groups = in_planes if separable else 1
        self.conv = nn.Conv2d(
            in_planes,
            in_planes if separable else out_planes,
            kernel,
            stride=(1, stride),
            padding=(0, pad),
            groups=groups,
        )
        self.mix = nn.Conv2d(in_planes, out_planes, 1) if separable else nn.Identity()

    def initial_state(self, batch_size: int) -> Tensor:
        """Silence before the stream: zeros of shape (B, P, C, F), time second as everywhere."""
        return self.conv.weight.new_zeros(
            batch_size, self.past_frames, self.in_planes, self.in_bins
        )

    def step(self, x_BTCF: Tensor, past_BPCF: Tensor) -> tuple[Tensor, Tensor]:
        """Convolve a chunk of any length; return as many frames, and the next past."""
        joined_BTCF = torch.cat([past_BPCF.to(x_BTCF.dtype), x_BTCF], dim=1)
        next_past_BPCF = joined_BTCF[:, joined_BTCF.shape[1] - self.past_frames :]
        if x_BTCF.shape[1] == 0:
            empty = x_BTCF.new_zeros(x_BTCF.shape[0], 0, self.out_planes, self.out_bins)
            return empty, next_past_BPCF
        y_BCTF = self.mix(self.conv(joined_BTCF.transpose(1, 2)))
        return y_BCTF.transpose(1, 2), next_past_BPCF


class RunningMeanState(NamedTuple):
    """What a running mean remembers; float64, since a stream may last for hours."""

    sum_BD: Tensor
    count_B: Tensor


class RunningSqueezeExcite(nn.Module):
    """Squeeze-and-excite whose squeeze is the mean over the past and the present only.

        gate_t = sigmoid(W1 relu(W2 (1/t) sum_{k<=t} z_k)),    output_t = z_t * gate_t

    Follows the paper (section 2.2); the bottleneck `reduction` is ours to choose there: its
    parameter count fits a reduction of 1.

    Args:
        dim: Width.
        reduction: Width of the bottleneck is `dim // reduction`.
    """

    def __init__(self, dim: int, reduction: int = 1) -> None:
        super().__init__()
        self.dim = dim
        self.squeeze = nn.Linear(dim, dim // reduction)
        self.excite = nn.Linear(dim // reduction, dim)

    def initial_state(self, batch_size: int) -> RunningMeanState:
        """Nothing heard yet."""
        device = self.squeeze.weight.device
        return RunningMeanState(
            torch.zeros(batch_size, self.dim, dtype=torch.float64, device=device),
            torch.zeros(batch_size, dtype=torch.float64, device=device),
        )

    def step(self, z_BTD: Tensor, state: RunningMeanState) -> tuple[Tensor, RunningMeanState]:
        """Gate a chunk of any length by the mean of all that was heard so far."""
        num_frames = z_BTD.shape[1]
        if num_frames == 0:
            return z_BTD, state
        sums_BTD = state.sum_BD[:, None] + z_BTD.double().cumsum(dim=1)
        steps_T = torch.arange(1, num_frames + 1, dtype=torch.float64, device=z_BTD.device)
        counts_BT = state.count_B[:, None] + steps_T
        mean_BTD = (sums_BTD / counts_BT[:, :, None]).to(z_BTD.dtype)
        return z_BTD * self._gate(mean_BTD), RunningMeanState(sums_BTD[:, -1], counts_BT[:, -1])

    def over_utterance(self, z_BTD: Tensor, valid_BT: Tensor) -> Tensor:
        """Gate by the mean over the real frames of whole utterances: it hears the future.

        Only to show what that does; a stream cannot compute it.
        """
        keep_BT1 = valid_BT[:, :, None].double()
        count_B1 = keep_BT1.sum(dim=1).clamp_min(1.0)
        mean_BD = ((z_BTD.double() * keep_BT1).sum(dim=1) / count_B1).to(z_BTD.dtype)
        return z_BTD * self._gate(mean_BD)[:, None]

    def _gate(self, mean: Tensor) -> Tensor:
        return torch.sigmoid(self.excite(F.relu(self.squeeze(mean))))
