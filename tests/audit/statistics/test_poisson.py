# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
from scipy import integrate
from scipy.special import gammaln
from scipy.stats import norm

from evenear.audit.statistics.poisson import _Problem, fit_mixed_poisson
from evenear.errors import CohortError


def data(num_speakers=120, sigma=0.5, seed=0, utterances=6):
    rng = np.random.default_rng(seed)
    counts_S = rng.poisson(utterances, num_speakers) + 1
    speakers_N = np.repeat(np.arange(num_speakers), counts_S)
    group_N = rng.integers(0, 2, num_speakers)[speakers_N]
    columns_NP = np.column_stack(
        [np.ones(len(speakers_N)), group_N, rng.normal(size=len(speakers_N))]
    )
    words_N = rng.poisson(10, len(speakers_N)) + 1
    effects_S = sigma * rng.normal(size=num_speakers)
    rates_N = np.exp(columns_NP @ [-2.0, 0.3, 0.2] + effects_S[speakers_N])
    return rng.poisson(words_N * rates_N), words_N, columns_NP, speakers_N


def log_likelihood(point, errors_N, words_N, columns_NP, speakers_N):
    """The likelihood by adaptive numerical integration, one speaker after the other."""
    means_N = words_N * np.exp(columns_NP @ point[:-1])
    total = 0.0
    for speaker in np.unique(speakers_N):
        own = speakers_N == speaker

        def joint(v, own=own):
            rates = means_N[own] * math.exp(point[-1] * v)
            logs = errors_N[own] * np.log(rates) - rates - gammaln(errors_N[own] + 1)
            return math.exp(logs.sum()) * norm.pdf(v)

        value, _ = integrate.quad(joint, -9, 9, epsabs=0, epsrel=1e-11, limit=400)
        total += math.log(value)
    return total


@pytest.mark.parametrize("sigma", [0.05, 0.5, 1.5])
def test_the_likelihood_is_that_of_numerical_integration(sigma):
    some = data(num_speakers=8)
    point = np.array([-1.8, 0.2, 0.1, sigma])
    found = _Problem.of(*some, 15).evaluate(point).value
    assert found == pytest.approx(log_likelihood(point, *some), rel=1e-7)


@pytest.mark.parametrize("sigma", [0.1, 0.6, 1.2])
def test_gradient_and_hessian_are_those_of_finite_differences(sigma):
    problem = _Problem.of(*data(num_speakers=30), 25)
    point, step = np.array([-1.8, 0.2, 0.1, sigma]), 1e-5
    found = problem.evaluate(point)
    np.testing.assert_allclose(found.scores.sum(axis=0), found.gradient)
    for place, shift in enumerate(step * np.eye(4)):
        above, below = problem.evaluate(point + shift), problem.evaluate(point - shift)
        slope = (above.value - below.value) / (2 * step)
        assert found.gradient[place] == pytest.approx(slope, rel=1e-5, abs=1e-5)
        bend = (above.gradient - below.gradient) / (2 * step)
        np.testing.assert_allclose(found.hessian[place], bend, rtol=1e-4, atol=1e-3)


def test_the_maximum_is_one_of_the_numerical_likelihood():
    some = data(num_speakers=12)
    fit = fit_mixed_poisson(*some)
    best = np.append(fit.coefficients_P, fit.sigma)
    top = log_likelihood(best, *some)
    assert fit.log_likelihood == pytest.approx(top, rel=1e-8)
    for shift in 0.02 * np.eye(4):
        assert log_likelihood(best + shift, *some) < top
        assert log_likelihood(best - shift, *some) < top


def test_planted_coefficients_are_recovered_within_their_errors():
    truth = np.array([-2.0, 0.3, 0.2])
    misses = []
    for seed in range(30):
        fit = fit_mixed_poisson(*data(seed=seed))
        misses.append((fit.coefficients_P - truth) / np.sqrt(np.diag(fit.covariance)[:3]))
    assert np.abs(np.mean(misses, axis=0)).max() < 0.6
    assert np.std(misses, axis=0) == pytest.approx(np.ones(3), abs=0.45)


