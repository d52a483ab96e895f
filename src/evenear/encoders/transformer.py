# SPDX-License-Identifier: Apache-2.0
"""A streaming Transformer: blocks of frames that see themselves whole, and a bounded past.

    features (10 ms) ── convolution ── convolution, stride 2 (20 ms) ── + positions
        ── layers of attention and feed-forward ── normalization ── frames joined (40 ms)

It has the shape of OpenAI's Whisper encoder, so it can begin with weights that have heard a lot of
speech. What differs makes it stream, exactly:

- Attention sees the block that a frame lies in, and `left_frames` before that block. So a block
  waits for its last frame, and no look-ahead adds up over the layers. One set of weights serves
  blocks of several lengths; `block_frames` can be set when a model is loaded.
- The convolutions do not look beyond their block either: behind its last frame stands that frame
  once more.
- Positions go in a circle of `position_cycle` frames, so a stream may last for ever. Training
  begins anywhere on the circle (`offset_chance`), so no place on it means anything.

A last, incomplete block ends with the stream; its last frame is repeated until a group of `stride`
is full.

Legend: B streams or utterances, T feature frames or (behind the second convolution) frames, S
frames that may be attended to, P frames of the past, F feature width, D width, L layers, K blocks.

Source: Radford et al. 2022 (Whisper), arXiv:2212.04356; attention within blocks as in Shi et al.
2021 (Emformer), arXiv:2010.10759. Our reading: the circle of positions.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from evenear.config import config
from evenear.encoders.base import Encoder
from evenear.errors import ConfigError
from evenear.nn.attention import BlockAttention, block_mask, slid
from evenear.nn.positions import sinusoids
from evenear.nn.recurrent import FrameReducer, ReducerState

__all__ = [
    "LayerCall",
    "RunLayer",
    "TransformerConfig",
    "TransformerEncoder",
    "TransformerLayer",
    "TransformerState",
]

_LONGEST = 1500
"""Positions that Whisper knows: 30 seconds."""


@config
class TransformerConfig:
    """A streaming Transformer. The defaults are the shape of Whisper tiny, in blocks of 320 ms."""

    kind: Literal["transformer"] = "transformer"
    feature_dim: int = Field(default=80, ge=1)
    dim: int = Field(default=384, ge=2, multiple_of=2)
    convolved: bool = True
    """False: what comes in are frames of width `dim` with their positions, so this is the upper
    part of a Transformer; blocks are then counted in them."""
    num_heads: int = Field(default=6, ge=1)
    num_layers: int = Field(default=4, ge=0)
    ff_dim: int = Field(default=1536, ge=1)
    block_frames: int = Field(default=32, ge=1)
    """Feature frames (10 ms) of a block; a multiple of twice the reduction."""
    left_frames: int = Field(default=200, ge=0)
    """Frames (20 ms) before its block that a frame attends to."""
    position_cycle: int = Field(default=500, ge=1, le=_LONGEST)
    """Frames (20 ms) after which positions begin again."""
    reduction: int = Field(default=2, ge=1)
    """Frames (20 ms) joined into one at the end."""
    training_blocks: tuple[int, ...] = ()
    """Lengths of blocks, in feature frames, to draw from in training; none: always the same."""
    offset_chance: float = Field(default=0.5, ge=0, le=1)
    """Chance that an utterance begins anywhere on the circle of positions in training."""
    right_frames: int = Field(default=0, ge=0)
    """Feature frames (10 ms) beyond its block that a recognizer waits for before a block's words
    are final: it is then encoded once more, together with them (`RightContext`)."""
    dropout: float = Field(default=0.0, ge=0, lt=1)

    def build(self) -> "TransformerEncoder":
        """The encoder, with fresh weights."""
        return TransformerEncoder(self)


class TransformerState(NamedTuple):
    """State of a Transformer."""

    waiting: ReducerState
    """Features that wait for the rest of their block."""
    last_B1F: Tensor
    """The last feature frame of the block before."""
    convolved_B1D: Tensor
    """The last frame of the first convolution."""
    keys_BLPD: Tensor
    values_BLPD: Tensor
    heard_B: Tensor
    """Frames (20 ms) encoded so far."""


class TransformerLayer(nn.Module):
    """x = x + Attention(Norm(x)); x = x + FeedForward(Norm(x))."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.dim)
        self.attention = BlockAttention(config.dim, config.num_heads)
        self.ff_norm = nn.LayerNorm(config.dim)
        self.widen = nn.Linear(config.dim, config.ff_dim)
        self.narrow = nn.Linear(config.ff_dim, config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x_BTD: Tensor, past: tuple[Tensor, Tensor], attend_BTS: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """One layer over some blocks.

        Args:
            x_BTD: The frames.
            past: Keys and values of the frames before them.
            attend_BTS: Which frames, past ones first, each frame may attend to.

        Returns:
            The frames, and their keys and values.
        """
        normed_BTD = self.attention_norm(x_BTD)
        own = self.attention.key(normed_BTD), self.attention.value(normed_BTD)
        keys_BSD, values_BSD = (torch.cat(each, dim=1) for each in zip(past, own, strict=True))
        attended_BTD = self.attention(normed_BTD, keys_BSD, values_BSD, attend_BTS)
        x_BTD = x_BTD + self.dropout(attended_BTD)
        return x_BTD + self.dropout(self.feed_forward(x_BTD)), own

    def feed_forward(self, x_BTD: Tensor) -> Tensor:
        """What the feed-forward module adds to a frame; it sees nothing else."""
        return self.narrow(F.gelu(self.widen(self.ff_norm(x_BTD))))


class LayerCall(NamedTuple):
    """A layer, and all that it is given besides the frames."""

    number: int
    layer: TransformerLayer
    past: tuple[Tensor, Tensor]
    """Keys and values of the frames before."""
    attend_BTS: Tensor
    block: int
    """Frames (20 ms) of a block."""
    frames_B: Tensor | None
    """How many frames of each utterance are real; None: all."""

    def __call__(self, x_BTD: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run the layer as it is."""
        return self.layer(x_BTD, self.past, self.attend_BTS)


RunLayer = Callable[[LayerCall, Tensor], tuple[Tensor, tuple[Tensor, Tensor]]]
"""Another way of running a layer: frames, and their keys and values."""


class TransformerEncoder(Encoder):
    """Attention within blocks of frames and to a bounded past."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.feature_dim = config.feature_dim
        self.dim = config.dim * config.reduction
        self._halving = 2 if config.convolved else 1
        self.stride = self._halving * config.reduction
        if not config.convolved and config.feature_dim != config.dim:
            found = f"feature_dim must be dim ({config.dim}), got {config.feature_dim}"
            raise ConfigError(f"Without convolutions {found}.")
        for block in (config.block_frames, *config.training_blocks):
            _check_block(block, self.stride)
        if config.convolved:
            self.conv1 = nn.Conv1d(config.feature_dim, config.dim, 3)
            self.conv2 = nn.Conv1d(config.dim, config.dim, 3, stride=2)
        self.layers = nn.ModuleList(TransformerLayer(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(config.dim)
        self.positions_SD: Tensor
        self.register_buffer("positions_SD", sinusoids(_LONGEST, config.dim), persistent=False)
        self.set_block(config.block_frames)
        self.right_frames = config.right_frames
        """Feature frames that a recognizer waits for behind a block; it may be set, too."""

    @property
    def block_frames(self) -> int:
        """Feature frames of a block."""
        return self._block

    @property
    def macs_per_frame(self) -> int:
        """Multiply-accumulates of all attention for a frame (20 ms), with its whole past there."""
        heard = self.config.left_frames + self._block // self._halving
        return self.config.num_layers * 2 * self.config.dim * heard

    @property
    def sees_each_frame(self) -> nn.Module:
        """The layer through which each frame (20 ms) goes once."""
        return self.norm

    def set_block(self, block_frames: int) -> None:
        """Encode in blocks of another length from now on: longer ones wait longer and hear better.

        Streams that have begun keep to the old length; begin new ones.

        Raises:
            ConfigError: It is no multiple of the stride.
        """
        _check_block(block_frames, self.stride)
        self._block = block_frames
        self.lookahead_frames = block_frames - 1
        self._waiting = FrameReducer(block_frames, self.feature_dim)

    def initial_state(self, batch_size: int) -> TransformerState:
        """The state of streams that have heard nothing."""
        weight, settings = self.norm.weight, self.config
        past = (batch_size, settings.num_layers, settings.left_frames, settings.dim)
        return TransformerState(
            self._waiting.initial_state(batch_size),
            weight.new_zeros(batch_size, 1, self.feature_dim),
            weight.new_zeros(batch_size, 1, settings.dim),
            weight.new_zeros(past),
            weight.new_zeros(past),
            torch.zeros(batch_size, dtype=torch.int64, device=weight.device),
        )

    def step(
        self, features_BTF: Tensor, state: TransformerState, run: RunLayer = LayerCall.__call__
    ) -> tuple[Tensor, TransformerState]:
        """Encode the blocks that a chunk of any length completes."""
        groups_BKF, waiting = self._waiting.step(features_BTF, state.waiting)
        state = state._replace(waiting=waiting)
        if groups_BKF.shape[1] == 0:
            return features_BTF.new_zeros(len(features_BTF), 0, self.dim), state
        whole_BTF = groups_BKF.unflatten(2, (self._block, self.feature_dim)).flatten(1, 2)
        return self._encode(whole_BTF, state, self._block, None, run)

    def flush(self, state: TransformerState, run: RunLayer = LayerCall.__call__) -> Tensor:
        """The frames of the last, incomplete block, if one waits."""
        counts = state.waiting.count_B.tolist()
        if not counts or not counts[0]:
            return self.norm.weight.new_zeros(len(counts), 0, self.dim)
        rest_BTF = self._padded(state.waiting.waiting_BRD[:, : counts[0]])
        encoded_BTD, _ = self._encode(rest_BTF, state, self._block, None, run)
        return encoded_BTD

    def hear(
        self,
        features_BTF: Tensor,
        state: TransformerState,
        block: int | None = None,
        run: RunLayer = LayerCall.__call__,
    ) -> tuple[Tensor, TransformerState]:
        """Encode whatever frames in blocks of such a length, or as one, where nothing waits.

        The last frame is repeated until a group of `stride` is full.
        """
        frames_BTF = self._padded(features_BTF)
        return self._encode(frames_BTF, state, block or frames_BTF.shape[1], None, run)

    def encode(
        self, features_BTF: Tensor, valid_BT: Tensor, run: RunLayer = LayerCall.__call__
    ) -> Tensor:
        """Encode padded utterances; in training, blocks and first positions are drawn at random."""
        block, offset_B = self._block, None
        if self.training:
            if self.config.training_blocks:
                drawn = torch.randint(len(self.config.training_blocks), ())
                block = self.config.training_blocks[int(drawn)]
            offset_B = torch.randint(self.config.position_cycle, features_BTF.shape[:1])
            offset_B *= torch.rand(len(offset_B)) < self.config.offset_chance
        return self._encode_whole(features_BTF, valid_BT, block, offset_B, run)

    def encode_unbounded(self, features_BTF: Tensor, valid_BT: Tensor) -> Tensor:
        """Encode padded utterances as one block each: all of it is seen from everywhere."""
        block = features_BTF.shape[1] + self.stride
        return self._encode_whole(features_BTF, valid_BT, block, None, LayerCall.__call__)

    def output_lengths(self, lengths_B: Tensor) -> Tensor:
        """Encoder frames of utterances of these many feature frames."""
        return (lengths_B + self.stride - 1) // self.stride

    def _encode_whole(
        self,
        features_BTF: Tensor,
        valid_BT: Tensor,
        block: int,
        offset_B: Tensor | None,
        run: RunLayer,
    ) -> Tensor:
        lengths_B, num_frames = valid_BT.sum(dim=1), features_BTF.shape[1]
        if num_frames == 0:
            return features_BTF.new_zeros(len(features_BTF), 0, self.dim)
        places_T = torch.arange(num_frames + -num_frames % self.stride, device=features_BTF.device)
        places_BT = places_T.minimum((lengths_B - 1).clamp_min(0)[:, None])
        rows_B1 = torch.arange(len(features_BTF), device=features_BTF.device)[:, None]
        state = self.initial_state(len(features_BTF))
        if offset_B is not None:
            state = state._replace(heard_B=offset_B.to(state.heard_B.device))
        frames_B = self.output_lengths(lengths_B) * self.config.reduction
        block += -block % self.stride
        encoded_BTD, _ = self._encode(features_BTF[rows_B1, places_BT], state, block, frames_B, run)
        return encoded_BTD

    def _encode(
        self,
        features_BTF: Tensor,
        state: TransformerState,
        block: int,
        frames_B: Tensor | None,
        run: RunLayer,
    ) -> tuple[Tensor, TransformerState]:
        """Encode blocks; only the last may be incomplete. T is a multiple of the stride.

        `frames_B` says how many frames (20 ms) of each utterance are real; then nothing is past.
        """
        x_BTD, convolved_B1D = features_BTF, state.convolved_B1D
        if self.config.convolved:
            x_BTD, convolved_B1D = self._convolve(features_BTF, state, block)
        num_frames, past = x_BTD.shape[1], self.config.left_frames
        known_B = torch.zeros_like(state.heard_B) if frames_B is not None else state.heard_B
        heard = known_B.tolist()
        num_past = min(past, max(heard, default=0))
        if self.config.convolved:
            places_BT = state.heard_B[:, None] + torch.arange(num_frames, device=x_BTD.device)
            cycle = self.config.position_cycle if block <= 2 * _LONGEST else _LONGEST
            x_BTD = x_BTD + self.positions_SD[places_BT % cycle]
        block //= self._halving
        if frames_B is None and num_frames <= block and min(heard, default=0) >= num_past:
            attend_BTS = torch.ones(1, num_frames, num_past + num_frames, dtype=torch.bool)
            attend_BTS = attend_BTS.to(x_BTD.device)
        else:
            attend_BTS = block_mask(num_frames, num_past, block, past, known_B, frames_B)
        keys, values = list[Tensor](), list[Tensor]()
        for number, layer in enumerate(self.layers):
            cached = (
                state.keys_BLPD[:, number, past - num_past :],
                state.values_BLPD[:, number, past - num_past :],
            )
            assert isinstance(layer, TransformerLayer)
            call = LayerCall(number, layer, cached, attend_BTS, block, frames_B)
            x_BTD, (keys_BTD, values_BTD) = run(call, x_BTD)
            keys.append(keys_BTD)
            values.append(values_BTD)
        x_BTD = self.norm(x_BTD)
        encoded_BTD = x_BTD.unflatten(1, (-1, self.config.reduction)).flatten(2)
        if frames_B is not None:
            return encoded_BTD, state
        after = state._replace(
            last_B1F=features_BTF[:, -1:],
            convolved_B1D=convolved_B1D.float(),
            keys_BLPD=slid(state.keys_BLPD, keys),
            values_BLPD=slid(state.values_BLPD, values),
            heard_B=state.heard_B + num_frames,
        )
        return encoded_BTD, after

    def _padded(self, features_BTF: Tensor) -> Tensor:
        """The frames, the last one repeated until a group of `stride` is full."""
        last_BTF = features_BTF[:, -1:].expand(-1, -features_BTF.shape[1] % self.stride, -1)
        return torch.cat([features_BTF, last_BTF], dim=1)

    def _convolve(
        self, features_BTF: Tensor, state: TransformerState, block: int
    ) -> tuple[Tensor, Tensor]:
        """Both convolutions; and the last frame of the first, for the block that comes next."""
        num_frames = features_BTF.shape[1]
        before_B1F = state.last_B1F.to(features_BTF)
        if num_frames <= block:
            joined_BTF = torch.cat([before_B1F, features_BTF, features_BTF[:, -1:]], dim=1)
        else:
            joined_BTF = self._parted(features_BTF, before_B1F, block)
        first_BDT = F.gelu(self.conv1(joined_BTF.transpose(1, 2)))
        first_BTD = first_BDT.transpose(1, 2).reshape(len(features_BTF), -1, self.config.dim)
        first_BTD = first_BTD[:, :num_frames]
        joined_BTD = torch.cat([state.convolved_B1D.to(first_BTD), first_BTD], dim=1)
        second_BTD = F.gelu(self.conv2(joined_BTD.transpose(1, 2))).transpose(1, 2)
        return second_BTD, first_BTD[:, -1:]

    def _parted(self, features_BTF: Tensor, before_B1F: Tensor, block: int) -> Tensor:
        """Blocks (B * K, T, F), each with the frame before it and its last frame once more."""
        repeated_BTF = features_BTF[:, -1:].expand(-1, -features_BTF.shape[1] % block, -1)
        blocks_BKTF = torch.cat([features_BTF, repeated_BTF], dim=1).unflatten(1, (-1, block))
        ends_BK1F = blocks_BKTF[:, :, -1:]
        before_BK1F = torch.cat([before_B1F[:, None], ends_BK1F[:, :-1]], dim=1)
        return torch.cat([before_BK1F, blocks_BKTF, ends_BK1F], dim=2).flatten(0, 1)


def _check_block(block_frames: int, stride: int) -> None:
    if block_frames < stride or block_frames % stride:
        raise ConfigError(
            f"A block must be a multiple of {stride} feature frames, got {block_frames}.",
            hint="Blocks of 16, 32 and 64 frames are 160, 320 and 640 ms.",
        )
