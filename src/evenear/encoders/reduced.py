# SPDX-License-Identifier: Apache-2.0
"""Encoders that join frames into groups: what comes before, the groups, what runs over them.

    features ── front ── join `reduction` frames into one ── core ── encoder frames

An encoder of this kind says only what its front and its core do with frames; streams, the group
that waits for its rest, the end of a stream and padded utterances are the same for all of them.

Legend: B streams, T frames, F feature width, D encoder width.
"""

from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from evenear.encoders.base import Encoder
from evenear.nn.recurrent import FrameReducer, ReducerState

__all__ = ["ReducedEncoder", "ReducedState"]


class ReducedState(NamedTuple):
    """State of such an encoder: of its front, the frames that wait, and of its core."""

    front: Any
    reducer: ReducerState
    core: Any


class ReducedEncoder(Encoder):
    """An encoder whose core hears groups of frames.

    Args:
        feature_dim: Width of a feature frame, and of what the front makes of it.
        dim: Width of an encoder frame.
        reduction: Frames joined into one before the core.
    """

    at_once: bool = False
    """Whether the core must hear padded utterances in one piece, incomplete last groups included.

    A core that takes statistics over a batch must; others hear the last groups as a stream does.
    """

    def __init__(self, feature_dim: int, dim: int, reduction: int) -> None:
        super().__init__()
        self.feature_dim, self.dim = feature_dim, dim
        self.stride = reduction
        self.lookahead_frames = reduction - 1
        self.reducer = FrameReducer(reduction, feature_dim)

    @abstractmethod
    def initial_core(self, batch_size: int) -> Any:
        """The state of the core of streams that have heard nothing."""

    @abstractmethod
    def core(self, groups_BTF: Tensor, state: Any, valid_BT: Tensor | None) -> tuple[Tensor, Any]:
        """Encode groups of frames.

        Args:
            groups_BTF: Any number of groups, zero included.
            state: What the core remembers.
            valid_BT: Which groups of padded utterances are real; None: all.
        """

    def initial_front(self, batch_size: int) -> Any:
        """The state of the front; nothing if there is none."""
        del batch_size
        return ()

    def front(self, x_BTF: Tensor, state: Any, valid_BT: Tensor | None) -> tuple[Tensor, Any]:
        """What is done with single frames before they are joined; nothing, unless said."""
        del valid_BT
        return x_BTF, state

    def initial_state(self, batch_size: int) -> ReducedState:
        """The state of streams that have heard nothing."""
        return ReducedState(
            self.initial_front(batch_size),
            self.reducer.initial_state(batch_size),
            self.initial_core(batch_size),
        )

    def step(self, features_BTF: Tensor, state: ReducedState) -> tuple[Tensor, ReducedState]:
        """Encode a chunk of any length."""
        x_BTF, front = self.front(features_BTF, state.front, None)
        groups_BTF, reducer = self.reducer.step(x_BTF, state.reducer)
        encoded_BTD, core = self.core(groups_BTF, state.core, None)
        return encoded_BTD, ReducedState(front, reducer, core)

    def flush(self, state: ReducedState) -> Tensor:
        """The frame of the last, incomplete group, if one waits."""
        return self.core(self.reducer.flush(state.reducer), state.core, None)[0]

    def encode(self, features_BTF: Tensor, valid_BT: Tensor) -> Tensor:
        """Encode padded utterances; what lies behind an utterance's end is zero, as in `flush`."""
        state = self.initial_state(len(features_BTF))
        x_BTF, _ = self.front(features_BTF, state.front, valid_BT)
        x_BTF = x_BTF.masked_fill(~valid_BT[:, :, None], 0.0)
        groups_BTF, reducer = self.reducer.step(x_BTF, state.reducer)
        last_BTF = self.reducer.flush(reducer)
        places_T = torch.arange(groups_BTF.shape[1] + last_BTF.shape[1], device=x_BTF.device)
        real_BT = places_T < self.output_lengths(valid_BT.sum(dim=1))[:, None]
        if self.at_once:
            groups_BTF = torch.cat([groups_BTF, last_BTF], dim=1)
            return self.core(groups_BTF, state.core, real_BT)[0]
        split = groups_BTF.shape[1]
        encoded_BTD, core = self.core(groups_BTF, state.core, real_BT[:, :split])
        last_BTD, _ = self.core(last_BTF, core, real_BT[:, split:])
        return torch.cat([encoded_BTD, last_BTD], dim=1)

    def output_lengths(self, lengths_B: Tensor) -> Tensor:
        """Encoder frames of utterances of these many feature frames."""
        return self.reducer.output_lengths(lengths_B)
