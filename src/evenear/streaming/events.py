# SPDX-License-Identifier: Apache-2.0
"""What a listener is told while it listens.

Each event has two moments, in seconds from the start of the stream: `seconds`, which it is about,
and `known_seconds`, how much sound had been heard when it became known. Their difference is the
delay that users feel, apart from computing time. Both depend on the sound only, not on its chunks.
"""

from dataclasses import dataclass

from evenear.transcripts import Word
from evenear.units import Seconds

__all__ = ["Event", "Final", "Partial", "TurnEnded", "TurnStarted"]


@dataclass(frozen=True, kw_only=True)
class Partial:
    """What was said so far in the open turn. The next event of its channel may change every word.

    `seconds` is how much sound had been heard. There is at most one for each call, and none if no
    word changed.
    """

    seconds: Seconds
    known_seconds: Seconds
    words: tuple[Word, ...] = ()
    channel: int = 0

    @property
    def text(self) -> str:
        """The words, with spaces between them."""
        return _text(self.words)


@dataclass(frozen=True, kw_only=True)
class Final:
    """Words, at least one, that will not change any more nor be repeated by later events.

    `seconds` is the end of the last word.
    """

    seconds: Seconds
    known_seconds: Seconds
    words: tuple[Word, ...] = ()
    channel: int = 0

    @property
    def text(self) -> str:
        """The words, with spaces between them."""
        return _text(self.words)


@dataclass(frozen=True, kw_only=True)
class TurnStarted:
    """Someone began to speak. `seconds` is when; it has no words yet."""

    seconds: Seconds
    known_seconds: Seconds
    words: tuple[Word, ...] = ()
    channel: int = 0


@dataclass(frozen=True, kw_only=True)
class TurnEnded:
    """Whoever spoke is done. `seconds` is when; the words were in the `Final`s of the turn."""

    seconds: Seconds
    known_seconds: Seconds
    words: tuple[Word, ...] = ()
    channel: int = 0


Event = Partial | Final | TurnStarted | TurnEnded


def _text(words: tuple[Word, ...]) -> str:
    return " ".join(word.text for word in words)
