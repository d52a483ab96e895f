# SPDX-License-Identifier: Apache-2.0
"""Intervals of pooled rates: coverage, agreement with a plain loop, and what cannot be said."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.errors import CohortError
from evenear.metrics.intervals import (
    Interval,
    cohort_wer_intervals,
    pooled_wer_interval,
)
from evenear.seeding import rng_for

counts = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 100)), min_size=2, max_size=12
).filter(lambda rows: sum(words for _, words in rows) > 0)


def simulated(num_speakers: int, trial: int) -> tuple[np.ndarray, np.ndarray]:
    """Errors and words of speakers whose own rates are 25 ± 12 %."""
    rng = rng_for(0, "simulated speakers", (num_speakers, trial))
    words = rng.integers(50, 400, num_speakers)
    return rng.binomial(words, rng.beta(3.005, 9.015, num_speakers)), words


def test_interval_of_forty_speakers_covers_the_truth_as_often_as_it_says():
    held = 0
    for trial in range(300):
        errors, words = simulated(40, trial)
        found = pooled_wer_interval(errors, words, seed=trial, num_resamples=300)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0.25 <= found.high
    assert 0.90 <= held / 300 <= 0.98


def test_resampling_utterances_instead_would_be_far_too_narrow():
    errors, words = simulated(20, 0)
    by_speaker = pooled_wer_interval(errors, words)
    single = [(int(k < e), 1) for e, w in zip(errors, words, strict=True) for k in range(w)]
    by_word = pooled_wer_interval(*np.array(single).T, num_resamples=200)
    assert width(by_speaker) > 3 * width(by_word)


def width(interval: Interval) -> float:
    assert interval.low is not None
    assert interval.high is not None
    return interval.high - interval.low


def test_is_symmetric_in_the_logarithm_and_a_little_wider_than_plain_percentiles():
    errors, words = simulated(15, 1)
    found = pooled_wer_interval(errors, words, num_resamples=5_000)
    rng = rng_for(1, "b")
    rates = []
    for _ in range(20_000):
        drawn = rng.choice(15, size=15)
        rates.append(errors[drawn].sum() / words[drawn].sum())
    assert found.rate == errors.sum() / words.sum()
    scale = np.std(np.log(rates))
    assert np.log(found.high / found.rate) == pytest.approx(np.log(found.rate / found.low))
    assert np.log(found.high / found.rate) == pytest.approx(2.2 * scale, rel=0.15)


@given(counts, st.integers(0, 9))
@settings(deadline=None, max_examples=100)
def test_interval_is_ordered_within_the_rates_of_speakers_and_never_nan(rows, seed):
    errors, words = np.array(rows).T
    found = pooled_wer_interval(errors, words, seed=seed, num_resamples=50)
    assert found.rate == errors.sum() / words.sum()
    if found.low is not None and found.high is not None:
        assert 0 <= found.low <= found.high < np.inf


@given(counts)
@settings(deadline=None, max_examples=50)
def test_same_draws_give_the_same_interval_and_order_does_not_change_the_rate(rows):
    errors, words = np.array(rows).T
    first = pooled_wer_interval(errors, words, num_resamples=50)
    again = pooled_wer_interval(errors, words, num_resamples=50)
    assert first == again
    backward = pooled_wer_interval(errors[::-1], words[::-1], num_resamples=9)
    assert backward.rate == first.rate


def test_narrower_level_lies_inside_the_wider():
    errors, words = simulated(30, 2)
    half = pooled_wer_interval(errors, words, level=0.5)
    most = pooled_wer_interval(errors, words, level=0.99)
    assert width(half) < width(most)


def test_speakers_who_are_alike_leave_no_doubt():
    found = pooled_wer_interval([2, 2, 2], [10, 10, 10])
    assert (found.rate, found.low, found.high) == pytest.approx((0.2, 0.2, 0.2))


def test_no_errors_leave_an_upper_bound():
    found = pooled_wer_interval([0, 0], [100, 200])
    assert (found.rate, found.low, found.high) == pytest.approx((0.0, 0.0, 3.689 / 300), rel=1e-3)


def test_one_speaker_has_a_rate_and_no_interval():
    assert pooled_wer_interval([1], [4]) == Interval(0.25, None, None)


def test_no_words_have_no_rate():
    assert pooled_wer_interval([], []) == Interval(None, None, None)
    assert pooled_wer_interval([3, 1], [0, 0]) == Interval(None, None, None)


@pytest.mark.parametrize(
    ("errors", "words", "options", "said"),
    [
        ([1, 2], [3], {}, "2 and 1"),
        ([-1, 2], [3, 4], {}, "errors"),
        ([1, 2], [3, float("nan")], {}, "words"),
        ([[1]], [[2]], {}, "shape"),
        ([1, 2], [3, 4], {"level": 95}, "level 95"),
        ([1, 2], [3, 4], {"num_resamples": 0}, "0 resamples"),
    ],
)
def test_impossible_counts_are_refused(errors, words, options, said):
    with pytest.raises(CohortError, match=said):
        pooled_wer_interval(errors, words, **options)


def test_cohorts_are_measured_with_the_draws_of_all_speakers():
    errors, words = simulated(30, 4)
    member = np.arange(30) < 12
    errors_SK = np.stack([errors * member, errors * ~member, errors * 0], axis=1)
    words_SK = np.stack([words * member, words * ~member, words * member], axis=1)
    first, second, nothing = cohort_wer_intervals(errors_SK, words_SK)
    assert first.rate == errors[:12].sum() / words[:12].sum()
    alone = pooled_wer_interval(errors[:12], words[:12])
    assert width(first) == pytest.approx(width(alone), rel=0.35)
    assert width(second) < width(first)
    assert (nothing.rate, nothing.low) == (0.0, 0.0)
    assert (
        cohort_wer_intervals(np.empty((0, 2)), np.empty((0, 2))) == [Interval(None, None, None)] * 2
    )
