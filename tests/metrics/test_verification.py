# SPDX-License-Identifier: Apache-2.0
import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from evenear.errors import EvenearError
from evenear.metrics.verification import ErrorCurve, ScoreOrder, eer, min_dcf

scores = st.lists(st.integers(-6, 6), min_size=1, max_size=12)
"""Few values, so that many scores are equal."""


def points(targets, others):
    """False rejects and accepts at every threshold, counted one by one."""
    thresholds = [*sorted({*targets, *others}), math.inf]
    return [
        (
            sum(s < threshold for s in targets) / len(targets),
            sum(s >= threshold for s in others) / len(others),
        )
        for threshold in thresholds
    ]


def crossing(found):
    """Where the polygon through the points meets false rejects = false accepts."""
    for (r0, a0), (r1, a1) in itertools.pairwise(found):
        if a0 >= r0 and a1 <= r1:
            fall, rise = a0 - a1, r1 - r0
            return r0 + rise * ((a0 - r0) / (fall + rise) if fall + rise else 0.0)
    raise AssertionError("the first point accepts everything, the last one nothing")


@given(scores, scores)
def test_eer_is_where_the_polygon_of_all_thresholds_crosses(targets, others):
    expected = crossing(points(targets, others))
    assert eer(np.array(targets), np.array(others)) == pytest.approx(expected)


@given(scores, scores, st.floats(0.01, 0.99), st.floats(0.1, 10), st.floats(0.1, 10))
def test_min_dcf_is_the_least_cost_of_all_thresholds(targets, others, p, miss, accept):
    costs = [miss * p * r + accept * (1 - p) * a for r, a in points(targets, others)]
    expected = min(costs) / min(miss * p, accept * (1 - p))
    found = min_dcf(
        np.array(targets), np.array(others), p_target=p, cost_miss=miss, cost_false_accept=accept
    )
    assert found == pytest.approx(expected)
    assert found <= 1.0 + 1e-12


@given(scores, scores)
def test_increasing_functions_of_scores_change_nothing(targets, others):
    first, second = np.array(targets, float), np.array(others, float)
    for increasing in (np.arctan, lambda s: s**3 + s, lambda s: np.exp(s) - 7.0):
        moved = increasing(first), increasing(second)
        assert eer(*moved) == eer(first, second)
        assert min_dcf(*moved) == min_dcf(first, second)


@given(scores, scores)
def test_trading_sides_and_signs_keeps_the_eer(targets, others):
    first, second = np.array(targets), np.array(others)
    assert eer(-second, -first) == pytest.approx(eer(first, second))


def test_separated_scores_have_no_error_and_reversed_ones_nothing_else():
    low, high = np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0])
    assert (eer(high, low), min_dcf(high, low)) == (0.0, 0.0)
    assert (eer(low, high), min_dcf(low, high)) == (1.0, 1.0)
    assert eer(np.ones(5), np.ones(7)) == pytest.approx(0.5)


@given(scores, scores, st.data())
def test_whole_weights_repeat_trials(targets, others, data):
    values, labels = np.array(targets + others), np.arange(len(targets + others)) < len(targets)
    times = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(values), max_size=999)))
    times = times[: len(values)]
    curve = ScoreOrder(values, labels).curve(times)
    if not times[labels].any() or not times[~labels].any():
        assert curve is None
        return
    again = np.repeat(values, times), np.repeat(labels, times)
    repeated = ScoreOrder(*again).curve()
    assert curve.eer == pytest.approx(repeated.eer)
    assert curve.min_dcf() == pytest.approx(repeated.min_dcf())


@given(scores, scores)
def test_curves_go_from_accepting_everything_to_accepting_nothing(targets, others):
    order = ScoreOrder(np.array(targets + others), np.arange(len(targets + others)) < len(targets))
    curve = order.curve()
    assert (np.diff(curve.false_rejects_P) >= 0).all()
    assert (np.diff(curve.false_accepts_P) <= 0).all()
    found_P2 = np.stack([curve.false_rejects_P, curve.false_accepts_P], axis=1)
    np.testing.assert_allclose(found_P2, points(targets, others), atol=1e-12)
    assert curve.thresholds_P[-1] == math.inf


@given(scores, scores, st.floats(0.0, 1.0))
def test_the_threshold_for_false_accepts_is_the_lowest_that_keeps_to_it(targets, others, rate):
    order = ScoreOrder(np.array(targets + others), np.arange(len(targets + others)) < len(targets))
    threshold = order.curve().threshold_for_false_accepts(rate)
    allowed = [
        t
        for t in (*sorted({*targets, *others}), math.inf)
        if sum(s >= t for s in others) <= rate * len(others) + 1e-9
    ]
    assert threshold == min(allowed)


@given(scores, scores)
def test_no_threshold_has_error_rates_more_alike_than_that_of_the_eer(targets, others):
    assume(max(targets) >= min(others))
    order = ScoreOrder(np.array(targets + others), np.arange(len(targets + others)) < len(targets))
    curve = order.curve()

    def apart(threshold):
        reject = np.mean(np.array(targets) < threshold)
        return abs(reject - np.mean(np.array(others) >= threshold))

    assert math.isfinite(curve.eer_threshold)
    least = min(apart(t) for t in {*targets, *others})
    assert apart(curve.eer_threshold) == pytest.approx(least)


def test_what_has_no_error_rate_says_what_it_needs():
    with pytest.raises(EvenearError, match="got 0 and 3"):
        eer(np.empty(0), np.ones(3))
    with pytest.raises(EvenearError, match="1 of 2 are NaN"):
        ScoreOrder(np.array([1.0, np.nan]), np.array([True, False]))
    with pytest.raises(EvenearError, match=r"\(2,\) and \(3,\)"):
        ScoreOrder(np.ones(2), np.ones(3, bool))
    curve = ErrorCurve(np.array([0.0, math.inf]), np.array([0.0, 1.0]), np.array([1.0, 0.0]))
    for p_target in (0.0, 1.0, -1.0):
        with pytest.raises(EvenearError, match="0 < p_target < 1"):
            curve.min_dcf(p_target=p_target)
    with pytest.raises(EvenearError, match="positive costs"):
        curve.min_dcf(cost_miss=0.0)
