# SPDX-License-Identifier: Apache-2.0
"""A transcript has a segment for each turn, however many finals it came in."""

import pytest

from evenear.streaming import Final, Partial, TurnConfig, TurnEnded, TurnStarted
from evenear.streaming.segments import SegmentBuilder
from evenear.transcripts import Word

CONFIG = TurnConfig(endpoint_seconds=0.8, long_seconds=2.0, longest_seconds=4.0)


def final(*starts: float, channel: int = 0) -> Final:
    """Words of 0.2 s."""
    words = tuple(
        Word(text=f"w{start:g}", start_seconds=start, end_seconds=start + 0.2, confidence=0.5)
        for start in starts
    )
    end = words[-1].end_seconds
    return Final(seconds=end, known_seconds=end + 1, words=words, channel=channel)


def ended(channel: int = 0) -> TurnEnded:
    return TurnEnded(seconds=0.0, known_seconds=0.0, channel=channel)


def texts(events: list, config: TurnConfig = CONFIG) -> list[str]:
    return [segment.text for segment in SegmentBuilder(config, "talk").accept(events)]


def test_finals_of_a_turn_are_one_segment():
    events = [
        TurnStarted(seconds=0.0, known_seconds=0.0),
        final(0.0),
        Partial(seconds=0.0, known_seconds=0.0),
        final(0.3, 0.6),
        ended(),
        final(1.0),
        ended(),
    ]
    (first, second) = SegmentBuilder(CONFIG, "talk", "ann").accept(events)
    assert (first.text, second.text) == ("w0 w0.3 w0.6", "w1")
    assert (first.start_seconds, first.end_seconds) == pytest.approx((0.0, 0.8))
    assert (first.session_id, first.speaker, first.confidence) == ("talk", "ann", 0.5)
    assert len(first.words) == 3


def test_a_long_turn_is_parted_at_shorter_and_shorter_pauses():
    starts = [*(0.25 * k for k in range(12)), 3.4, 3.65]
    assert [len(t.split()) for t in texts([final(*starts), ended()])] == [12, 2]
    assert [len(t.split()) for t in texts([final(*starts[:8], 2.4), ended()])] == [9]


def test_without_any_pause_a_segment_is_parted_at_the_longest_length():
    events = [final(0.2 * k) for k in range(50)]
    assert [len(t.split()) for t in texts([*events, ended()])] == [20, 20, 10]


def test_channels_have_segments_of_their_own():
    events = [final(0.0), final(0.1, channel=1), final(0.3), ended(channel=1), ended()]
    segments = list(SegmentBuilder(CONFIG, "talk").accept(events))
    assert [(s.channel, s.text) for s in segments] == [(1, "w0.1"), (0, "w0 w0.3")]


def test_an_open_turn_waits_for_its_end():
    builder = SegmentBuilder(CONFIG, "talk")
    assert list(builder.accept([final(0.0)])) == []
    assert [s.text for s in builder.accept([ended()])] == ["w0"]
