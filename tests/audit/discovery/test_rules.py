# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evenear.audit.discovery.rules import CohortName, Rule, extreme_p_value, overdispersion
from evenear.audit.tables.cohorts import Cohorts


def test_poisson_counts_of_one_rate_are_not_overdispersed():
    rng = np.random.default_rng(0)
    words_S = rng.integers(20, 200, 4000).astype(float)
    assert overdispersion(rng.poisson(0.1 * words_S), words_S) == pytest.approx(1.0, abs=0.08)


def test_speakers_who_differ_are_overdispersed():
    rng = np.random.default_rng(0)
    rates_S = rng.gamma(4.0, 0.03, 4000)
    found = overdispersion(rng.poisson(100 * rates_S), np.full(4000, 100.0))
    assert found == pytest.approx(1.0 + 0.12 / 4 * 100, rel=0.1)  # 1 + variance of the mean


@pytest.mark.parametrize(("errors", "words"), [([3.0], [50.0]), ([0.0, 0.0], [9.0, 9.0]), ([], [])])
def test_dispersion_of_too_little_can_still_divide(errors, words):
    assert 0.0 < overdispersion(np.array(errors), np.array(words)) < np.inf


def test_p_values_of_maxima_are_uniform_where_nothing_is_planted():
    rng = np.random.default_rng(1)
    maxima = rng.normal(size=(400, 100, 50)).max(axis=2)
    p_values = [extreme_p_value(row[0], row[1:]) for row in maxima]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_p_values_reach_far_below_one_in_the_number_of_permutations():
    null_R = np.random.default_rng(2).gumbel(10.0, 1.0, 99)
    assert extreme_p_value(25.0, null_R) == pytest.approx(np.exp(-15.0), rel=20.0)


@given(st.lists(st.floats(-50, 50), min_size=0, max_size=30), st.floats(-60, 60), st.floats(0, 60))
def test_a_better_find_never_has_a_larger_p_value(null, best, more):
    null_R = np.array(null)
    p_value = extreme_p_value(best, null_R)
    assert 0.0 <= extreme_p_value(best + more, null_R) <= p_value <= 1.0


def test_a_rule_is_an_interface():
    with pytest.raises(TypeError, match="abstract"):
        Rule()  # pyright: ignore
    assert CohortName("region", "region 1") == ("region", "region 1")
    assert Cohorts().attributes == ()
