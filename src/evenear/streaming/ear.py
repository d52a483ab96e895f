# SPDX-License-Identifier: Apache-2.0
"""How a recognizer hears: the encoder with its dial and its right context, for streams in a batch.

A stream that asks for all computation hears with right context, if its model has one: frames are
heard ahead first and settled later. One that asks for less hears sparingly, if the model's dial has
a speech gate; else each block once, as far as the gates let it.

Legend: B streams, T frames, F feature width, D joiner width.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from evenear.checkpoint import Bundle
from evenear.encoders.gated.encoder import GatedTransformer
from evenear.encoders.rightcontext import RightContext, RightState
from evenear.encoders.sparing import SparingHearing, SparingState
from evenear.encoders.transformer import TransformerEncoder
from evenear.errors import ConfigError
from evenear.models.transducer import Transducer
from evenear.nn.state import split_state, stack_states
from evenear.streaming.dial import asked, finished

__all__ = ["Ear", "Projected", "set_blocks"]


class Projected(NamedTuple):
    """What streams heard, as the joiner and the head for phones take it."""

    settled_BTD: Tensor
    """Frames behind those settled before."""
    ahead_BTD: Tensor
    """Frames behind them that will come again, better; none without right context."""
    states: list[Any]
    """Of each stream."""


class Ear:
    """Hears for streams of one model. It keeps nothing of any.

    Args:
        model: In evaluation mode.
    """

    def __init__(self, model: Transducer) -> None:
        self.model = model
        backbone = _backbone(model)
        self.right_frames = backbone.right_frames if backbone is not None else 0
        """Feature frames behind a block that patient streams wait for."""
        self.right = None
        if backbone is not None and self.right_frames:
            self.right = RightContext(backbone, self.right_frames)

    @cached_property
    def sparing(self) -> SparingHearing | None:
        """Hears for those who ask for less than all, if the dial has a speech gate.

        Raises:
            ConfigError: The encoder's past is too short for its windows.
        """
        encoder = self.model.encoder
        if not isinstance(encoder, GatedTransformer) or encoder.speech is None:
            return None
        return SparingHearing(encoder, self.right_frames)

    def initial_state(self, share: float) -> Any:
        """What one stream that has heard nothing and asks for this share begins with."""
        if self.right is not None and share == 1.0:
            return self.right.initial_state(1)
        if share != 1.0 and self.sparing is not None:
            return self.sparing.initial_state(share)
        return asked(self.model.encoder, self.model.encoder.initial_state(1), share)

    def is_patient(self, state: Any) -> bool:
        """Whether a stream hears with right context."""
        return isinstance(state, RightState)

    def heard_frames(self, state: Any) -> int | None:
        """Encoder frames heard, of a stream whose blocks wait for as long as it takes; else None.

        Such streams hear block by block.
        """
        if not isinstance(state, SparingState):
            return None
        return -(-int(state.heard_B) // self.model.encoder.stride)

    def alike(self, states: Sequence[Any]) -> list[list[int]]:
        """Places of states that can be heard for in one batch: of one kind and at one phase.

        Those that hear sparingly are alone: each decides for itself when it encodes.
        """
        groups: dict[int, list[int]] = {}
        for place, state in enumerate(states):
            phase = state.waiting_BWF.shape[1] if isinstance(state, RightState) else -1
            if isinstance(state, SparingState):
                phase = -2 - place
            groups.setdefault(phase, []).append(place)
        return list(groups.values())

    def step(self, features_BTF: Tensor, states: Sequence[Any]) -> Projected:
        """Hear whole blocks of streams that are alike; one block, where blocks wait."""
        state = states[0] if len(states) == 1 else stack_states(states)
        if isinstance(state, SparingState) and self.sparing is not None:
            settled_BTD, state = self.sparing.step(self.model.normalize(features_BTF), state)
            settled_BTD = self._projected(settled_BTD)
            ahead_BTD = settled_BTD[:, :0]
        elif self.right is None or not isinstance(state, RightState):
            settled_BTD, state = self.model.step(features_BTF, state)
            ahead_BTD = settled_BTD[:, :0]
        else:
            heard = self.right.step(self.model.normalize(features_BTF), state)
            state = heard.state
            settled_BTD, ahead_BTD = map(self._projected, (heard.settled_BTD, heard.ahead_BTD))
        own = [state] if len(states) == 1 else split_state(state, len(states))
        return Projected(settled_BTD, ahead_BTD, own)

    def finish(self, features_TF: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Hear the last frames of one stream and what its end completes, (1, T, D)."""
        if self.right is not None and isinstance(state, RightState):
            features_1TF = self.model.normalize(features_TF[None])
            settled_1TD, state = self.right.finish(features_1TF, state)
            return self._projected(settled_1TD), state
        if isinstance(state, SparingState) and self.sparing is not None:
            features_1TF, parts = self.model.normalize(features_TF[None]), []
            whole = len(features_TF) - len(features_TF) % self.model.encoder.block_frames
            for block_1TF in features_1TF[:, :whole].split(self.model.encoder.block_frames, dim=1):
                settled_1TD, state = self.sparing.step(block_1TF, state)
                parts.append(settled_1TD)
            settled_1TD, state = self.sparing.finish(features_1TF[:, whole:], state)
            return self._projected(torch.cat([*parts, settled_1TD], dim=1)), state
        projected_1TD, state = self.model.step(features_TF[None], state)
        rest_1TD, state = finished(self.model, state)
        return torch.cat([projected_1TD, rest_1TD], dim=1), state

    def _projected(self, encoded_BTD: Tensor) -> Tensor:
        return self.model.joiner.encoder_proj(encoded_BTD)


def set_blocks(
    bundle: Bundle, block_milliseconds: int | None, right_milliseconds: int | None
) -> None:
    """Let the encoder look at so much sound together, and wait for so much behind it.

    None leaves a length as it is; but right context that is no whole blocks any more is left out.

    Raises:
        ConfigError: The encoder has no blocks, or a length does not fit it.
    """
    if block_milliseconds is None and right_milliseconds is None:
        return
    encoder = bundle.model.encoder
    backbone = _backbone(bundle.model)
    if backbone is None or not isinstance(encoder, TransformerEncoder | GatedTransformer):
        raise ConfigError(
            f"Only encoders of the kind transformer have blocks to choose; {bundle.name} is a "
            f"{bundle.model.config.encoder.kind}.",
            hint="Leave block_milliseconds and right_milliseconds out.",
        )
    frame_milliseconds = 1000 * bundle.features.clock.frame_seconds
    if block_milliseconds is not None:
        encoder.set_block(round(block_milliseconds / frame_milliseconds))
        if backbone.right_frames % backbone.block_frames:
            backbone.right_frames = 0
    if right_milliseconds is not None:
        backbone.right_frames = round(right_milliseconds / frame_milliseconds)


def _backbone(model: Transducer) -> TransformerEncoder | None:
    """The Transformer that hears for those who ask for all, if the encoder is one."""
    encoder = model.encoder
    if isinstance(encoder, GatedTransformer):
        return encoder.backbone
    return encoder if isinstance(encoder, TransformerEncoder) else None
