# SPDX-License-Identifier: Apache-2.0
import itertools
import math

import numpy as np
import pytest
from scipy import stats

from evenear.audit.discovery.screening import residuals, screen, standard_scores


def test_residuals_add_to_zero():
    errors_U, words_U = np.array([3.0, 0.0, 9.0]), np.array([20.0, 30.0, 40.0])
    assert residuals(errors_U, words_U).sum() == pytest.approx(0.0)
    assert residuals(errors_U, words_U)[2] == pytest.approx(9.0 - 40.0 * 12 / 90)


def test_the_statistic_is_standardized_over_all_deals():
    values_U = np.array([4.0, -1.0, 0.5, 2.0, -5.5, 7.0])
    member_U = np.array([True, False, True, False, False, False])
    sums = [values_U[list(pair)].sum() for pair in itertools.combinations(range(6), 2)]
    expected = (values_U[member_U].sum() - np.mean(sums)) / np.std(sums)
    assert standard_scores(member_U[None], values_U[:, None])[0, 0] == pytest.approx(expected)


def test_the_best_of_many_candidates_is_not_called_sure():
    rng = np.random.default_rng(1)
    p_values = []
    for _ in range(60):
        members_KU = rng.random((80, 150)) < 0.3
        values_U = rng.gamma(2.0, 1.0, 150)
        found = screen(members_KU, values_U - values_U.mean(), rng, num_permutations=99)
        p_values.append(np.nanmin(found.p_adjusted_K))
    assert stats.kstest(p_values, "uniform").pvalue > 0.005


def test_a_planted_candidate_is_sure_and_comes_first():
    rng = np.random.default_rng(2)
    members_KU = rng.random((200, 500)) < 0.2
    values_U = rng.normal(size=500) + 1.0 * members_KU[17]
    found = screen(members_KU, values_U, rng, num_permutations=99)
    assert found.statistics_K.argmax() == 17
    assert found.p_adjusted_K[17] == pytest.approx(0.01)


def test_repeating_a_candidate_costs_nothing():
    rng = np.random.default_rng(3)
    members_KU = rng.random((3, 100)) < 0.4
    values_U = rng.normal(size=100)
    once = screen(members_KU, values_U, np.random.default_rng(5))
    thrice = screen(np.tile(members_KU, (3, 1)), values_U, np.random.default_rng(5))
    np.testing.assert_allclose(thrice.p_adjusted_K, np.tile(once.p_adjusted_K, 3))


def test_candidates_that_hold_everybody_have_no_statistic():
    members_KU = np.ones((2, 50), dtype=bool)
    members_KU[1, :20] = False
    found = screen(members_KU, np.random.default_rng(0).normal(size=50), np.random.default_rng(0))
    assert np.isnan(found.statistics_K[0])
    assert np.isnan(found.p_adjusted_K[0])
    assert np.isfinite(found.p_adjusted_K[1])


def test_without_permutations_there_are_no_p_values():
    members_KU = np.arange(20) < 10
    found = screen(members_KU[None], np.arange(20.0), np.random.default_rng(0), num_permutations=0)
    assert np.isnan(found.p_adjusted_K).all()
    assert np.isfinite(found.statistics_K).all()


def test_p_values_are_those_of_enumerating_all_permutations():
    """Rounding once broke ties with what was observed, and made p-values too small."""
    words, places = np.full(10, 40.0), list(itertools.combinations(range(10), 5))
    members = np.arange(10)[None] < 5
    for seed in range(20):
        errors = np.random.default_rng(seed).integers(1, 6, 10).astype(float)
        sums = np.array([errors[list(place)].sum() for place in places])
        exact = np.mean(sums >= errors[:5].sum())
        found = screen(
            members, residuals(errors, words), np.random.default_rng(seed), num_permutations=4000
        ).p_adjusted_K[0]
        assert abs(found - exact) < 5 * math.sqrt(exact * (1 - exact) / 4000) + 1 / 4000
