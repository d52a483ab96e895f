# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from audit.planted import planted
from evenear.audit import cohorts_by
from evenear.audit.bootstrap import Contrast, contrast_intervals
from evenear.audit.multiplicity import (
    benjamini_hochberg,
    check_resamples,
    holm,
    max_t_p_values,
    permuted_statistics,
)
from evenear.audit.sums import cohort_sums, whole_sums
from evenear.errors import CohortError
from evenear.seeding import rng_for

P_VALUES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20).map(np.array)


@settings(deadline=None)
@given(P_VALUES)
def test_benjamini_hochberg_agrees_with_scipy(p_values):
    np.testing.assert_allclose(benjamini_hochberg(p_values), false_discovery_control(p_values))


@settings(deadline=None)
@given(P_VALUES)
def test_holm_is_the_smallest_level_at_which_its_steps_reject(p_values):
    adjusted = holm(p_values)
    for level in [*adjusted[adjusted < 1.0], 0.01, 0.05, 0.5]:
        rejected, count = np.zeros(len(p_values), dtype=bool), len(p_values)
        for step, row in enumerate(np.argsort(p_values, kind="stable")):
            if p_values[row] * (count - step) > level:
                break
            rejected[row] = True
        np.testing.assert_array_equal(rejected, adjusted <= level)


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


def test_the_observed_statistic_is_the_gap_over_its_standard_error():
    table = planted(80)
    cohorts = cohort_sums(table, cohorts_by(table, ["gender", "age"]))
    observed_K, _ = permuted_statistics(
        cohorts, whole_sums(table), rng_for(0, "test"), num_permutations=1
    )
    contrasts = [Contrast.of((1.0, one.own), (-1.0, one.rest)) for one in cohorts]
    found = contrast_intervals(contrasts, rng_for(0, "test"), num_resamples=100)
    np.testing.assert_allclose(observed_K, found.estimates_K / found.errors_K)


def test_permuting_speakers_keeps_cohort_sizes_and_strata():
    table = planted(60)
    cohorts = cohort_sums(table, cohorts_by(table, ["gender"]))
    errors_S, words_S = whole_sums(table)
    strata_S = np.arange(60)
    observed_K, null_RK = permuted_statistics(
        cohorts, (errors_S, words_S), rng_for(0, "test"), num_permutations=5, strata_S=strata_S
    )
    np.testing.assert_allclose(null_RK, np.tile(observed_K, (5, 1)))


def test_blocks_of_permutations_do_not_change_them(monkeypatch):
    table = planted(40)
    cohorts = cohort_sums(table, cohorts_by(table, ["age"]))
    arguments = (cohorts, whole_sums(table))
    _, whole = permuted_statistics(*arguments, rng_for(0, "test"), num_permutations=30)
    monkeypatch.setattr("evenear.audit.multiplicity.NUMBERS_AT_ONCE", 40 * 6 * 7)
    _, blocks = permuted_statistics(*arguments, rng_for(0, "test"), num_permutations=30)
    np.testing.assert_allclose(blocks, whole)


def test_nothing_is_found_where_nothing_is_in_95_of_100_worlds():
    false_alarms = 0
    for trial in range(150):
        table = planted(60, seed=trial, utterances=4)
        cohorts = cohort_sums(table, cohorts_by(table, ["gender", "age", "accent"]))
        observed_K, null_RK = permuted_statistics(
            cohorts, whole_sums(table), rng_for(trial, "test"), num_permutations=199
        )
        adjusted = max_t_p_values(np.abs(observed_K), np.abs(null_RK))
        false_alarms += np.nanmin(adjusted) <= 0.05
    assert false_alarms <= 15  # 5 % of 150 is 7.5; more than 15 has a chance of 1 in 200


@pytest.mark.parametrize(("level", "least"), [(0.95, 19), (0.99, 99), (0.9, 10), (0.999, 999)])
def test_as_many_resamples_are_needed_as_can_confirm(level, least):
    check_resamples(least + 1, level)
    with pytest.raises(CohortError, match="are the least"):
        check_resamples(least - 2, level)
