# SPDX-License-Identifier: Apache-2.0
"""Turns of a channel begin, may be over, go on or end; and eager ends change nothing else."""

import pytest

from evenear.errors import ConfigError
from evenear.streaming.events import EagerTurnEnd, Final, TurnEnded, TurnResumed
from evenear.streaming.twotalkers.recognizer import TwoTalkerRecognizer
from laws import random_sound
from two_talkers import tiny_two_talkers

SOUND_N = random_sound(6.0, seed=5)


def told(*, eager_seconds: float | None = None, chunk: int = 96_000) -> list:
    ears = TwoTalkerRecognizer(
        tiny_two_talkers(), endpoint_seconds=0.5, eager_seconds=eager_seconds
    )
    stream, events = ears.stream(), []
    for start in range(0, len(SOUND_N), chunk):
        events += stream.accept(SOUND_N[start : start + chunk])
    return events + stream.finish()


def plain(events) -> list:
    return [
        (e.channel, e.seconds, e.known_seconds, e.text if isinstance(e, Final) else "")
        for e in events
        if isinstance(e, Final | TurnEnded)
    ]


def test_eager_ends_are_resumed_or_followed_by_the_end():
    events = told(eager_seconds=0.1)
    assert any(isinstance(event, EagerTurnEnd) for event in events)
    for channel in range(2):
        is_ending = False
        for event in (e for e in events if e.channel == channel):
            if isinstance(event, EagerTurnEnd):
                assert not is_ending
                is_ending = True
            elif isinstance(event, TurnResumed):
                assert is_ending
                is_ending = False
            elif isinstance(event, TurnEnded):
                is_ending = False


def test_eager_ends_change_nothing_else_and_come_before_the_end():
    eager = told(eager_seconds=0.1)
    assert plain(eager) == plain(told())
    ends = [e.known_seconds for e in eager if isinstance(e, EagerTurnEnd)]
    assert min(ends) < min(e.known_seconds for e in eager if isinstance(e, TurnEnded))


@pytest.mark.parametrize("chunk", [1_111, 16_000])
def test_chunks_change_no_eager_end(chunk):
    def eager(events) -> list:
        kinds = (EagerTurnEnd, TurnResumed)
        return [
            (type(e), e.channel, round(e.seconds, 6), round(e.known_seconds, 6))
            for e in events
            if isinstance(e, kinds)
        ]

    assert eager(told(eager_seconds=0.1, chunk=chunk)) == eager(told(eager_seconds=0.1))


def test_an_eager_end_after_the_end_is_refused():
    with pytest.raises(ConfigError, match="before the end"):
        TwoTalkerRecognizer(tiny_two_talkers(), endpoint_seconds=0.3, eager_seconds=0.3)
