# SPDX-License-Identifier: Apache-2.0
"""ConvRNN-T's encoder: a local 2-D CNN, a global dilated CNN that averages its past, then LSTMs.

    features ── local CNN ──┬── global CNN ──┐
                            └────────────────┴── concatenate ── linear ── (reduce) ── LSTMs

Every convolution is causal, and the squeeze-and-excite gate of the global CNN is a running mean
over the frames heard so far, so the encoder streams without look-ahead.

Legend: B streams, T frames, F feature width, D encoder width, C planes of the 2-D convolutions,
P frames of the past that a convolution still needs.

Source: Radfar et al. 2022, ConvRNN-T, arXiv:2209.14868, section 2, tables 3 to 5.
Our reading, from the paper's parameter counts: the dilated "depth-wise" convolution is dense from
2D to D and the squeeze-and-excite bottleneck has reduction 1 (`separable` gives what the prose
says); dilations are 2**0 … 2**5; the local CNN ends in a projection back to the feature width.
Departs from the paper on request: `planes` reads stacked frames as planes of one image, frequency
strides and `reduction` save computation.
"""

from typing import Literal, NamedTuple

import torch
from pydantic import AliasChoices, Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from evenear.config import config
from evenear.encoders.reduced import ReducedEncoder
from evenear.errors import ConfigError
from evenear.nn.batchnorm import MaskedBatchNorm
from evenear.nn.conv import (
    CausalConv1d,
    CausalConv2d,
    RunningMeanState,
    RunningSqueezeExcite,
)
from evenear.nn.recurrent import LstmStack, LstmStackConfig, LstmState

__all__ = [
    "ConvRnnConfig",
    "ConvRnnEncoder",
    "ConvRnnState",
    "GlobalBlockState",
    "GlobalCnnConfig",
    "LocalCnnConfig",
]


@config
class LocalCnnConfig:
    """The local 2-D CNN: what happens within half a second."""

    channels: tuple[int, ...] = (100, 100, 64, 64)
    kernel: int = Field(default=5, ge=1)
    frequency_strides: tuple[int, ...] = (1, 1, 1, 1)
    planes: int = Field(default=1, ge=1)
    """Stacked frames read as planes of one image; 1 reads them as one tall column (the paper)."""
    separable: bool = False


@config
class GlobalCnnConfig:
    """The global 1-D CNN: dilated blocks, each gated by a mean over the past."""

    num_blocks: int = Field(default=6, ge=1)
    kernel: int = Field(default=3, ge=1)
    separable: bool = False
    """Depthwise and pointwise instead of the dense dilated convolution."""
    normalization: Literal["batch", "layer"] = "batch"
    """Over the real frames of a batch (the paper), or over the width of each frame."""
    squeeze_excite: Literal["running-mean", "off", "whole-utterance"] = "running-mean"
    """The mean that gates a frame. The mean over the whole utterance is the trap to be shown, not
    used: `encode` then hears the future, and a stream, which keeps the running mean, differs."""
    se_reduction: int = Field(default=1, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)


@config
class ConvRnnConfig:
    """A ConvRNN-T encoder. The defaults are the paper's sizes."""

    kind: Literal["convrnn"] = "convrnn"
    feature_dim: int = Field(default=192, ge=1)
    local: LocalCnnConfig | None = LocalCnnConfig()
    """None leaves the local CNN out (the paper's "global only")."""
    global_cnn: GlobalCnnConfig | None = Field(
        default=GlobalCnnConfig(), validation_alias=AliasChoices("global_cnn", "wide")
    )
    """None leaves the global CNN out (the paper's "local only"). Old configs call it `wide`."""
    lstm: LstmStackConfig = LstmStackConfig(num_layers=6)
    reduction: int = Field(default=1, ge=1)
    """Frames joined into one between the convolutions and the LSTM layers."""

    def build(self) -> "ConvRnnEncoder":
        """The encoder, with fresh weights."""
        return ConvRnnEncoder(self)


