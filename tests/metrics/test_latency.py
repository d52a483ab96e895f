# SPDX-License-Identifier: Apache-2.0
"""Computing times add; their rates and percentiles do not."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenear.metrics.latency import ComputeTime

seconds = st.floats(0, 1e3)
times = st.builds(ComputeTime, seconds, st.lists(seconds, max_size=8).map(tuple))


def test_the_real_time_factor_is_computed_over_heard():
    time = ComputeTime(4.0, (0.1, 0.2, 0.1))
    assert time.real_time_factor == pytest.approx(0.1)


def test_nothing_heard_has_no_rate_and_nothing_computed_no_percentile():
    assert ComputeTime().real_time_factor is None
    assert ComputeTime(0.0, (0.1,)).real_time_factor is None
    assert ComputeTime(1.0).percentile_milliseconds(95) is None
    assert ComputeTime(1.0).real_time_factor == 0.0


@given(st.lists(times, max_size=6))
def test_the_total_is_the_sum_of_its_parts_in_order(parts):
    total = ComputeTime.total(iter(parts))
    one_by_one = sum(parts, ComputeTime())
    assert total.chunk_seconds == one_by_one.chunk_seconds
    assert math.isclose(total.heard_seconds, one_by_one.heard_seconds, abs_tol=1e-9)


def test_rates_of_the_total_weigh_by_sound_not_by_utterance():
    quick, slow = ComputeTime(99.0, (0.0,)), ComputeTime(1.0, (1.0,))
    assert (quick + slow).real_time_factor == pytest.approx(0.01)


@given(st.lists(seconds, min_size=1, max_size=40), st.integers(0, 100))
def test_a_percentile_is_what_that_part_of_chunks_does_not_exceed(chunks, percent):
    limit = ComputeTime(1.0, tuple(chunks)).percentile_milliseconds(percent)
    assert limit is not None
    below = sum(1000 * s <= limit * (1 + 1e-9) + 1e-9 for s in chunks)
    assert below >= math.floor(percent / 100 * (len(chunks) - 1)) + 1
    assert 1000 * min(chunks) <= limit * (1 + 1e-9)
    assert limit <= 1000 * max(chunks) * (1 + 1e-9)


def test_percentiles_of_ten_chunks():
    time = ComputeTime(1.0, tuple(k / 1000 for k in (9, 1, 8, 2, 7, 3, 6, 4, 5, 10, 11)))
    assert time.percentile_milliseconds(50) == pytest.approx(6.0)
    assert time.percentile_milliseconds(0) == pytest.approx(1.0)
    assert time.percentile_milliseconds(100) == pytest.approx(11.0)
