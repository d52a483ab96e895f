# SPDX-License-Identifier: Apache-2.0
"""Turns follow who speaks, and every word goes to one of them.

Dimensions: C channels, G groups.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.config import replace
from evenear.errors import ConfigError
from evenear.streaming.events import (
    EagerTurnEnd,
    Final,
    Partial,
    TurnEnded,
    TurnResumed,
    TurnStarted,
)
from evenear.streaming.twotalkers.attribution import Attribution, AttributionConfig
from evenear.transcripts import Word

GROUP = 0.1
QUICK = AttributionConfig(end_seconds=0.3, late_seconds=0.0)


def word(text: str, start: float, end: float) -> Word:
    return Word(text=text, start_seconds=start, end_seconds=end, confidence=0.9)


BEGUN = TurnStarted(seconds=0.1, known_seconds=0.2)
"""The recognizer has words that are not final."""


def final(known: float, *words: Word) -> Final:
    return Final(seconds=words[-1].end_seconds, known_seconds=known, words=words)


def events_of(states, told=(), config=QUICK, *, end: float | None = None) -> list:
    """What comes of groups, a letter each (`.`, `1`, `2`, `b`), and of a recognizer's events."""
    voices_GC = [
        {"1": (1.0, 0.0), "2": (0.0, 1.0), "b": (0.7, 0.3), ".": (0.0, 0.0)}[x] for x in states
    ]
    attribution = Attribution(
        config, lambda first: np.array(voices_GC[first:]).reshape(-1, 2).T, group_seconds=GROUP
    )
    events, waiting = [], list(told)
    for g, letter in enumerate(states):
        known = (g + 1) * GROUP
        while waiting and waiting[0].known_seconds < known - 1e-9:
            events += attribution.heard(waiting.pop(0))
        events += attribution.group((letter in "1b", letter in "2b"), known)
    for event in waiting:
        events += attribution.heard(event)
    return events + attribution.finish(len(states) * GROUP if end is None else end)


def brief(events) -> list:
    return [
        (type(e).__name__, e.channel, round(e.seconds, 3), round(e.known_seconds, 3))
        for e in events
    ]


def texts(events, channel: int) -> list[str]:
    return [e.text for e in events if isinstance(e, Final) and e.channel == channel]


def test_turns_begin_and_end_with_their_talkers():
    assert brief(events_of("..111b222....")) == [
        ("TurnStarted", 0, 0.2, 0.4),
        ("TurnStarted", 1, 0.5, 0.7),
        ("TurnEnded", 0, 0.6, 0.9),
        ("TurnEnded", 1, 0.9, 1.2),
    ]


def test_a_moment_is_no_turn_and_a_short_pause_ends_none():
    assert brief(events_of("..1....")) == []
    found = brief(events_of("111..111..."))
    assert [kind for kind, *_ in found] == ["TurnStarted", "TurnEnded"]
    assert found[1][2:] == (0.8, 1.1)


def test_groups_before_a_voice_was_known_belong_to_its_turn():
    attribution = Attribution(QUICK, lambda first: np.zeros((2, 0)), group_seconds=GROUP)
    assert attribution.group(None, 0.1) == []
    (started,) = attribution.group((False, True), 0.2, before=1)
    assert brief([started]) == [("TurnStarted", 1, 0.0, 0.2)]
    assert attribution.group((False, False), 0.3) == attribution.group(None, 0.4) == []
    events = attribution.group((True, False), 0.5, before=1)
    assert brief(events) == [("TurnStarted", 0, 0.3, 0.5), ("TurnEnded", 1, 0.2, 0.5)]


def test_the_end_of_a_stream_ends_turns():
    assert brief(events_of("..111")) == [("TurnStarted", 0, 0.2, 0.4), ("TurnEnded", 0, 0.5, 0.5)]
    assert brief(events_of("..111", end=0.45))[-1] == ("TurnEnded", 0, 0.45, 0.45)


def test_words_go_to_whoever_speaks_and_a_turn_has_one_final():
    told = [
        TurnStarted(seconds=0.1, known_seconds=0.5),
        final(2.5, word("A", 0.1, 0.3), word("B", 0.6, 0.7), word("C", 0.9, 1.0)),
        TurnEnded(seconds=1.0, known_seconds=2.5),
    ]
    events = events_of("11112222222" + 20 * ".", told)
    assert texts(events, 0) == ["A"]
    assert texts(events, 1) == ["B C"]
    ends = [e.known_seconds for e in events if isinstance(e, TurnEnded)]
    finals = [e.known_seconds for e in events if isinstance(e, Final)]
    assert max(ends) < min(finals), "turns are over before their words are final"


