# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from evenear.audit.statistics.multiplicity import check_resamples, critical_value, max_t_p_values
from evenear.errors import CohortError


def test_one_cohort_needs_no_adjustment():
    null_RK = np.arange(99.0)[:, None]
    assert max_t_p_values(np.array([94.0]), null_RK) == pytest.approx([6 / 100])


def test_adjusted_p_values_are_those_of_the_definition():
    rng = np.random.default_rng(0)
    observed_K, null_RK = np.array([2.0, 0.5, 3.0, 1.0]), np.abs(rng.normal(size=(500, 4)))
    order, adjusted, highest_so_far = [2, 0, 3, 1], {}, 0.0
    for step, cohort in enumerate(order):
        others = null_RK[:, order[step:]].max(axis=1)
        highest_so_far = max(highest_so_far, (1 + (others >= observed_K[cohort]).sum()) / 501)
        adjusted[cohort] = highest_so_far
    expected = [adjusted[cohort] for cohort in range(4)]
    assert max_t_p_values(observed_K, null_RK) == pytest.approx(expected)


def test_a_cohort_without_a_statistic_has_no_p_value_and_changes_no_other():
    rng = np.random.default_rng(0)
    null_RK = np.abs(rng.normal(size=(200, 3)))
    with_nan = np.column_stack([null_RK, np.full(200, np.nan)])
    without = max_t_p_values(np.array([2.0, 1.0, 3.0]), null_RK)
    found = max_t_p_values(np.array([2.0, 1.0, 3.0, np.nan]), with_nan)
    np.testing.assert_array_equal(found[:3], without)
    assert np.isnan(found[3])


def test_the_critical_value_is_what_the_largest_statistic_must_exceed():
    rng = np.random.default_rng(0)
    null_RK = np.abs(rng.normal(size=(399, 5)))
    critical = critical_value(null_RK, 0.95)
    for observed, confirmed in ((critical + 1e-3, True), (critical - 1e-3, False)):
        p_values_K = max_t_p_values(np.array([observed, 0.1, 0.2, 0.0, 0.1]), null_RK)
        assert (p_values_K[0] <= 0.05) is np.bool_(confirmed)
    assert critical_value(null_RK[:10], 0.95) == np.inf
    assert critical_value(np.empty((399, 0)), 0.95) == np.inf


@pytest.mark.parametrize(("level", "least"), [(0.95, 19), (0.99, 99), (0.9, 10), (0.999, 999)])
def test_as_many_resamples_are_needed_as_can_confirm(level, least):
    check_resamples(least + 1, level)
    with pytest.raises(CohortError, match="are the least"):
        check_resamples(least - 2, level)