def test_speakers_who_do_not_differ_give_plain_poisson():
    sm = pytest.importorskip("statsmodels.api")
    plain = 0
    for seed in range(8):
        errors_N, words_N, columns_NP, speakers_N = data(sigma=0.0, seed=seed)
        fit = fit_mixed_poisson(errors_N, words_N, columns_NP, speakers_N)
        assert fit.sigma < 0.15
        if fit.sigma > 0.0:
            continue
        plain += 1
        model = sm.GLM(errors_N, columns_NP, family=sm.families.Poisson(), offset=np.log(words_N))
        theirs = model.fit()
        np.testing.assert_allclose(fit.coefficients_P, theirs.params, rtol=1e-6)
        np.testing.assert_allclose(np.sqrt(np.diag(fit.covariance)), theirs.bse, rtol=1e-5)
        assert fit.log_likelihood == pytest.approx(theirs.llf)
    assert plain >= 2


def test_sums_over_alike_utterances_give_the_same_fit():
    errors_N, words_N, columns_NP, speakers_N = data()
    columns_NP = columns_NP[:, :2]
    apart = fit_mixed_poisson(errors_N, words_N, columns_NP, speakers_N)
    first = np.unique(speakers_N, return_index=True)[1]
    sums = [np.bincount(speakers_N, weights=values) for values in (errors_N, words_N)]
    together = fit_mixed_poisson(*sums, columns_NP[first], np.arange(len(first)))
    np.testing.assert_allclose(together.coefficients_P, apart.coefficients_P, rtol=1e-6)
    np.testing.assert_allclose(together.robust_covariance, apart.robust_covariance, rtol=1e-5)


def test_the_sandwich_stays_honest_where_utterances_scatter_more():
    rng, z_model, z_robust = np.random.default_rng(0), [], []
    for seed in range(60):
        errors_N, words_N, columns_NP, speakers_N = data(seed=seed, num_speakers=60)
        bursts_N = errors_N * rng.choice([0, 3], len(errors_N), p=[2 / 3, 1 / 3])
        fit = fit_mixed_poisson(bursts_N, words_N, columns_NP, speakers_N)
        miss = fit.coefficients_P[2] - 0.2
        z_model.append(miss / math.sqrt(fit.covariance[2, 2]))
        z_robust.append(miss / math.sqrt(fit.robust_covariance[2, 2]))
    assert np.std(z_model) > 1.4
    assert 0.75 < np.std(z_robust) < 1.35


def test_a_ratio_comes_with_its_interval():
    fit = fit_mixed_poisson(*data())
    ratio, low, high = fit.ratio(np.array([0.0, 1.0, 0.0]))
    assert ratio == pytest.approx(math.exp(fit.coefficients_P[1]))
    assert low < ratio < high
    assert math.log(high / ratio) == pytest.approx(math.log(ratio / low))
    wide = fit.ratio(np.array([0.0, 1.0, 0.0]), level=0.99)
    assert wide[1] < low
    assert fit.ratio(np.array([0.0, 1.0, 0.0]), robust=False)[0] == ratio


def test_columns_that_determine_each_other_are_refused():
    errors_N, words_N, columns_NP, speakers_N = data(num_speakers=20)
    twice = np.column_stack([columns_NP, 1.0 - columns_NP[:, 1]])
    with pytest.raises(CohortError, match="determine each other"):
        fit_mixed_poisson(errors_N, words_N, twice, speakers_N)


def test_a_group_without_any_errors_is_refused():
    errors_N, words_N, columns_NP, speakers_N = data(num_speakers=40)
    errors_N = np.where(columns_NP[:, 1] == 1.0, 0, errors_N)
    with pytest.raises(CohortError, match="no errors at all"):
        fit_mixed_poisson(errors_N, words_N, columns_NP, speakers_N)