def test_where_both_speak_the_louder_gets_the_word():
    told = [BEGUN, final(2.5, word("A", 0.1, 0.3), word("B", 0.6, 0.9), word("C", 1.3, 1.5))]
    events = events_of("11111bbbbbb22222" + 20 * ".", told)
    assert texts(events, 0) == ["A B"]
    assert texts(events, 1) == ["C"]


def test_to_change_channels_needs_evidence():
    told = [BEGUN, final(2.5, word("A", 0.1, 0.3), word("B", 0.5, 0.6), word("C", 0.7, 1.0))]
    states = "11111" + "2" + "1111" + 20 * "."
    assert texts(events_of(states, told), 0) == ["A B C"]
    easy = replace(QUICK, switch_cost=0.1)
    assert texts(events_of(states, told, easy), 0) == ["A C"]


def test_a_word_that_nobody_spoke_makes_a_turn_of_its_own():
    events = events_of(30 * ".", [final(1.0, word("A", 0.2, 0.4))])
    assert [type(e) for e in events] == [TurnStarted, TurnEnded, Final]
    assert texts(events, 0) == ["A"]


def test_open_words_are_shown_on_their_channels_and_withdrawn():
    told = [
        TurnStarted(seconds=0.1, known_seconds=0.5),
        Partial(
            seconds=0.8,
            known_seconds=0.8,
            words=(word("A", 0.1, 0.3), word("B", 0.5, 0.8)),
        ),
        TurnEnded(seconds=0.8, known_seconds=1.9),
    ]
    events = events_of("11112222" + 20 * ".", told)
    shown = [(e.channel, e.text) for e in events if isinstance(e, Partial)]
    assert shown == [(0, "A"), (1, "B"), (0, ""), (1, "")]
    assert not texts(events, 0) + texts(events, 1)


def test_a_turn_that_may_be_over_goes_on_or_not():
    config = replace(QUICK, end_seconds=0.4, eager_seconds=0.2)
    found = brief(events_of("1111..11....", config=config))
    assert [kind for kind, *_ in found] == [
        "TurnStarted",
        "EagerTurnEnd",
        "TurnResumed",
        "EagerTurnEnd",
        "TurnEnded",
    ]
    assert found[1][2:] == (0.4, 0.6)
    with pytest.raises(ConfigError, match="must come before"):
        replace(QUICK, eager_seconds=0.3)


def test_an_endless_turn_hands_out_its_words():
    told = [final(k + 0.5, word(f"W{k}", float(k), k + 0.4)) for k in range(1, 100)]
    events = events_of(1000 * "1", told)
    finals = [e for e in events if isinstance(e, Final)]
    assert len(finals) >= 3
    assert " ".join(e.text for e in finals).split() == [f"W{k}" for k in range(1, 100)]


letters = st.lists(st.tuples(st.sampled_from(".12b"), st.integers(1, 12)), min_size=1, max_size=12)
spans = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 4), st.booleans()), max_size=20)


@settings(deadline=None, max_examples=60)
@given(letters, spans)
def test_no_word_is_lost_or_given_twice_and_turns_of_a_channel_follow_each_other(runs, words):
    states = "".join(letter * count for letter, count in runs)
    told, said, now = [], [], 0.0
    for number, (pause, length, is_last) in enumerate(words):
        start = now + pause * GROUP
        now = start + length * GROUP
        said.append(word(f"W{number}", start, now))
        if is_last or number == len(words) - 1:
            told.append(final(now + 0.7, *said))
            said = []
    events = events_of(states, told, end=max(now, len(states) * GROUP) + 1.0)
    given_words = [w.text for e in events if isinstance(e, Final) for w in e.words]
    assert sorted(given_words) == sorted(f"W{n}" for n in range(len(words)))
    for channel in range(2):
        own = [e for e in events if e.channel == channel]
        turns = [e for e in own if isinstance(e, TurnStarted | TurnEnded)]
        kinds = [type(e) for e in turns]
        assert kinds == [TurnStarted, TurnEnded] * (len(kinds) // 2)
        for e in own:
            if not isinstance(e, Partial | EagerTurnEnd | TurnResumed):
                assert e.seconds <= e.known_seconds + 1e-6
