# SPDX-License-Identifier: Apache-2.0
"""What a segment may be, and how moments are rounded."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.errors import TranscriptError
from evenear.transcripts.segments import (
    Segment,
    Word,
    at_line,
    in_order,
    milliseconds,
    one_line,
    only_session,
)
from transcripts.strategies import by_session_and_start, segments, spans


def segment(**changes):
    values = {"session_id": "s", "speaker": "A", "start_seconds": 1, "end_seconds": 2, "text": "hi"}
    return Segment(**(values | changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"start_seconds": 3.0}, r"end no earlier than it starts, got 3\.0 s to 2 s"),
        ({"start_seconds": -0.1}, "start at 0 s or later"),
        ({"end_seconds": float("inf")}, "got 1 s to inf s"),
        ({"end_seconds": float("nan")}, "got 1 s to nan s"),
        ({"start_seconds": float("nan")}, "got nan s"),
        ({"confidence": 1.5}, r"confidence from 0 to 1, got 1\.5"),
        ({"confidence": float("nan")}, "confidence"),
        ({"channel": -1}, "channel from 0 on, got -1"),
    ],
)
def test_a_segment_that_cannot_be_is_refused(changes, reason):
    with pytest.raises(TranscriptError, match=reason):
        segment(**changes)


@pytest.mark.parametrize("text", ["", " ", "two words", "line\n", "no\xa0break"])
def test_a_word_is_one_word(text):
    with pytest.raises(TranscriptError, match="without white space"):
        Word(text=text, start_seconds=0, end_seconds=1)


def test_a_word_that_ends_before_it_starts_is_refused():
    with pytest.raises(TranscriptError, match="Word 'hi' must start at 0 s or later"):
        Word(text="hi", start_seconds=1, end_seconds=0.5)


@settings(deadline=None)
@given(spans)
def test_rounding_never_makes_an_end_fall_before_its_start(span):
    start, end = span
    assert milliseconds(start) <= milliseconds(end)
    assert abs(milliseconds(start) - 1000 * start) <= 0.5 + 1e-6


@settings(deadline=None, max_examples=50)
@given(st.lists(segments(), max_size=6))
def test_order_is_by_session_then_by_start(some):
    assert in_order(some) == by_session_and_start(some)


def test_white_space_of_every_kind_becomes_one_space():
    assert one_line("\ta \r\n\x85\u2028 b\u3000") == "a b"


def test_two_sessions_are_named_when_only_one_fits():
    with pytest.raises(TranscriptError, match=r"one session, got 2: 'a', 'b'.*seglst"):
        only_session([segment(session_id="b"), segment(session_id="a")], "srt")


def test_a_mistake_says_its_line_and_keeps_its_hint():
    with pytest.raises(TranscriptError) as caught, at_line(7):
        raise TranscriptError("what came", hint="what to do")
    assert (caught.value.message, caught.value.hint) == ("Line 7: what came", "what to do")
