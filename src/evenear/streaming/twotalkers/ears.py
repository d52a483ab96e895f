# SPDX-License-Identifier: Apache-2.0
"""How a two-talker recognizer hears: the separator, then the encoder for both channels at once.

Where the encoder has right context, channels are heard as a recognizer of single talkers hears:
frames are heard ahead first and settled later. It hears whole blocks, so separated frames wait for
the rest of theirs.

Legend: T frames, F feature width, S channels (batch of one listener), D joiner width, C channels, G
groups of frames that a separator decides on together.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from evenear.encoders.rightcontext import RightContext
from evenear.encoders.transformer import TransformerEncoder
from evenear.models.separator import NUM_CHANNELS, Separated, SeparatorState
from evenear.models.twotalkers import SeparatorTransducer
from evenear.units import Frames

__all__ = ["BothEars", "EarsState", "Listened"]


class EarsState(NamedTuple):
    """All that the networks remember of one listener."""

    separator: SeparatorState
    recognition: Any
    """Of the encoder, both channels on the batch axis."""
    waiting_STF: Tensor
    """Separated frames that wait for the rest of their block."""


class Listened(NamedTuple):
    """What a chunk made known."""

    settled_STD: Tensor
    """Frames behind those settled before, as the joiner takes them."""
    ahead_STD: Tensor
    """Frames behind them that will come again, better; none without right context."""
    active_CG: Tensor | None
    """Who was decided to speak, in groups behind those decided before, if that is decided."""
    state: EarsState


class BothEars:
    """Hears for streams of one model. It keeps nothing of any.

    Args:
        model: In evaluation mode.
    """

    def __init__(self, model: SeparatorTransducer) -> None:
        self.model, encoder = model, model.transducer.encoder
        self._right = None
        if isinstance(encoder, TransformerEncoder) and encoder.right_frames:
            self._right = RightContext(encoder, encoder.right_frames)
        self._block = encoder.block_frames if self._right is not None else 1

    @property
    def late_frames(self) -> Frames:
        """Encoder frames that are heard behind a block before it is settled."""
        activity = self.model.separator.activity
        late = activity.ahead_frames if activity is not None else 0
        if self._right is not None:
            late += self._right.right_frames
        return -(-late // self.model.stride)

    def initial_state(self) -> EarsState:
        """The state of a listener that has heard nothing."""
        if self._right is not None:
            recognition = self._right.initial_state(NUM_CHANNELS)
        else:
            recognition = self.model.transducer.encoder.initial_state(NUM_CHANNELS)
        nothing_STF = torch.zeros(NUM_CHANNELS, 0, self.model.separator.dim)
        return EarsState(self.model.separator.initial_state(1), recognition, nothing_STF)

    def step(self, features_TF: Tensor, state: EarsState) -> Listened:
        """Hear feature frames of one listener."""
        separated, separator = self._separated(features_TF, state)
        joined_STF = torch.cat([state.waiting_STF, separated.channels_STD], dim=1)
        whole = joined_STF.shape[1] // self._block * self._block
        if self._right is not None:
            heard = self._right.step(joined_STF[:, :whole], state.recognition)
            settled_STD, ahead_STD, recognition = heard
        else:
            encoder = self.model.transducer.encoder
            settled_STD, recognition = encoder.step(joined_STF, state.recognition)
            ahead_STD = settled_STD[:, :0]
        after = EarsState(separator, recognition, joined_STF[:, whole:])
        return Listened(
            self._projected(settled_STD), self._projected(ahead_STD), _first(separated), after
        )

    def finish(self, features_TF: Tensor, state: EarsState) -> Listened:
        """Hear the last frames and what the end completes; all of it is settled."""
        separated, separator = self._separated(features_TF, state)
        rest_STF = self.model.separator.flush(separator)
        last_STF = torch.cat([state.waiting_STF, separated.channels_STD, rest_STF], dim=1)
        if self._right is not None:
            settled_STD, recognition = self._right.finish(last_STF, state.recognition)
        else:
            encoder = self.model.transducer.encoder
            heard_STD, recognition = encoder.step(last_STF, state.recognition)
            settled_STD = torch.cat([heard_STD, encoder.flush(recognition)], dim=1)
        after = EarsState(separator, recognition, last_STF[:, :0])
        projected_STD = self._projected(settled_STD)
        return Listened(projected_STD, projected_STD[:, :0], _first(separated), after)

    def _separated(self, features_TF: Tensor, state: EarsState) -> tuple[Separated, SeparatorState]:
        return self.model.separator.step(self.model.normalize(features_TF[None]), state.separator)

    def _projected(self, encoded_STD: Tensor) -> Tensor:
        return self.model.transducer.joiner.encoder_proj(encoded_STD)


def _first(separated: Separated) -> Tensor | None:
    """Who was decided to speak, of a batch of one."""
    return separated.active_BCG[0] if separated.active_BCG is not None else None
