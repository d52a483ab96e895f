# SPDX-License-Identifier: Apache-2.0
"""The page shows every turn and word, shades overlaps, and loads nothing."""

import numpy as np

from evenear.streaming.twotalkers.page import conversation_page
from evenear.transcripts import Segment, Word


def segment(text: str, start: float, end: float, channel: int) -> Segment:
    word = Word(text=text, start_seconds=start, end_seconds=end)
    return Segment(
        session_id="m",
        speaker=f"speaker-{channel + 1}",
        start_seconds=start,
        end_seconds=end,
        text=text,
        words=(word,),
        channel=channel,
    )


TURNS = [segment("HELLO", 0.2, 2.0, 0), segment("<THERE>", 1.5, 3.0, 1)]


def test_turns_words_and_overlaps_are_shown():
    page = conversation_page("talk", np.zeros(48_000, np.float32), TURNS)
    assert page.count("HELLO") >= 2
    assert "&lt;THERE&gt;" in page
    assert "<THERE>" not in page
    assert page.count('class="overlap"') == 1
    assert "speaker-2" in page
    assert "http" not in page


def test_references_are_shown_beside_if_they_are_known():
    plain = conversation_page("talk", np.zeros(16_000, np.float32), TURNS)
    both = conversation_page("talk", np.zeros(16_000, np.float32), TURNS, TURNS)
    assert "said, channel 1" not in plain
    assert "said, channel 1" in both


def test_a_silent_recording_has_a_page():
    assert "<svg" in conversation_page("nothing", np.zeros(0, np.float32), [])
