# SPDX-License-Identifier: Apache-2.0
"""A small network for voices: a few planes over frequency, then dilated convolutions over time.

The planes make it indifferent to small shifts of formants (between children and adults); the
dilated convolutions hear about half a second and are cheap, since all frequencies are one vector by
then. The outputs of all blocks are joined, as what tells speakers apart lies at several depths.

Legend: B streams, T frames, M mel bins, F feature width (M times the stack), C planes, D width,
P frames of the past that a convolution still needs.

Source: Snyder et al. 2018, x-vectors (dilated convolutions); Desplanques et al. 2020,
arXiv:2005.07143 (joined outputs of residual blocks); Thienpondt et al. 2021 (planes before them).
Departs from the papers: causal, and without squeeze-and-excitation, so that a stream hears what a
file does.
"""

from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from evenear.config import config
from evenear.encoders.base import Encoder
from evenear.encoders.voices.planes import PlaneConv, unstack
from evenear.errors import ConfigError

__all__ = ["Tdnn", "TdnnConfig", "TdnnState"]


@config
class TdnnConfig:
    """Planes over frequency, then residual dilated convolutions over time."""

    kind: Literal["tdnn"] = "tdnn"
    feature_dim: int = Field(default=128, ge=1)
    stack: int = Field(default=2, ge=1, le=3)
    """Log-mel frames in a feature frame; the first convolution strides over them."""
    planes: tuple[int, ...] = Field(default=(16, 32, 48), min_length=1)
    """Planes of each convolution over time and frequency; each halves the frequencies."""
    dim: int = Field(default=256, ge=1)
    dilations: tuple[int, ...] = Field(default=(1, 2, 3, 4), min_length=1)
    """One residual block of kernel 3 for each."""

    def __post_init__(self) -> None:
        if self.feature_dim % self.stack:
            raise ConfigError(
                f"Features of {self.stack} stacked frames cannot be {self.feature_dim} wide."
            )


class TdnnState(NamedTuple):
    """What the convolutions still need of the past."""

    planes: tuple[Tensor, ...]
    blocks: tuple[Tensor, ...]


class Tdnn(Encoder):
    """Planes, then residual blocks over time; a frame out for each stacked frame in."""

    def __init__(self, config: TdnnConfig) -> None:
        super().__init__()
        self.config, self.feature_dim = config, config.feature_dim
        planes: list[PlaneConv] = []
        in_planes, bins = 1, config.feature_dim // config.stack
        for number, out_planes in enumerate(config.planes):
            stride = config.stack if number == 0 else 1
            planes.append(
                PlaneConv(in_planes, out_planes, bins, time_stride=stride, frequency_stride=2)
            )
            in_planes, bins = out_planes, planes[-1].out_bins
        self.planes = nn.ModuleList(planes)
        self.enter = _Mix(in_planes * bins, config.dim)
        self.blocks = nn.ModuleList(_Block(config.dim, dilation) for dilation in config.dilations)
        self.dim = config.dim * len(config.dilations)

    def initial_state(self, batch_size: int) -> TdnnState:
        """Zeros before the stream."""
        return TdnnState(
            tuple(layer.initial_state(batch_size) for layer in self._planes()),
            tuple(block.initial_state(batch_size) for block in self._blocks()),
        )

    def step(self, features_BTF: Tensor, state: TdnnState) -> tuple[Tensor, TdnnState]:
        """Encode a chunk of any length."""
        x_BCTM = unstack(features_BTF, self.config.stack)
        planes, blocks = [], []
        for layer, past in zip(self._planes(), state.planes, strict=True):
            x_BCTM, past = layer.step(x_BCTM, past)
            x_BCTM = functional.relu(x_BCTM)
            planes.append(past)
        x_BDT = self.enter(x_BCTM.transpose(2, 3).flatten(1, 2))
        outputs = []
        for block, past in zip(self._blocks(), state.blocks, strict=True):
            x_BDT, past = block.step(x_BDT, past)
            blocks.append(past)
            outputs.append(x_BDT)
        return torch.cat(outputs, dim=1).transpose(1, 2), TdnnState(tuple(planes), tuple(blocks))

    def flush(self, state: TdnnState) -> Tensor:
        """Nothing: every frame is out as soon as it is in."""
        return torch.zeros(len(state.planes[0]), 0, self.dim, device=state.planes[0].device)

    def output_lengths(self, lengths_B: Tensor) -> Tensor:
        """A frame for each stacked frame."""
        return lengths_B

    def _planes(self) -> list[PlaneConv]:
        return [layer for layer in self.planes if isinstance(layer, PlaneConv)]

    def _blocks(self) -> list["_Block"]:
        return [block for block in self.blocks if isinstance(block, _Block)]


class _Mix(nn.Module):
    """A mixing of each frame, rectified and normalized; of no frames as well."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.out_dim = out_dim
        self.conv = nn.Conv1d(in_dim, out_dim, 1)
        self.norm = nn.BatchNorm1d(out_dim)

    def forward(self, x_BDT: Tensor) -> Tensor:
        if x_BDT.shape[2] == 0:
            return x_BDT.new_zeros(len(x_BDT), self.out_dim, 0)
        return self.norm(functional.relu(self.conv(x_BDT)))


class _Block(nn.Module):
    """A dilated convolution and a mixing, around which the input goes as it is."""

    KERNEL = 3

    def __init__(self, dim: int, dilation: int) -> None:
        super().__init__()
        self.dim, self.past_frames = dim, (self.KERNEL - 1) * dilation
        self.conv = nn.Conv1d(dim, dim, self.KERNEL, dilation=dilation)
        self.norm = nn.BatchNorm1d(dim)
        self.mix = _Mix(dim, dim)

    def initial_state(self, batch_size: int) -> Tensor:
        return self.conv.weight.new_zeros(batch_size, self.dim, self.past_frames)

    def step(self, x_BDT: Tensor, past_BDP: Tensor) -> tuple[Tensor, Tensor]:
        joined_BDT = torch.cat([past_BDP, x_BDT], dim=2)
        next_past_BDP = joined_BDT[:, :, joined_BDT.shape[2] - self.past_frames :]
        if x_BDT.shape[2] == 0:
            return x_BDT, next_past_BDP
        y_BDT = self.norm(functional.relu(self.conv(joined_BDT)))
        return x_BDT + self.mix(y_BDT), next_past_BDP
