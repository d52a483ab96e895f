# SPDX-License-Identifier: Apache-2.0
import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.audit.report.rendering.scales import gap_scale, rate_scale

GAPS = st.lists(st.one_of(st.none(), st.floats(-1, 1e6)), max_size=20)


@given(GAPS, st.floats(-0.99, 40), st.floats(-0.99, 40))
@settings(deadline=None)
def test_larger_gaps_never_lie_further_left(gaps, first, second):
    scale = gap_scale(gaps)
    low, high = sorted((first, second))
    assert 0 <= scale.place(low) <= scale.place(high) <= 100


@given(GAPS)
@settings(deadline=None)
def test_no_gap_is_always_on_the_axis_and_ticks_leave_room_for_labels(gaps):
    scale = gap_scale(gaps)
    places = [tick.place for tick in scale.ticks]
    assert 0.0 in [tick.value for tick in scale.ticks]
    assert all(0 <= place <= 100 for place in places)
    assert all(after - before >= 14 for before, after in itertools.pairwise(places))


def test_half_and_twice_the_errors_lie_equally_far_from_no_gap():
    scale = gap_scale([-0.5, 1.0])
    zero = scale.place(0.0)
    assert zero - scale.place(-0.5) == pytest.approx(scale.place(1.0) - zero, abs=0.02)


def test_what_lies_beyond_the_axis_is_told():
    scale = gap_scale([-0.2, 0.3])
    assert scale.holds(0.3)
    assert not scale.holds(-1.0)
    assert scale.place(-1.0) == 0.0
    assert not scale.holds(math.inf)
    assert scale.place(math.inf) == 100.0


@given(st.lists(st.one_of(st.none(), st.floats(0, 3)), max_size=10))
@settings(deadline=None)
def test_rates_start_at_zero_and_fit(rates):
    scale = rate_scale(rates)
    assert scale.place(0.0) == 0.0
    assert all(scale.holds(rate) for rate in rates if rate is not None)
    assert 2 <= len(scale.ticks) <= 12
