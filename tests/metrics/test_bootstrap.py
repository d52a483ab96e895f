# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

from evenear.metrics.bootstrap import Contrast, contrast_intervals, resample_speakers
from evenear.seeding import rng_for


def speakers(num_speakers, seed=0, wer=0.12, scatter=0.5):
    rng = np.random.default_rng(seed)
    words_S = rng.poisson(80, num_speakers) + 1.0
    rates_S = rng.gamma(1 / scatter**2, wer * scatter**2, num_speakers)
    return rng.poisson(rates_S * words_S).astype(float), words_S


def side(errors_S, words_S, member_S):
    return errors_S * member_S, words_S * member_S


def test_every_resample_draws_as_many_speakers_as_there_are():
    counts = np.concatenate(list(resample_speakers(37, 100, rng_for(0, "test"))))
    assert counts.shape == (100, 37)
    assert (counts.sum(axis=1) == 37).all()
    assert len(np.unique(counts, axis=0)) > 90


def test_resamples_stay_within_strata():
    strata_S = np.array([3] * 5 + [7] * 11)
    counts = np.concatenate(list(resample_speakers(16, 50, rng_for(0, "test"), strata_S=strata_S)))
    assert (counts[:, :5].sum(axis=1) == 5).all()
    assert (counts[:, 5:].sum(axis=1) == 11).all()


def test_blocks_do_not_change_the_draws(monkeypatch):
    whole = np.concatenate(list(resample_speakers(20, 64, rng_for(0, "test"))))
    monkeypatch.setattr("evenear.metrics.bootstrap.BYTES_AT_ONCE", 8 * 20 * 5)
    blocks = list(resample_speakers(20, 64, rng_for(0, "test")))
    assert len(blocks) == 13
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


def test_the_estimate_is_the_difference_of_log_rates():
    errors_S, words_S = speakers(60)
    member_S = np.arange(60) < 20
    contrast = Contrast.of(
        (1.0, side(errors_S, words_S, member_S)), (-1.0, side(errors_S, words_S, ~member_S))
    )
    found = contrast_intervals([contrast], rng_for(0, "test"), num_resamples=100)
    expected = math.log(
        errors_S[:20].sum() / words_S[:20].sum() / (errors_S[20:].sum() / words_S[20:].sum())
    )
    assert found.estimates_K[0] == pytest.approx(expected)
    assert found.lows_K[0] < expected < found.highs_K[0]
    assert found.ratio(0)[0] == pytest.approx(math.exp(expected))
    assert found.relative(0)[0] == pytest.approx(math.expm1(expected))


def test_the_standard_error_is_that_of_a_jackknife_over_speakers():
    errors_S, words_S = speakers(300)
    other_S = np.random.default_rng(5).poisson(0.8 * errors_S).astype(float)
    contrast = Contrast.of((1.0, (errors_S, words_S)), (-1.0, (other_S, words_S)))
    found = contrast_intervals([contrast], rng_for(0, "test"), num_resamples=100)
    left_out_S = np.log((errors_S.sum() - errors_S) / (other_S.sum() - other_S))
    jackknife = math.sqrt(299 / 300 * ((left_out_S - left_out_S.mean()) ** 2).sum())
    assert found.errors_K[0] == pytest.approx(jackknife, rel=0.02)


def test_a_paired_difference_is_surer_than_an_unpaired_one():
    errors_S, words_S = speakers(100)
    better_S = np.random.default_rng(1).binomial(errors_S.astype(int), 0.9).astype(float)
    paired = Contrast.of((1.0, (better_S, words_S)), (-1.0, (errors_S, words_S)))
    alone = Contrast.of((1.0, (errors_S, words_S)))
    found = contrast_intervals([paired], rng_for(0, "test"), num_resamples=200)
    single = contrast_intervals([alone], rng_for(0, "test"), num_resamples=200)
    assert found.errors_K[0] < 0.5 * single.errors_K[0]


def test_two_systems_that_wrote_the_same_differ_by_exactly_nothing():
    errors_S, words_S = speakers(30)
    same = Contrast.of((1.0, (errors_S, words_S)), (-1.0, (errors_S, words_S)))
    found = contrast_intervals([same], rng_for(0, "test"), num_resamples=100)
    assert found.relative(0) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("errors_S", [[5.0], [0.0, 0.0, 0.0]])
def test_one_speaker_or_no_errors_give_no_interval(errors_S):
    errors_S = np.array(errors_S)
    alone = Contrast.of((1.0, (errors_S, np.full(len(errors_S), 50.0))))
    found = contrast_intervals([alone], rng_for(0, "test"), num_resamples=100)
    assert found.ratio(0)[1:] == (None, None)


def test_no_contrasts_give_empty_results():
    found = contrast_intervals([], rng_for(0, "test"), num_resamples=100)
    assert found.estimates_K.shape == (0,)
    assert found.studentized_RK.shape == (100, 0)


def test_the_same_generator_gives_the_same_bits():
    contrast = Contrast.of((1.0, speakers(25)))
    first = contrast_intervals([contrast], rng_for(4, "test"), num_resamples=150)
    second = contrast_intervals([contrast], rng_for(4, "test"), num_resamples=150)
    np.testing.assert_array_equal(first.studentized_RK, second.studentized_RK)


@pytest.mark.slow
@pytest.mark.parametrize("cohort", [15, 60])
def test_intervals_of_a_gap_that_is_not_there_cover_it(cohort):
    covered = 0
    for trial in range(400):
        errors_S, words_S = speakers(200, seed=trial)
        member_S = np.arange(200) < cohort
        contrast = Contrast.of(
            (1.0, side(errors_S, words_S, member_S)), (-1.0, side(errors_S, words_S, ~member_S))
        )
        found = contrast_intervals([contrast], rng_for(trial, "test"), num_resamples=400)
        covered += found.lows_K[0] <= 0.0 <= found.highs_K[0]
    assert 0.92 <= covered / 400 <= 0.98


def test_lots_of_contrasts_see_the_same_draws(monkeypatch):
    contrasts = [Contrast.of((1.0, speakers(40, seed=seed))) for seed in range(5)]
    whole = contrast_intervals(contrasts, rng_for(0, "test"), num_resamples=100)
    monkeypatch.setattr("evenear.metrics.bootstrap.STACK_BYTES", 8 * 5 * 40 * 2)
    lots = contrast_intervals(contrasts, rng_for(0, "test"), num_resamples=100)
    np.testing.assert_allclose(lots.studentized_RK, whole.studentized_RK)
    np.testing.assert_allclose(lots.highs_K, whole.highs_K)


def test_an_interval_that_says_nothing_is_unknown():
    """Two speakers, one without an error, once ended in an overflow."""
    contrast = Contrast.of((1.0, (np.array([1.0, 1e-9]), np.array([3.0, 3.0]))))
    found = contrast_intervals([contrast], np.random.default_rng(0), num_resamples=100)
    estimate, low, high = found.ratio(0)
    assert estimate == pytest.approx(1 / 6)
    assert (low, high) == (None, None)
