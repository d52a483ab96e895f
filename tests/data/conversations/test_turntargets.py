# SPDX-License-Identifier: Apache-2.0
"""Turns become marked tokens, each end with the frame of its speech's end."""

import pytest

from evenear.data.conversations.mixtures import PlannedTurn
from evenear.data.conversations.turntargets import turn_targets
from evenear.units import FrameClock
from laws import tiny_tokenizer

CLOCK = FrameClock(hop=160, stride=6)  # 60 ms
RATE = 16_000


def turn(text: str, start: float, end: float, channel: int) -> PlannedTurn:
    return PlannedTurn(
        utterance_id=text,
        speaker=text,
        text=text,
        first_sample=0,
        num_samples=round((end - start) * RATE),
        start_sample=round(start * RATE),
        level_db=-20.0,
        channel=channel,
    )


TURNS = [
    turn("THE CAT", 0.5, 2.0, 0),
    turn("A DOG", 1.5, 3.0, 1),
    turn("THE MOON", 3.5, 4.5, 1),
    turn("ON THE HILL", 4.0, 6.0, 0),
]


def shown(marks: str, **more) -> list[str]:
    tokenizer = tiny_tokenizer()
    found = []
    for target in turn_targets(TURNS, tokenizer, CLOCK, marks, **more):
        assert len(target.tokens) == len(target.ends)
        parts = [tokenizer.piece(t) for t in target.tokens]
        found.append("".join(parts).replace("▁", " ").strip())
    return found


def test_marks_are_those_of_the_three_systems():
    assert shown("none") == ["THE CAT ON THE HILL", "A DOG THE MOON"]
    assert shown("between") == ["THE CAT<eot> ON THE HILL", "A DOG<eot> THE MOON"]
    assert shown("start-and-end") == [
        "<sot> THE CAT<eot><sot> ON THE HILL<eot>",
        "<sot> A DOG<eot><sot> THE MOON<eot>",
    ]


def test_the_mixtures_first_start_and_last_end_can_be_left_out():
    assert shown("start-and-end", trim_edges=True) == [
        "THE CAT<eot><sot> ON THE HILL",
        "<sot> A DOG<eot><sot> THE MOON<eot>",
    ]


@pytest.mark.parametrize(("marks", "ends"), [("between", [33]), ("start-and-end", [33, 100])])
def test_ends_know_the_frame_in_which_speech_ends(marks, ends):
    tokenizer = tiny_tokenizer()
    target = turn_targets(TURNS, tokenizer, CLOCK, marks)[0]
    pairs = zip(target.tokens, target.ends, strict=True)
    assert [end for token, end in pairs if token == tokenizer.eot_id] == ends
    assert all(
        end == -1
        for token, end in zip(target.tokens, target.ends, strict=True)
        if token != tokenizer.eot_id
    )


def test_a_channel_without_turns_has_nothing_to_say():
    targets = turn_targets(TURNS[:1], tiny_tokenizer(), CLOCK, "start-and-end")
    assert targets[1] == ((), ())
    assert turn_targets([], tiny_tokenizer(), CLOCK, "between")[0] == ((), ())
