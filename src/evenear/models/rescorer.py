# SPDX-License-Identifier: Apache-2.0
"""An attention decoder that judges readings which another search found: a second pass.

    readings of a beam  ─►  log P(reading | frames) by attention  ─►  the best of both scores

It reads the same projected encoder frames that the joiner and the head for phones read, so the
encoder runs once, and nothing of it streams: a search asks when words must become final. It may
begin with the weights of Whisper's decoder, which has read far more English than any transducer
that is trained on hours of speech.

Legend: B utterances, T encoder frames, U pieces, S pieces that may be attended to, F width of a
frame, D width, V pieces in the vocabulary.

Source: two passes as in Sainath et al. 2019, arXiv:1908.10992; rescoring by attention as in Zhang
et al. 2020 (U2), arXiv:2012.05481; the layers are those of Radford et al. 2022 (Whisper),
arXiv:2212.04356.
Departs from the papers: one affine map makes of streamed frames what the decoder knew as frames of
whole utterances; the vocabulary holds only the pieces of the words that a search can find.
"""

from typing import NamedTuple, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from evenear.config import config
from evenear.errors import ConfigError
from evenear.nn.attention import BlockAttention

__all__ = ["Memory", "Rescorer", "RescorerConfig"]


@config
class RescorerConfig:
    """An attention decoder. The sizes are those of Whisper tiny.en."""

    frame_dim: int = Field(default=320, ge=1)
    """Width of a projected encoder frame."""
    dim: int = Field(default=384, ge=1)
    num_heads: int = Field(default=6, ge=1)
    num_layers: int = Field(default=4, ge=1)
    ff_dim: int = Field(default=1536, ge=1)
    vocabulary_size: int = Field(ge=3)
    start: tuple[int, ...] = (1, 2)
    """Pieces that come before every text."""
    end_id: int = Field(default=0, ge=0)
    """The piece that comes after it."""
    max_pieces: int = Field(default=224, ge=2)
    """Pieces of the longest text, those before and after it included."""
    dropout: float = Field(default=0.0, ge=0, lt=1)

    def __post_init__(self) -> None:
        marks = (*self.start, self.end_id)
        if not self.start or max(marks) >= self.vocabulary_size or min(marks) < 0:
            raise ConfigError(
                f"Texts need pieces before and after them that the vocabulary of "
                f"{self.vocabulary_size} has, got {self.start} and {self.end_id}."
            )


class Memory(NamedTuple):
    """What each layer attends to in the frames of some utterances."""

    keys: tuple[Tensor, ...]
    """(B, T, D) for each layer."""
    values: tuple[Tensor, ...]


class Rescorer(nn.Module):
    """The decoder. Its embedding is also what scores the vocabulary."""

    def __init__(self, config: RescorerConfig) -> None:
        super().__init__()
        self.config = config
        self.bridge = nn.Linear(config.frame_dim, config.dim)
        self.embedding = nn.Embedding(config.vocabulary_size, config.dim)
        self.positions_UD = nn.Parameter(0.01 * torch.randn(config.max_pieces, config.dim))
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def remember(self, frames_BTF: Tensor) -> Memory:
        """Read encoder frames, projected for the joiner."""
        bridged_BTD = self.bridge(frames_BTF)
        read = [cast(_Layer, layer).cross.read(bridged_BTD) for layer in self.layers]
        keys, values = zip(*read, strict=True)
        return Memory(keys, values)

    def forward(self, pieces_BU: Tensor, frames_BTF: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits (B, U, V) of what follows each piece of texts that begin with `config.start`.

        Args:
            pieces_BU: The pieces; a piece sees those before it and itself.
            frames_BTF: Encoder frames, projected for the joiner.
            lengths_B: How many of them are real.
        """
        num_pieces, places_T = pieces_BU.shape[1], torch.arange(frames_BTF.shape[1])
        depths_U = torch.arange(num_pieces, device=pieces_BU.device)
        before_1UU = (depths_U[:, None] >= depths_U)[None]
        heard_B1T = (places_T.to(lengths_B.device) < lengths_B[:, None])[:, None]
        memory = self.remember(frames_BTF)
        hidden_BUD = self.read(pieces_BU, depths_U, before_1UU, memory, heard_B1T)
        return self.scores(hidden_BUD)

    def read(
        self,
        pieces_BU: Tensor,
        depths_U: Tensor,
        before_BUS: Tensor,
        memory: Memory,
        heard_B1T: Tensor,
    ) -> Tensor:
        """What is known after each piece, (B, U, D).

        Args:
            pieces_BU: Pieces in any order.
            depths_U: How many come before each in its own text.
            before_BUS: Which of the U pieces each sees: those before it in its text, and itself.
            memory: Of the frames.
            heard_B1T: Which frames are real.
        """
        x_BUD = self.embedding(pieces_BU) + self.positions_UD[depths_U]
        x_BUD = self.dropout(x_BUD)
        for layer, keys_BTD, values_BTD in zip(self.layers, *memory, strict=True):
            x_BUD = layer(x_BUD, before_BUS, keys_BTD, values_BTD, heard_B1T)
        return self.norm(x_BUD)

    def scores(self, hidden: Tensor) -> Tensor:
        """Logits of the vocabulary, (…, D) -> (…, V)."""
        return F.linear(hidden, self.embedding.weight)


class _Layer(nn.Module):
    """Self-attention, attention to the frames, and a wide layer, each normalized before."""

    def __init__(self, config: RescorerConfig) -> None:
        super().__init__()
        dim = config.dim
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = BlockAttention(dim, config.num_heads)
        self.cross_norm = nn.LayerNorm(dim)
        self.cross = BlockAttention(dim, config.num_heads)
        self.ff_norm = nn.LayerNorm(dim)
        self.widen = nn.Linear(dim, config.ff_dim)
        self.narrow = nn.Linear(config.ff_dim, dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x_BUD: Tensor,
        before_BUS: Tensor,
        keys_BTD: Tensor,
        values_BTD: Tensor,
        heard_B1T: Tensor,
    ) -> Tensor:
        normed_BUD = self.attention_norm(x_BUD)
        own = self.attention.read(normed_BUD)
        x_BUD = x_BUD + self.dropout(self.attention(normed_BUD, *own, before_BUS))
        crossed_BUD = self.cross(self.cross_norm(x_BUD), keys_BTD, values_BTD, heard_B1T)
        x_BUD = x_BUD + self.dropout(crossed_BUD)
        wide = F.gelu(self.widen(self.ff_norm(x_BUD)))
        return x_BUD + self.dropout(self.narrow(wide))
