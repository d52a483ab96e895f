# SPDX-License-Identifier: Apache-2.0
import numpy as np
import polars as pl
import pytest

from audit.planted import planted
from evenear.audit import cohorts_by
from evenear.audit.statistics.spread import rate_errors, shrink, spread_between
from evenear.audit.statistics.sums import cohort_sums
from evenear.seeding import rng_for


def spread(table, attribute="accent", **settings):
    cohorts = cohort_sums(table, cohorts_by(table, [attribute]))
    return spread_between(cohorts, rng_for(0, "test"), num_resamples=200, **settings)


def test_noise_alone_has_no_corrected_variance_on_average():
    found = [spread(planted(60, seed=seed)) for seed in range(60)]
    observed = np.mean([one.variance for one in found])
    unfloored = np.mean([one.corrected_variance == 0.0 for one in found])
    assert 0.3 < unfloored < 0.9
    assert np.mean([one.corrected_variance for one in found]) < 0.6 * observed
    assert np.mean([one.corrected_low == 0.0 for one in found]) > 0.9


def test_a_true_spread_is_recovered():
    effects = {("accent", name): 1.0 + 0.3 * step for step, name in enumerate("abcdef")}
    truth = np.var([0.12 * factor for factor in effects.values()], ddof=1)
    found = [spread(planted(240, seed=seed, effects=effects)) for seed in range(40)]
    assert np.mean([one.corrected_variance for one in found]) == pytest.approx(truth, rel=0.2)
    assert np.mean([one.variance for one in found]) > truth
    covered = [one.corrected_low <= truth <= one.corrected_high for one in found]
    assert np.mean(covered) > 0.8


def test_one_cohort_has_no_spread():
    cohorts = cohort_sums(planted(20), cohorts_by(planted(20), ["gender"]))
    assert spread_between(cohorts[:1], rng_for(0, "test")) is None


def test_the_standard_error_of_a_rate_is_that_of_independent_speakers():
    rng = np.random.default_rng(0)
    words_SK = np.full((40, 1), 100.0)
    rates = []
    for _ in range(2000):
        speakers_S = rng.gamma(4.0, 0.12 / 4.0, 40)
        rates.append(rng.poisson(speakers_S * 100).sum() / 4000)
    errors_SK = rng.poisson(rng.gamma(4.0, 0.12 / 4.0, (40, 1)) * 100).astype(float)
    assert rate_errors(errors_SK, words_SK)[0] == pytest.approx(np.std(rates), rel=0.35)


def test_shrunken_rates_are_nearer_the_truth_and_keep_their_order_for_equal_noise():
    rng = np.random.default_rng(1)
    truth_K = rng.normal(0.12, 0.02, 200)
    noise_K = rng.choice([0.01, 0.05], 200)
    observed_K = truth_K + rng.normal(0.0, noise_K)
    shrunken_K = shrink(observed_K, noise_K)
    before, after = ((observed_K - truth_K) ** 2).mean(), ((shrunken_K - truth_K) ** 2).mean()
    assert after < 0.6 * before
    same = noise_K == 0.01
    np.testing.assert_array_equal(np.argsort(observed_K[same]), np.argsort(shrunken_K[same]))


def test_rates_without_noise_are_not_shrunk_and_rates_without_spread_wholly():
    rates_K = np.array([0.1, 0.2, 0.3])
    np.testing.assert_allclose(shrink(rates_K, np.zeros(3)), rates_K, atol=1e-9)
    np.testing.assert_allclose(shrink(rates_K, np.full(3, 5.0)), np.full(3, 0.2))
    np.testing.assert_array_equal(shrink(np.array([0.1]), np.array([0.05])), [0.1])


@pytest.mark.parametrize("speakers", [3, 30])
def test_draws_that_leave_a_cohort_without_words_count_for_nothing(speakers):
    """Errors in speech without words once gave a warning of numpy's in the middle of a report."""
    table = planted(speakers, seed=1)
    silent = pl.col("speaker") != pl.col("speaker").min().over("gender")
    words = pl.when(silent).then(0).otherwise(pl.col("words"))
    table = type(table)(table.frame.with_columns(words=words, errors=pl.lit(1, dtype=pl.Int64)))
    found = spread_between(cohort_sums(table, cohorts_by(table, ["gender"])), rng_for(0, "x"))
    assert found is None or np.isfinite([found.corrected_low, found.corrected_high]).all()
