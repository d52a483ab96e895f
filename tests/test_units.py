# SPDX-License-Identifier: Apache-2.0
"""Frames and seconds agree with each other, whatever the clock."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from evenear.units import SAMPLE_RATE, FrameClock

clocks = st.builds(
    FrameClock,
    sample_rate=st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000]),
    hop=st.integers(1, 1_000),
    stride=st.integers(1, 12),
)


def test_three_hops_of_ten_milliseconds_are_thirty():
    clock = FrameClock(stride=3)
    assert (SAMPLE_RATE, clock.frame_samples, clock.frame_seconds) == (16_000, 480, 0.03)


@given(clocks, st.integers(0, 10**7))
def test_a_frame_begins_in_itself(clock, frame):
    assert clock.frame_at(clock.seconds_at(frame)) == frame


@given(clocks, st.integers(0, 10**6))
def test_seconds_are_the_exact_ratio_rounded_once(clock, frame):
    exact = Fraction(frame * clock.hop * clock.stride, clock.sample_rate)
    assert clock.seconds_at(frame) == float(exact)


@given(clocks, st.integers(0, 10**8))
def test_every_sample_lies_in_the_frame_that_spans_it(clock, sample):
    frame = clock.frame_at(sample / clock.sample_rate)
    assert frame * clock.frame_samples <= sample < (frame + 1) * clock.frame_samples


@pytest.mark.parametrize("field", ["sample_rate", "hop", "stride"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_clock_that_stands_still_is_refused(field, value):
    with pytest.raises(ValidationError, match="greater than 0"):
        FrameClock(**{field: value})
