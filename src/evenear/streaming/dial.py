# SPDX-License-Identifier: Apache-2.0
"""The compute dial of a recognizer: ask for a share of the computation, learn what was spent.

Encoders without gates have no dial: they compute all, whatever they hear. All is what `compute=1`
computes: with right context, each block for every place that it has in a window. (A dial without a
speech gate counts as if there were no right context: its streams hear each block once.)

Legend: B streams, T frames, D joiner width.
"""

from typing import Any

from torch import Tensor

from evenear.encoders.base import Encoder
from evenear.encoders.gated.encoder import GatedTransformer
from evenear.encoders.gated.state import GatedState
from evenear.encoders.rightcontext import RightState
from evenear.encoders.sparing import SparingState
from evenear.errors import ConfigError
from evenear.models.transducer import Transducer

__all__ = ["ComputeMeter", "asked", "finished", "share_spent", "unhurried_share"]


class ComputeMeter:
    """Multiply-accumulates of encoders, added up over streams."""

    def __init__(self) -> None:
        self.spent = 0.0
        self.dense = 0.0

    def add(self, encoder: Encoder, state: Any) -> None:
        """Add what a stream has spent. Without gates every stream spends all."""
        if isinstance(state, SparingState):
            self.spent += float(state.spent_B.sum())
            self.dense += float(state.full_B.sum())
        elif isinstance(encoder, GatedTransformer) and isinstance(state, GatedState):
            self.spent += float(state.spent_B.sum())
            self.dense += float(state.dense_B.sum())
        elif isinstance(encoder, GatedTransformer) and isinstance(state, RightState):
            dense = encoder.dense_total(max(int(phase.heard_B) for phase in state.phases))
            self.spent, self.dense = self.spent + dense, self.dense + dense

    @property
    def share(self) -> float:
        """The share of the dense encoder's multiply-accumulates that was spent."""
        return self.spent / self.dense if self.dense else 1.0


def asked(encoder: Encoder, state: Any, compute: float) -> Any:
    """The state of a stream that asks for this share of the computation.

    Raises:
        ConfigError: The share is out of range, or the encoder has no dial and less than all is
            asked for.
    """
    if isinstance(encoder, GatedTransformer):
        return encoder.ask(state, compute)
    if compute != 1.0:
        raise ConfigError(
            f"This model has no compute dial, so it cannot compute a share of {compute}.",
            hint="Take a model with gates, or leave compute at 1.",
        )
    return state


def share_spent(encoder: Encoder, state: Any) -> float:
    """The share of all work that one stream has spent so far."""
    if isinstance(state, SparingState) and state.full_B > 0:
        return float(state.spent_B / state.full_B)
    if isinstance(state, SparingState):
        return float(state.gated.asked_B)
    if isinstance(encoder, GatedTransformer) and isinstance(state, GatedState):
        return float(encoder.spent(state))
    return 1.0


def unhurried_share(encoder: Encoder) -> float:
    """The share for who can wait: all speech is heard once, in the longest windows of the dial.

    1 where there is no speech gate.
    """
    if not isinstance(encoder, GatedTransformer) or encoder.speech is None:
        return 1.0
    return min(plan.share for plan in encoder.speech.plans if plan.gates == 1.0)


def finished(model: Transducer, state: Any) -> tuple[Tensor, Any]:
    """What the end of a stream completes, projected (B, T, D); and a state that knows its cost."""
    if not isinstance(model.encoder, GatedTransformer):
        return model.flush(state), state
    encoded_BTD, state = model.encoder.finish(state)
    return model.joiner.encoder_proj(encoded_BTD), state
