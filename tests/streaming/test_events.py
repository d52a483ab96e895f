# SPDX-License-Identifier: Apache-2.0
"""Events are plain values."""

import dataclasses

import pytest

from evenear.streaming import Final, Partial, TurnEnded, TurnStarted
from evenear.transcripts import Word

WORDS = tuple(
    Word(text=text, start_seconds=start, end_seconds=start + 0.3)
    for text, start in (("GOOD", 0.1), ("MORNING", 0.5))
)


@pytest.mark.parametrize("kind", [Partial, Final])
def test_text_is_the_words_with_spaces(kind):
    assert kind(seconds=0.8, known_seconds=0.9, words=WORDS).text == "GOOD MORNING"
    assert kind(seconds=0.8, known_seconds=0.9).text == ""


@pytest.mark.parametrize("kind", [Partial, Final, TurnStarted, TurnEnded])
def test_events_are_frozen_and_compare_by_value(kind):
    event = kind(seconds=0.8, known_seconds=0.9, words=WORDS)
    assert event == kind(seconds=0.8, known_seconds=0.9, words=WORDS, channel=0)
    assert event != kind(seconds=0.8, known_seconds=0.9, words=WORDS, channel=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.seconds = 1.0
