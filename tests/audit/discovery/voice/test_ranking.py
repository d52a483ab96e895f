# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from scipy import stats

from evenear.audit.discovery.voice.ranking import rank_clusters


def speakers(number=400, seed=0, planted=None, effect=1.6):
    rng = np.random.default_rng(seed)
    rates_S = rng.gamma(5.0, 0.024, number)
    if planted is not None:
        rates_S = rates_S * np.where(planted, effect, 1.0)
    words_S = rng.poisson(60, number) + 1.0
    return rng.poisson(rates_S * words_S).astype(float), words_S


def test_the_division_that_shows_most_is_taken_and_its_clusters_ranked():
    fine, coarse = np.arange(400) % 20, np.arange(400) % 5
    errors_S, words_S = speakers(planted=coarse == 3)
    found = rank_clusters(
        [np.arange(400) % 3, coarse, fine], errors_S, words_S, np.random.default_rng(0)
    )
    rates = [errors_S[coarse == k].sum() / words_S[coarse == k].sum() for k in range(5)]
    assert found.chosen == 1
    assert found.order_K.tolist() == np.argsort(rates)[::-1].tolist()
    rest = errors_S[coarse != 3].sum() / words_S[coarse != 3].sum()
    assert found.worst_gap == pytest.approx(rates[3] / rest - 1.0)
    assert found.worst_gap > found.control_gap_high > found.control_gap > 0.0
    assert found.p_adjusted == pytest.approx(1 / 200)


def test_p_values_pay_for_all_divisions():
    p_values, worst, control = [], [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        divisions = [rng.permutation(np.arange(200) % k) for k in (2, 5, 10)]
        found = rank_clusters(divisions, *speakers(200, seed), rng, num_permutations=59)
        p_values.append(found.p_adjusted)
        worst.append(found.worst_gap)
        control.append(found.control_gap)
    assert stats.kstest(p_values, "uniform").pvalue > 0.005
    assert np.mean(worst) == pytest.approx(np.mean(control), abs=0.06)


def test_clusters_without_words_are_last():
    errors_S, words_S = speakers(60)
    rows = np.arange(60) % 3
    errors_S[rows == 1] = words_S[rows == 1] = 0.0
    found = rank_clusters([rows], errors_S, words_S, np.random.default_rng(0), num_permutations=19)
    assert found.order_K[-1] == 1
