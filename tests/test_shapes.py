# SPDX-License-Identifier: Apache-2.0
"""Sizes are few, hold what they must and waste little."""

from hypothesis import given
from hypothesis import strategies as st

from evenear.shapes import few_sizes


@given(st.integers(0, 10**6), st.integers(1, 4096))
def test_a_size_holds_what_it_must_and_wastes_an_eighth_at_most(size, least):
    padded = few_sizes(size, least)
    assert size <= padded
    assert padded - size < max(least, size / 8 + 1)
    assert padded % least == 0 or padded > 8 * least


@given(st.integers(0, 10**6))
def test_a_size_stays_itself(size):
    assert few_sizes(few_sizes(size)) == few_sizes(size)


def test_there_are_eight_sizes_between_powers_of_two():
    assert len({few_sizes(n) for n in range(1, 2049)}) == 8 + 8 * 5
