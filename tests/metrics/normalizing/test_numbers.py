# SPDX-License-Identifier: Apache-2.0
"""Numbers in words against numbers in digits, spelled by a plain speller."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenear.metrics.normalizing.numbers import with_digits

UNITS = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
SCALES = ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))


def spelled(number: int, *, joined: str = " and ") -> str:
    """A whole number in words."""
    if number < 20:
        return UNITS[number]
    if number < 100:
        tens = TENS[number // 10 - 2]
        return f"{tens}-{UNITS[number % 10]}" if number % 10 else tens
    for size, name in SCALES:
        if number >= size:
            head, rest = divmod(number, size)
            tail = (joined if rest < 100 else " ") + spelled(rest, joined=joined) if rest else ""
            return f"{spelled(head, joined=joined)} {name}{tail}"
    raise AssertionError


@given(st.integers(0, 10**12 - 1), st.sampled_from([" and ", " "]))
def test_numbers_in_words_become_their_digits(number, joined):
    text = spelled(number, joined=joined)
    assert with_digits(text) == str(number)
    assert with_digits(f"it was {text.upper()}, or so") == f"it was {number}, or so"


@given(st.integers(1, 10**9))
def test_digits_with_commas_lose_them_and_plain_ones_stay(number):
    assert with_digits(f"{number:,}") == with_digits(str(number)) == str(number)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nineteen ninety five", "1995"),
        ("in twenty twenty we", "in 2020 we"),
        ("three point one four", "3.14"),
        ("one two three", "1 2 3"),
        ("one and two", "1 and 2"),
        ("the twenty first of May", "the 21st of May"),
        ("twelfth", "12th"),
        ("a hundred and five", "105"),
        ("2.5 million", "2500000"),
        ("10 thousand", "10000"),
        ("$10,000", "10000 dollars"),
        ("£1", "1 pound"),
        ("50 %", "50 percent"),
        ("10:15", "1015"),
        ("well-known, someone often won", "well-known, someone often won"),
        ("hundreds of tons", "hundreds of tons"),
        ("3.5 and 1st", "3.5 and 1st"),
        ("", ""),
    ],
)
def test_common_ways_of_writing(text, expected):
    assert with_digits(text) == expected


@given(st.text(alphabet="abcxyz '.!?\n123", max_size=40))
def test_texts_without_number_words_stay_as_they_are(text):
    assert with_digits(text) == text


def test_a_sign_of_money_belongs_to_the_number_right_behind_it():
    assert with_digits("$1 and $20.50") == "1 dollar and 20.50 dollars"
    assert with_digits("$$1, cost $") == "$$1, cost $"
