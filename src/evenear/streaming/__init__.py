# SPDX-License-Identifier: Apache-2.0
"""Recognizing speech while it is spoken: a recognizer (weights), streams (listeners), events."""

from evenear.streaming.events import Event, Final, Partial, TurnEnded, TurnStarted
from evenear.streaming.recognizer import Recognizer, Stream
from evenear.streaming.turns import TurnConfig

__all__ = [
    "Event",
    "Final",
    "Partial",
    "Recognizer",
    "Stream",
    "TurnConfig",
    "TurnEnded",
    "TurnStarted",
]
