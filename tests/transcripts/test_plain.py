# SPDX-License-Identifier: Apache-2.0
"""Plain text keeps the words and nothing else."""

from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.transcripts.plain import format_text, parse_text
from evenear.transcripts.segments import Segment, one_line
from transcripts.strategies import by_session_and_start, segments


@settings(deadline=None, max_examples=60)
@given(st.lists(segments(), max_size=5))
def test_the_texts_come_back_in_order(some):
    wanted = [one_line(one.text) for one in by_session_and_start(some) if one.text.split()]
    assert [one.text for one in parse_text(format_text(some), "s")] == wanted


def test_lines_become_segments_without_times():
    assert parse_text("one  two\n\n three", "s") == [
        Segment(session_id="s", speaker="", start_seconds=0, end_seconds=0, text=text)
        for text in ("one two", "three")
    ]


def test_no_segments_are_an_empty_file():
    assert format_text([]) == ""
    assert parse_text("", "s") == []
