# SPDX-License-Identifier: Apache-2.0
"""What a listener is told while it listens.

Each event has two moments, in seconds from the start of the stream: `seconds`, which it is about,
and `known_seconds`, how much sound had been heard when it became known. Their difference is the
delay that users feel, apart from computing time. Both depend on the sound only, not on its chunks.
"""

from dataclasses import dataclass

from evenear.transcripts import Word
from evenear.units import Seconds

__all__ = [
    "EagerTurnEnd",
    "Event",
    "Final",
    "Partial",
    "TurnEnded",
    "TurnResumed",
    "TurnStarted",
]


@dataclass(frozen=True, kw_only=True)
class Partial:
    """The open words of the turn. The next event of its channel may change every one of them.

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

    A turn has as many as it needs for its words to become final soon. `seconds` is the end of the
    last word.
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
class EagerTurnEnd:
    """Whoever spoke may be done: the pause is long enough to begin an answer that can be withdrawn.

    Its words are those open; they may still change. Either `TurnResumed` or `TurnEnded` follows.
    """

    seconds: Seconds
    known_seconds: Seconds
    words: tuple[Word, ...] = ()
    channel: int = 0
    confidence: float | None = None
    """How sure it is that the turn is over; None: it follows from a pause only."""

    @property
    def text(self) -> str:
        """The words, with spaces between them."""
        return _text(self.words)


@dataclass(frozen=True, kw_only=True)
class TurnResumed:
    """Speech went on after an `EagerTurnEnd`, which is withdrawn. `seconds` is when."""

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
    confidence: float | None = None
    """How sure the model was when it said so; None: it follows from a pause or the end."""


Event = Partial | Final | TurnStarted | EagerTurnEnd | TurnResumed | TurnEnded


def _text(words: tuple[Word, ...]) -> str:
    return " ".join(word.text for word in words)
