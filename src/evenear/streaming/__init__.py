# SPDX-License-Identifier: Apache-2.0
"""Recognizing speech while it is spoken: a recognizer (weights), streams (listeners), events."""

from evenear.streaming.events import (
    EagerTurnEnd,
    Event,
    Final,
    Partial,
    TurnEnded,
    TurnResumed,
    TurnStarted,
)
from evenear.streaming.recognizer import Recognizer
from evenear.streaming.stream import Stream, StreamState
from evenear.streaming.turns import TurnConfig, TurnState

__all__ = [
    "EagerTurnEnd",
    "Event",
    "Final",
    "Partial",
    "Recognizer",
    "Stream",
    "StreamState",
    "TurnConfig",
    "TurnEnded",
    "TurnResumed",
    "TurnStarted",
    "TurnState",
]
