# SPDX-License-Identifier: Apache-2.0
"""What a recognizer makes of some sound, and what of it may not depend on how it was fed."""

import numpy as np
import pytest

from evenear.streaming import Final, Partial, Recognizer

__all__ = ["assert_same", "confidences", "hear", "lasting", "lasting_words"]


def hear(recognizer: Recognizer, samples, cuts=(), sample_rate=16_000) -> list:
    stream = recognizer.stream(sample_rate)
    events = [e for part in np.split(samples, cuts) for e in stream.accept(part)]
    return events + stream.finish()


def lasting(events: list) -> list:
    """What does not depend on when one asks: all but partials, confidences rounded."""
    return [
        (
            type(e).__name__,
            round(e.seconds, 6),
            round(e.known_seconds, 6),
            lasting_words(e.words),
        )
        for e in events
        if not isinstance(e, Partial)
    ]


def lasting_words(words) -> list:
    return [(w.text, round(w.start_seconds, 6), round(w.end_seconds, 6)) for w in words]


def confidences(events: list) -> list[float]:
    return [w.confidence for e in events if isinstance(e, Final) for w in e.words]


def assert_same(first: list, second: list) -> None:
    assert lasting(first) == lasting(second)
    assert confidences(first) == pytest.approx(confidences(second), abs=1e-4)
