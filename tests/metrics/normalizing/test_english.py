# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenear.metrics.normalizing.english import (
    whisper_style,
    without_contractions,
    without_fillers,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I won't", "I will not"),
        ("DON'T", "DO NOT"),
        ("they're, we've, I'd", "they are, we have, I would"),
        ("it's John's", "it is John's"),
        ("can't cannot", "can not can not"),
        ("Mr. Smith y'all", "Mister Smith you all"),
        ("gonna", "going to"),
        ("rock 'n' roll", "rock 'n' roll"),
        ("o'clock", "o'clock"),
    ],
)
def test_contractions_are_written_out(text, expected):
    assert without_contractions(text) == expected


def test_fillers_vanish_and_words_that_hold_them_stay():
    assert without_fillers("Um, the hummer uh mmm left").split() == ["the", "hummer", "left"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The colour [laughs] was grey.", "the color was gray"),
        ("Ten thousand dollars", "$10,000"),
        ("twenty-five percent", "25%"),
        ("We're travelling, um, to the theatre", "we are traveling to the theater"),
        ("Café", "cafe"),
        ("He realised it (quietly)", "he realized it"),
        ("three point five", "3.5"),
        ("dr. who's here", "doctor who is here"),
        ("She said 'no sir'", "she said no sir"),
        ("one of them", "1 of them"),
        ("he's been", "he has been"),
    ],
)
def test_two_ways_of_writing_are_one_after_whispers_steps(one, other):
    assert whisper_style(one) == whisper_style(other)
    assert whisper_style(one) == whisper_style(one.upper())


def test_words_that_only_look_british_stay():
    text = "our pours hours wise promise surprise licked acre"
    assert whisper_style(text) == text


@given(st.text(max_size=60))
def test_what_comes_out_is_lower_case_and_single_spaced(text):
    found = whisper_style(text)
    assert found == " ".join(found.split())
    assert not set(found) & set("[]()!?;\"'")
