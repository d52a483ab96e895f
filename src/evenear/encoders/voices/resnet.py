# SPDX-License-Identifier: Apache-2.0
"""A residual network over time and frequency: what most published speaker verifiers listen with.

Four groups of residual blocks; the second and later ones halve frequency and, as far as the stack
of the features allows, time. With planes (32, 64, 128, 256) and (3, 4, 6, 3) blocks it is the
network of half width that reaches an EER of about 1.2 % on VoxCeleb1 (8.0 M parameters with pooling
and embedding), without its squeeze-and-excitation, which hears the whole utterance at once.

Legend: B streams, T frames, M mel bins, F feature width (M times the stack), C planes, D width,
P frames of the past that a convolution still needs.

Source: Heo et al. 2020, arXiv:2009.14153 (the half-width ResNet-34); Chung et al. 2020,
arXiv:2003.11982. Departs from the paper: causal in time, so that a stream hears what a file does.
"""

from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from evenear.config import config
from evenear.encoders.base import Encoder
from evenear.encoders.voices.planes import PlaneConv, ResidualPlanes, ResidualPlanesState, unstack
from evenear.errors import ConfigError

__all__ = ["ResNet", "ResNetConfig", "ResNetState"]


@config
class ResNetConfig:
    """A residual network over stacked log-mel frames."""

    kind: Literal["resnet"] = "resnet"
    feature_dim: int = Field(default=512, ge=1)
    stack: int = Field(default=8, ge=1)
    """Log-mel frames in a feature frame; a power of two: the strides over time multiply to it."""
    planes: tuple[int, ...] = Field(default=(32, 64, 128, 256), min_length=1)
    blocks: tuple[int, ...] = (3, 4, 6, 3)

    def __post_init__(self) -> None:
        halvings = self.stack.bit_length() - 1
        if len(self.blocks) != len(self.planes) or min(self.blocks) < 1:
            raise ConfigError(
                f"Each of {len(self.planes)} groups needs its blocks, got {self.blocks}."
            )
        if self.stack != 1 << halvings or halvings > len(self.planes) - 1:
            raise ConfigError(
                f"The strides over time of {len(self.planes)} groups multiply to a power of two up "
                f"to {1 << (len(self.planes) - 1)}, got a stack of {self.stack}."
            )
        if self.feature_dim % self.stack:
            raise ConfigError(
                f"Features of {self.stack} stacked frames cannot be {self.feature_dim} wide."
            )


class ResNetState(NamedTuple):
    """What the convolutions still need of the past."""

    stem_BCPM: Tensor
    blocks: tuple[ResidualPlanesState, ...]


class ResNet(Encoder):
    """Residual blocks; a frame out for each stacked frame in."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config, self.feature_dim = config, config.feature_dim
        bins = config.feature_dim // config.stack
        self.stem = PlaneConv(1, config.planes[0], bins)
        blocks: list[ResidualPlanes] = []
        in_planes, halvings = config.planes[0], config.stack.bit_length() - 1
        for group, (planes, count) in enumerate(zip(config.planes, config.blocks, strict=True)):
            for block in range(count):
                opens = group > 0 and block == 0
                blocks.append(
                    ResidualPlanes(
                        in_planes,
                        planes,
                        bins,
                        time_stride=2 if opens and group <= halvings else 1,
                        frequency_stride=2 if opens else 1,
                    )
                )
                in_planes, bins = planes, blocks[-1].out_bins
        self.blocks = nn.ModuleList(blocks)
        self.dim = in_planes * bins

    def initial_state(self, batch_size: int) -> ResNetState:
        """Zeros before the stream."""
        return ResNetState(
            self.stem.initial_state(batch_size),
            tuple(block.initial_state(batch_size) for block in self._blocks()),
        )

    def step(self, features_BTF: Tensor, state: ResNetState) -> tuple[Tensor, ResNetState]:
        """Encode a chunk of any length."""
        x_BCTM, stem_BCPM = self.stem.step(
            unstack(features_BTF, self.config.stack), state.stem_BCPM
        )
        x_BCTM = functional.relu(x_BCTM)
        states = []
        for block, past in zip(self._blocks(), state.blocks, strict=True):
            x_BCTM, past = block.step(x_BCTM, past)
            states.append(past)
        return x_BCTM.transpose(1, 2).flatten(2), ResNetState(stem_BCPM, tuple(states))

    def flush(self, state: ResNetState) -> Tensor:
        """Nothing: every frame is out as soon as it is in."""
        return torch.zeros(len(state.stem_BCPM), 0, self.dim, device=state.stem_BCPM.device)

    def output_lengths(self, lengths_B: Tensor) -> Tensor:
        """A frame for each stacked frame."""
        return lengths_B

    def _blocks(self) -> list[ResidualPlanes]:
        return [block for block in self.blocks if isinstance(block, ResidualPlanes)]
