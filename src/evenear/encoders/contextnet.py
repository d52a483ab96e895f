# SPDX-License-Identifier: Apache-2.0
"""The causal ContextNet: blocks of depthwise-separable convolutions, each gated by its past.

A block is some layers of convolution, batch normalization and Swish, then squeeze-and-excite, whose
squeeze is the mean over the frames heard so far, and a residual connection:

    y = Swish(gate(layers(x)) + BN(P x)),    P a pointwise convolution

The first and the last block have one layer and no residual connection.

Legend: B streams, T frames, F feature width, D width, P frames of the past that a convolution
still needs.

Source: Han et al. 2020, ContextNet, arXiv:2005.03191, sections 2.2 and 3.2; its causal form with
all strides 1 is a baseline of Radfar et al. 2022, arXiv:2209.14868, section 3.2 (23 blocks of 5
layers, 256 channels in the first 15 and 512 in the last 8).
Our reading: the squeeze is a running mean, or it would not stream; a squeeze-and-excite bottleneck
without reduction, which fits the 28 M parameters of the paper (a reduction of 8 gives 22 M).
Departs from the paper on request: frames are joined by `reduction` before the first block.
"""

from typing import Literal, NamedTuple

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from evenear.config import config
from evenear.encoders.reduced import ReducedEncoder
from evenear.nn.batchnorm import MaskedBatchNorm
from evenear.nn.conv import CausalConv1d, RunningMeanState, RunningSqueezeExcite
from evenear.nn.dropout import SharedDropout

__all__ = ["ContextBlockState", "ContextNetConfig", "ContextNetEncoder"]


@config
class ContextNetConfig:
    """A causal ContextNet. The defaults are the paper's sizes."""

    kind: Literal["contextnet"] = "contextnet"
    feature_dim: int = Field(default=192, ge=1)
    channels: tuple[int, ...] = Field(default=(256,) * 15 + (512,) * 8, min_length=1)
    """Width of each block."""
    layers_per_block: int = Field(default=5, ge=1)
    """Convolutions of a block; the first and the last block have one."""
    kernel: int = Field(default=5, ge=1)
    squeeze_excite: Literal["running-mean", "off"] = "running-mean"
    se_reduction: int = Field(default=1, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    reduction: int = Field(default=1, ge=1)
    """Feature frames joined into one before the first block."""

    def build(self) -> "ContextNetEncoder":
        """The encoder, with fresh weights."""
        return ContextNetEncoder(self)


class ContextBlockState(NamedTuple):
    """State of a block: the past of each convolution, and that of its mean if it has one."""

    pasts: tuple[Tensor, ...]
    mean: RunningMeanState | tuple[()]


class _Block(nn.Module):
    """Convolutions, a gate, a residual connection."""

    def __init__(
        self, config: ContextNetConfig, in_dim: int, dim: int, *, num_layers: int, residual: bool
    ) -> None:
        super().__init__()
        widths = [in_dim] + [dim] * (num_layers - 1)
        self.convs = nn.ModuleList(
            CausalConv1d(width, dim, config.kernel, separable=True) for width in widths
        )
        self.norms = nn.ModuleList(MaskedBatchNorm(dim) for _ in widths)
        gated = config.squeeze_excite == "running-mean"
        self.gate = RunningSqueezeExcite(dim, config.se_reduction) if gated else None
        self.skip = nn.Linear(in_dim, dim) if residual else None
        self.skip_norm = MaskedBatchNorm(dim) if residual else None
        self.dropout = SharedDropout(config.dropout)

    def initial_state(self, batch_size: int) -> ContextBlockState:
        return ContextBlockState(
            tuple(conv.initial_state(batch_size) for conv, _ in self._layers()),
            self.gate.initial_state(batch_size) if self.gate else (),
        )

    def step(
        self, x_BTD: Tensor, state: ContextBlockState, valid_BT: Tensor | None
    ) -> tuple[Tensor, ContextBlockState]:
        y_BTD, pasts = x_BTD, []
        for (conv, norm), past in zip(self._layers(), state.pasts, strict=True):
            y_BTD, past = conv.step(y_BTD, past)
            y_BTD = F.silu(norm(y_BTD, valid_BT))
            pasts.append(past)
        mean = state.mean
        if self.gate is not None and isinstance(mean, RunningMeanState):
            y_BTD, mean = self.gate.step(y_BTD, mean)
        y_BTD = self.dropout(y_BTD)
        if self.skip is not None and self.skip_norm is not None:
            y_BTD = F.silu(y_BTD + self.skip_norm(self.skip(x_BTD), valid_BT))
        return y_BTD, ContextBlockState(tuple(pasts), mean)

    def _layers(self) -> list[tuple[CausalConv1d, MaskedBatchNorm]]:
        return list(zip(self.convs, self.norms, strict=True))  # pyright: ignore[reportReturnType]


class ContextNetEncoder(ReducedEncoder):
    """Blocks of causal separable convolutions."""

    at_once = True

    def __init__(self, config: ContextNetConfig) -> None:
        super().__init__(config.feature_dim, config.channels[-1], config.reduction)
        self.config = config
        blocks, width = [], config.feature_dim * config.reduction
        for index, dim in enumerate(config.channels):
            inner = 0 < index < len(config.channels) - 1
            num_layers = config.layers_per_block if inner else 1
            blocks.append(_Block(config, width, dim, num_layers=num_layers, residual=inner))
            width = dim
        self.blocks = nn.ModuleList(blocks)

    def initial_core(self, batch_size: int) -> tuple[ContextBlockState, ...]:
        """The state of each block."""
        return tuple(block.initial_state(batch_size) for block in self._blocks())

    def core(
        self, groups_BTF: Tensor, state: tuple[ContextBlockState, ...], valid_BT: Tensor | None
    ) -> tuple[Tensor, tuple[ContextBlockState, ...]]:
        """The blocks; in training they take statistics over the real groups."""
        x_BTD, after = groups_BTF, []
        for block, before in zip(self._blocks(), state, strict=True):
            x_BTD, own = block.step(x_BTD, before, valid_BT)
            after.append(own)
        return x_BTD, tuple(after)

    def _blocks(self) -> list[_Block]:
        return list(self.blocks)  # pyright: ignore[reportReturnType]
