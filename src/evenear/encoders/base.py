# SPDX-License-Identifier: Apache-2.0
"""The contract of every streaming encoder.

    state = encoder.initial_state(batch_size)
    encoded_BTD, state = encoder.step(features_BTF, state)      # a chunk of any length, even zero
    tail_BTD = encoder.flush(state)                             # what still waits at the end

An encoder keeps no history outside its state, never changes the state it is given, and hears at
most `lookahead_frames` ahead. `forward` encodes padded whole utterances for training; the laws in
`tests/laws.py` hold it equal to `step`.

Legend: B streams, T frames, F feature width, D encoder width.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["Encoded", "Encoder"]


class Encoded(NamedTuple):
    """Encoded utterances, padded; row b is real up to `lengths_B[b]`."""

    encoded_BTD: Tensor
    lengths_B: Tensor
    side: Mapping[str, Tensor] = MappingProxyType({})
    """What else the encoder said of them: gates, masks."""


class Encoder(nn.Module, ABC):
    """Turns feature frames into encoder frames, chunk by chunk."""

    feature_dim: int
    """Width F of an input frame."""
    dim: int
    """Width D of an output frame."""
    stride: int = 1
    """Input frames for each output frame."""
    lookahead_frames: int = 0
    """Input frames beyond its own that an output frame depends on."""

    @property
    def block_frames(self) -> int:
        """Input frames that are encoded together: what is heard of a block waits for its rest.

        Streams of one batch must have heard multiples of it, or equally much of an open block.
        """
        return self.stride

    @abstractmethod
    def initial_state(self, batch_size: int) -> Any:
        """The state of `batch_size` streams that have heard nothing."""

    @abstractmethod
    def step(self, features_BTF: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Encode a chunk of any length, zero included; return what became known, and the state."""

    @abstractmethod
    def flush(self, state: Any) -> Tensor:
        """The frames that the end of the stream completes."""

    def encode(self, features_BTF: Tensor, valid_BT: Tensor) -> Tensor:
        """Encode padded utterances; `valid_BT` is True on real frames. Same numbers as `step`.

        What lies behind an utterance's end is zero, as in `flush`. Encoders that take statistics
        over a batch, or that a whole utterance gives a shorter way, do this in their own.
        """
        features_BTF = features_BTF.masked_fill(~valid_BT[:, :, None], 0.0)
        state = self.initial_state(len(features_BTF))
        encoded_BTD, state = self.step(features_BTF, state)
        return torch.cat([encoded_BTD, self.flush(state)], dim=1)

    @abstractmethod
    def output_lengths(self, lengths_B: Tensor) -> Tensor:
        """Encoder frames of utterances of these many feature frames."""

    def forward(self, features_BTF: Tensor, lengths_B: Tensor) -> Encoded:
        """Encode padded whole utterances."""
        frames_T = torch.arange(features_BTF.shape[1], device=features_BTF.device)
        valid_BT = frames_T < lengths_B[:, None]
        return Encoded(self.encode(features_BTF, valid_BT), self.output_lengths(lengths_B))
