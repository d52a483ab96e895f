# SPDX-License-Identifier: Apache-2.0
"""A two-channel model: a separator, and the transducer that hears each of its channels.

Legend: B streams or utterances, T frames, F feature width, D width, S streams of both channels
(twice B: channel 0 of all, then channel 1 of all).

Source: as of `models.separator`.
"""

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from evenear.config import config
from evenear.encoders.base import Encoded
from evenear.models.separator import (
    NUM_CHANNELS,
    Separated,
    Separator,
    SeparatorConfig,
    SeparatorState,
    expect_width,
    real_frames,
)
from evenear.models.transducer import Transducer, TransducerConfig
from evenear.nn.state import map_state, stack_states

__all__ = ["SeparatorTransducer", "SeparatorTransducerConfig", "SeparatorTransducerState"]


@config
class SeparatorTransducerConfig:
    """A two-channel model; the transducer's encoder is the recognition encoder."""

    separator: SeparatorConfig
    transducer: TransducerConfig
    turns: Literal["none", "between", "start-and-end"] = "start-and-end"
    """Tokens that mark turns: none (MS-RNN-T), one between two turns of a channel (`<cot>` of
    MT-RNN-T; the end-of-turn token stands for it), or one at each end (STS)."""


class SeparatorTransducerState(NamedTuple):
    """State of a two-channel model; the recognition encoder has one for each channel."""

    separator: SeparatorState
    recognition: tuple[Any, Any]


class SeparatorTransducer(nn.Module):
    """A separator and the transducer that hears each of its channels."""

    def __init__(self, config: SeparatorTransducerConfig) -> None:
        super().__init__()
        self.config = config
        self.transducer = Transducer(config.transducer)
        features = config.transducer.encoder.feature_dim
        if config.separator.output == "encoded":
            features = config.separator.feature_dim
        self.feature_dim = features
        self.separator = Separator(config.separator, features)
        recognition = self.transducer.encoder
        expect_width(
            "The recognition encoder", recognition.feature_dim, self.separator.dim, "its input"
        )
        self.blank_id = self.transducer.blank_id
        self.dim = self.transducer.config.joiner_dim
        self.stride = self.separator.stride * recognition.stride
        self.lookahead_frames = (
            self.separator.lookahead_frames + self.separator.stride * recognition.lookahead_frames
        )
        self.mean_F: Tensor
        self.scale_F: Tensor
        self.register_buffer("mean_F", torch.zeros(features))
        self.register_buffer("scale_F", torch.ones(features))

    @property
    def block_frames(self) -> int:
        """Feature frames that are heard together (see `Encoder.block_frames`)."""
        recognition = self.separator.stride * self.transducer.encoder.block_frames
        return math.lcm(self.separator.block_frames, recognition)

    def normalize(self, features_BTF: Tensor) -> Tensor:
        """Features with the training set's mean and deviation taken out."""
        return (features_BTF - self.mean_F) * self.scale_F

    def initial_state(self, batch_size: int) -> SeparatorTransducerState:
        """The state of streams that have heard nothing."""
        encoder = self.transducer.encoder
        return SeparatorTransducerState(
            self.separator.initial_state(batch_size),
            (encoder.initial_state(batch_size), encoder.initial_state(batch_size)),
        )

    def step(
        self, features_BTF: Tensor, state: SeparatorTransducerState
    ) -> tuple[Tensor, SeparatorTransducerState]:
        """Hear a chunk; frames of both channels, projected for the joiner, (S, T, joiner width)."""
        separated, separator = self.separator.step(self.normalize(features_BTF), state.separator)
        both = stack_states(list(state.recognition))
        encoded_STD, both = self.transducer.encoder.step(separated.channels_STD, both)
        size = len(features_BTF)
        first: Any = map_state(lambda tensor: tensor[:size], both)
        second: Any = map_state(lambda tensor: tensor[size:], both)
        state = SeparatorTransducerState(separator, (first, second))
        return self.transducer.joiner.encoder_proj(encoded_STD), state

    def flush(self, state: SeparatorTransducerState) -> Tensor:
        """What the end of the streams completes, as `step` gives it."""
        encoder = self.transducer.encoder
        both = stack_states(list(state.recognition))
        tail_STD, both = encoder.step(self.separator.flush(state.separator), both)
        tail_STD = torch.cat([tail_STD, encoder.flush(both)], dim=1)
        return self.transducer.joiner.encoder_proj(tail_STD)

    def separate(self, features_BTF: Tensor, lengths_B: Tensor) -> Separated:
        """What the transducer gets of padded mixtures."""
        valid_BT = real_frames(lengths_B, features_BTF.shape[1])
        return self.separator.encode(self.normalize(features_BTF), valid_BT)

    def recognize(self, separated: Separated, lengths_B: Tensor) -> Encoded:
        """Encode both channels of mixtures of these many feature frames (not projected)."""
        lengths_S = self.separator.output_lengths(lengths_B).repeat(NUM_CHANNELS)
        return self.transducer.encoder(separated.channels_STD, lengths_S)

    def encode(self, features_BTF: Tensor, lengths_B: Tensor) -> Encoded:
        """Encode padded mixtures: both channels on the batch axis (not projected)."""
        return self.recognize(self.separate(features_BTF, lengths_B), lengths_B)

    def forward(self, features_BTF: Tensor, lengths_B: Tensor) -> Encoded:
        """Frames of both channels as a stream gets them, projected for the joiner."""
        encoded = self.encode(features_BTF, lengths_B)
        return Encoded(self.transducer.joiner.encoder_proj(encoded.encoded_BTD), encoded.lengths_B)
