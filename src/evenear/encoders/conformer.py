# SPDX-License-Identifier: Apache-2.0
"""The causal Conformer: attention to a bounded past and causal convolutions, block by block.

Each block is half a feed-forward module, attention, convolution, another half of a feed-forward
module, each added to what came in, and a layer normalization:

    x = x + FF(x) / 2;  x = x + Attention(x);  x = x + Conv(x);  x = LayerNorm(x + FF(x) / 2)

Legend: B streams, T frames, F feature width, D encoder width, P frames of the past.

Source: Gulati et al. 2020, arXiv:2005.08100; the causal baseline of Radfar et al. 2022,
arXiv:2209.14868, section 3.2 (14 layers, 4 heads, width 256, feed-forward 1024, left context only).
Departs from them: rotary positions; a bounded left context; layer instead of batch normalization
in the convolution; dropout hits whole channels of an utterance, and not the attention weights;
frames are joined by `reduction` and projected instead of strided 2-D convolutions.
"""

from typing import Literal, NamedTuple

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from evenear.config import config
from evenear.encoders.reduced import ReducedEncoder
from evenear.nn.attention import AttentionState, CausalAttention
from evenear.nn.conv import CausalConv1d
from evenear.nn.dropout import SharedDropout

__all__ = ["BlockState", "ConformerConfig", "ConformerEncoder"]


@config
class ConformerConfig:
    """A causal Conformer. The defaults are the paper's sizes."""

    kind: Literal["conformer"] = "conformer"
    feature_dim: int = Field(default=192, ge=1)
    dim: int = Field(default=256, ge=1)
    num_heads: int = Field(default=4, ge=1)
    num_layers: int = Field(default=14, ge=1)
    ff_dim: int = Field(default=1024, ge=1)
    kernel: int = Field(default=15, ge=1)
    """Taps of each convolution, the frame itself among them; the paper does not say."""
    left_frames: int = Field(default=128, ge=1)
    """Encoder frames of the past that a block attends to."""
    reduction: int = Field(default=2, ge=1)
    """Feature frames joined into one before the blocks."""
    dropout: float = Field(default=0.1, ge=0, lt=1)

    def build(self) -> "ConformerEncoder":
        """The encoder, with fresh weights."""
        return ConformerEncoder(self)


class BlockState(NamedTuple):
    """What a block remembers: of its attention, and of its convolution."""

    attention: AttentionState
    past_BPD: Tensor


class _FeedForward(nn.Module):
    def __init__(self, dim: int, wide: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.widen, self.narrow = nn.Linear(dim, wide), nn.Linear(wide, dim)
        self.dropout = SharedDropout(dropout)

    def forward(self, x_BTD: Tensor) -> Tensor:
        wide_BTD = self.dropout(F.silu(self.widen(self.norm(x_BTD))))
        return self.dropout(self.narrow(wide_BTD))


class _Convolution(nn.Module):
    """Gated pointwise, causal depthwise, normalization, Swish, pointwise."""

    def __init__(self, dim: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.gate = nn.Linear(dim, 2 * dim)
        self.depthwise = CausalConv1d(dim, dim, kernel, separable=True)
        self.depthwise.mix = nn.Identity()  # mixing comes after the nonlinearity
        self.norm_after = nn.LayerNorm(dim)
        self.mix = nn.Linear(dim, dim)
        self.dropout = SharedDropout(dropout)

    def step(self, x_BTD: Tensor, past_BPD: Tensor) -> tuple[Tensor, Tensor]:
        gated_BTD = F.glu(self.gate(self.norm(x_BTD)), dim=2)
        y_BTD, past_BPD = self.depthwise.step(gated_BTD, past_BPD)
        return self.dropout(self.mix(F.silu(self.norm_after(y_BTD)))), past_BPD


class _Block(nn.Module):
    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        dim, dropout = config.dim, config.dropout
        self.before = _FeedForward(dim, config.ff_dim, dropout)
        self.norm = nn.LayerNorm(dim)
        self.attention = CausalAttention(dim, config.num_heads, config.left_frames)
        self.dropout = SharedDropout(dropout)
        self.convolution = _Convolution(dim, config.kernel, dropout)
        self.after = _FeedForward(dim, config.ff_dim, dropout)
        self.norm_after = nn.LayerNorm(dim)

    def initial_state(self, batch_size: int) -> BlockState:
        return BlockState(
            self.attention.initial_state(batch_size),
            self.convolution.depthwise.initial_state(batch_size),
        )

    def step(self, x_BTD: Tensor, state: BlockState) -> tuple[Tensor, BlockState]:
        x_BTD = x_BTD + 0.5 * self.before(x_BTD)
        attended_BTD, attention = self.attention.step(self.norm(x_BTD), state.attention)
        x_BTD = x_BTD + self.dropout(attended_BTD)
        convolved_BTD, past_BPD = self.convolution.step(x_BTD, state.past_BPD)
        x_BTD = x_BTD + convolved_BTD
        x_BTD = self.norm_after(x_BTD + 0.5 * self.after(x_BTD))
        return x_BTD, BlockState(attention, past_BPD.float())


class ConformerEncoder(ReducedEncoder):
    """Causal Conformer blocks over joined feature frames."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__(config.feature_dim, config.dim, config.reduction)
        self.config = config
        self.project = nn.Linear(config.feature_dim * config.reduction, config.dim)
        self.norm = nn.LayerNorm(config.dim)
        self.dropout = SharedDropout(config.dropout)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.num_layers))

    def initial_core(self, batch_size: int) -> tuple[BlockState, ...]:
        """The state of each block."""
        return tuple(block.initial_state(batch_size) for block in self._blocks())

    def core(
        self, groups_BTF: Tensor, state: tuple[BlockState, ...], valid_BT: Tensor | None
    ) -> tuple[Tensor, tuple[BlockState, ...]]:
        """The blocks: causal, so padding behind the end changes nothing."""
        del valid_BT
        if groups_BTF.shape[1] == 0:
            return groups_BTF.new_zeros(len(groups_BTF), 0, self.dim), state
        x_BTD = self.dropout(self.norm(self.project(groups_BTF)))
        after = []
        for block, before in zip(self._blocks(), state, strict=True):
            x_BTD, own = block.step(x_BTD, before)
            after.append(own)
        return x_BTD, tuple(after)

    def _blocks(self) -> list[_Block]:
        return list(self.blocks)  # pyright: ignore[reportReturnType]
