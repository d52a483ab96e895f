# SPDX-License-Identifier: Apache-2.0
"""A segment: what one speaker said from one moment to another, with its words if they are known."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from evenear.errors import TranscriptError
from evenear.units import Seconds

__all__ = ["Segment", "Word", "at_line", "in_order", "milliseconds", "one_line", "only_session"]


@dataclass(frozen=True, kw_only=True)
class Word:
    """One word and when it was said.

    Attributes:
        text: The word, without white space.
        start_seconds: Its start, from the start of the session.
        end_seconds: Its end, not before its start.
        confidence: How probable the recognizer thinks it is, from 0 to 1; None if it does not say.

    Raises:
        TranscriptError: A value does not fit.
    """

    text: str
    start_seconds: Seconds
    end_seconds: Seconds
    confidence: float | None = None

    def __post_init__(self) -> None:
        name = f"Word {self.text!r}"
        if self.text.split() != [self.text]:
            raise TranscriptError(f"A word must be text without white space, got {self.text!r}.")
        _check_times(name, self.start_seconds, self.end_seconds)
        _check_confidence(name, self.confidence)


@dataclass(frozen=True, kw_only=True)
class Segment:
    """What one speaker said from one moment to another.

    Segments may overlap, in one channel too.

    Attributes:
        session_id: The recording, or the meeting, in which it was said.
        speaker: Who said it; "" if that is unknown.
        start_seconds: Its start, from the start of the session.
        end_seconds: Its end, not before its start.
        text: What was said, as it is to be read; "" if that is unknown.
        words: The words with their times; empty if those are unknown.
        channel: The output channel that heard it, from 0.
        confidence: How probable the recognizer thinks it is, from 0 to 1; None if it does not say.

    Raises:
        TranscriptError: A value does not fit.
    """

    session_id: str
    speaker: str
    start_seconds: Seconds
    end_seconds: Seconds
    text: str
    words: tuple[Word, ...] = ()
    channel: int = 0
    confidence: float | None = None

    def __post_init__(self) -> None:
        name = f"The segment of speaker {self.speaker!r} in session {self.session_id!r}"
        _check_times(name, self.start_seconds, self.end_seconds)
        _check_confidence(name, self.confidence)
        if self.channel < 0:
            raise TranscriptError(f"{name} must have a channel from 0 on, got {self.channel}.")


def milliseconds(seconds: Seconds) -> int:
    """Whole milliseconds. Rounding keeps the order of moments, so no end falls before its start."""
    return round(float(seconds) * 1000)


def one_line(text: str) -> str:
    """The text with each run of white space, line breaks too, as one space."""
    return " ".join(text.split())


def in_order(segments: Sequence[Segment]) -> list[Segment]:
    """The segments by session, as first seen, then by start."""
    sessions = {
        session: i for i, session in enumerate(dict.fromkeys(s.session_id for s in segments))
    }
    return sorted(segments, key=lambda s: (sessions[s.session_id], milliseconds(s.start_seconds)))


def only_session(segments: Sequence[Segment], form: str) -> None:
    """Refuse segments of several sessions where the format does not name them."""
    sessions = sorted({segment.session_id for segment in segments})
    if len(sessions) > 1:
        raise TranscriptError(
            f"A {form} file must be about one session, got {len(sessions)}: "
            f"{', '.join(repr(session) for session in sessions[:5])}.",
            hint="Write one file per session, or use seglst, which names them.",
        )


@contextmanager
def at_line(number: int) -> Iterator[None]:
    """Say on which line of a file the mistake is that is found inside this block."""
    try:
        yield
    except TranscriptError as error:
        raise TranscriptError(f"Line {number}: {error.message}", hint=error.hint) from None


def _check_times(name: str, start_seconds: Seconds, end_seconds: Seconds) -> None:
    if not (0 <= start_seconds <= end_seconds and math.isfinite(end_seconds)):
        raise TranscriptError(
            f"{name} must start at 0 s or later and end no earlier than it starts, "
            f"got {start_seconds} s to {end_seconds} s."
        )


def _check_confidence(name: str, confidence: float | None) -> None:
    if confidence is not None and not 0 <= confidence <= 1:
        raise TranscriptError(f"{name} must have a confidence from 0 to 1, got {confidence}.")