class _LocalCnn(nn.Module):
    """Four causal 2-D convolutions with ReLU, flattened and projected to the feature width."""

    def __init__(self, config: LocalCnnConfig, feature_dim: int) -> None:
        super().__init__()
        if len(config.channels) != len(config.frequency_strides):
            raise ConfigError(
                f"The local CNN needs a frequency stride for each of its {len(config.channels)} "
                f"layers, got {len(config.frequency_strides)}.",
                hint="Set channels and frequency_strides together.",
            )
        if feature_dim % config.planes:
            raise ConfigError(
                f"Features of width {feature_dim} cannot be cut into {config.planes} planes."
            )
        self.planes = config.planes
        bins, planes = feature_dim // config.planes, config.planes
        layers = []
        for out_planes, stride in zip(config.channels, config.frequency_strides, strict=True):
            layer = CausalConv2d(
                planes,
                out_planes,
                kernel=config.kernel,
                stride=stride,
                in_bins=bins,
                separable=config.separable,
            )
            layers.append(layer)
            planes, bins = out_planes, layer.out_bins
        self.convs = nn.ModuleList(layers)
        self.project = nn.Linear(planes * bins, feature_dim)

    def initial_state(self, batch_size: int) -> tuple[Tensor, ...]:
        return tuple(conv.initial_state(batch_size) for conv in self._layers())

    def step(
        self, x_BTF: Tensor, state: tuple[Tensor, ...], valid_BT: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        del valid_BT  # causal, and without statistics: padding behind the end changes nothing
        x_BTCF = x_BTF.unflatten(2, (self.planes, -1))
        pasts = []
        for conv, past in zip(self._layers(), state, strict=True):
            x_BTCF, past = conv.step(x_BTCF, past)
            x_BTCF = F.relu(x_BTCF)
            pasts.append(past)
        return self.project(x_BTCF.flatten(2)), tuple(pasts)

    def _layers(self) -> list[CausalConv2d]:
        return list(self.convs)  # pyright: ignore[reportReturnType]


class GlobalBlockState(NamedTuple):
    """State of a global block: the past of its convolution, and of its mean if it has one."""

    past_BPD: Tensor
    mean: RunningMeanState | tuple[()]


class _GlobalBlock(nn.Module):
    """u = N(ReLU(PW1 x)), v = N(ReLU(DW u)), z = PW2 v, y = x + Dropout(z * gate); N normalizes."""

    def __init__(self, config: GlobalCnnConfig, dim: int, dilation: int) -> None:
        super().__init__()
        self.widen = nn.Linear(dim, 2 * dim)
        self.norm_wide = _norm(config.normalization, 2 * dim)
        self.dilated = CausalConv1d(
            2 * dim, dim, config.kernel, dilation, separable=config.separable
        )
        self.norm = _norm(config.normalization, dim)
        self.mix = nn.Linear(dim, dim)
        kind = config.squeeze_excite
        self.gate = None if kind == "off" else RunningSqueezeExcite(dim, config.se_reduction)
        self.hears_the_future = kind == "whole-utterance"
        self.dropout = nn.Dropout(config.dropout)

    def initial_state(self, batch_size: int) -> GlobalBlockState:
        mean = self.gate.initial_state(batch_size) if self.gate else ()
        return GlobalBlockState(self.dilated.initial_state(batch_size), mean)

    def step(
        self, x_BTD: Tensor, state: GlobalBlockState, valid_BT: Tensor | None
    ) -> tuple[Tensor, GlobalBlockState]:
        u_BTD = self.norm_wide(F.relu(self.widen(x_BTD)), valid_BT)
        v_BTD, past = self.dilated.step(u_BTD, state.past_BPD)
        z_BTD = self.mix(self.norm(F.relu(v_BTD), valid_BT))
        z_BTD, mean = self._gated(z_BTD, state.mean, valid_BT)
        return x_BTD + self.dropout(z_BTD), GlobalBlockState(past, mean)

    def _gated(
        self, z_BTD: Tensor, mean: RunningMeanState | tuple[()], valid_BT: Tensor | None
    ) -> tuple[Tensor, RunningMeanState | tuple[()]]:
        if self.gate is None or not isinstance(mean, RunningMeanState):
            return z_BTD, mean
        if self.hears_the_future and valid_BT is not None:
            return self.gate.over_utterance(z_BTD, valid_BT), mean
        return self.gate.step(z_BTD, mean)


class _FrameNorm(nn.LayerNorm):
    """Layer normalization in the place of batch normalization: no frame depends on another."""

    def forward(self, x_BTD: Tensor, valid_BT: Tensor | None) -> Tensor:
        del valid_BT
        return super().forward(x_BTD)


def _norm(kind: Literal["batch", "layer"], dim: int) -> nn.Module:
    return MaskedBatchNorm(dim) if kind == "batch" else _FrameNorm(dim)


class ConvRnnState(NamedTuple):
    """State of the convolutions, which are the front of a ConvRNN-T encoder."""

    local: tuple[Tensor, ...]
    global_cnn: tuple[GlobalBlockState, ...]


class ConvRnnEncoder(ReducedEncoder):
    """Local and global causal convolutions in front of LSTM layers."""

    def __init__(self, config: ConvRnnConfig) -> None:
        super().__init__(config.feature_dim, config.lstm.dim, config.reduction)
        self.config = config
        width = config.feature_dim
        self.local = _LocalCnn(config.local, width) if config.local else None
        blocks = config.global_cnn.num_blocks if config.global_cnn else 0
        self.global_cnn = nn.ModuleList(
            _GlobalBlock(config.global_cnn, width, dilation=2**i)  # pyright: ignore[reportArgumentType]
            for i in range(blocks)
        )
        both = config.local is not None and config.global_cnn is not None
        self.join = nn.Linear(2 * width if both else width, width)
        self.lstm = LstmStack(config.lstm, width * config.reduction)

    def initial_front(self, batch_size: int) -> ConvRnnState:
        """The state of the convolutions."""
        return ConvRnnState(
            self.local.initial_state(batch_size) if self.local else (),
            tuple(block.initial_state(batch_size) for block in self._blocks()),
        )

    def initial_core(self, batch_size: int) -> LstmState:
        """The state of the LSTM layers."""
        return self.lstm.initial_state(batch_size)

    def front(
        self, x_BTF: Tensor, state: ConvRnnState, valid_BT: Tensor | None
    ) -> tuple[Tensor, ConvRnnState]:
        """The convolutions, side by side, joined; in training over the real frames."""
        local = state.local
        if self.local is not None:
            x_BTF, local = self.local.step(x_BTF, state.local, valid_BT)
        global_BTF, blocks = x_BTF, []
        for block, before in zip(self._blocks(), state.global_cnn, strict=True):
            global_BTF, own = block.step(global_BTF, before, valid_BT)
            blocks.append(own)
        parts = [x_BTF] if self.local is not None else []
        parts += [global_BTF] if len(self.global_cnn) else []
        joined_BTF = self.join(torch.cat(parts, dim=2) if parts else x_BTF)
        return joined_BTF, ConvRnnState(local, tuple(blocks))

    def core(
        self, groups_BTF: Tensor, state: LstmState, valid_BT: Tensor | None
    ) -> tuple[Tensor, LstmState]:
        """The LSTM layers: causal, so padding behind the end changes nothing."""
        del valid_BT
        return self.lstm.step(groups_BTF, state)

    def _blocks(self) -> list[_GlobalBlock]:
        return list(self.global_cnn)  # pyright: ignore[reportReturnType]
