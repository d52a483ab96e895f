# SPDX-License-Identifier: Apache-2.0
"""Intervals of differences: planted ones are found, and pairing makes them narrow.

Dimensions: S speakers.
"""

import numpy as np
import pytest

from evenear.errors import CohortError
from evenear.reproduction.statistics import SpeakerErrors, Speakers, by_speaker
from evenear.seeding import rng_for

WORDS_S = np.full(60, 200.0)


def recognizer(rate: float, seed: int, *, seeds: int = 3) -> SpeakerErrors:
    """Speakers differ much, and alike for every recognizer; seeds differ a little."""
    hard_S = rng_for(0, "speaker").lognormal(0.0, 0.7, len(WORDS_S))
    runs = []
    for run in range(seeds):
        rng = rng_for(seed, "run", run)
        runs.append(rng.poisson(rate * hard_S * WORDS_S).astype(float))
    return SpeakerErrors(tuple(runs), WORDS_S)


def test_a_planted_difference_is_found_and_its_interval_holds_it():
    speakers = Speakers(60)
    found = speakers.difference(recognizer(0.27, 1), recognizer(0.30, 2)).relative
    assert found.low < -0.1 < found.high < 0.0


def test_no_difference_is_found_where_there_is_none():
    speakers = Speakers(60)
    found = [
        speakers.difference(recognizer(0.3, 2 * k), recognizer(0.3, 2 * k + 1)).relative
        for k in range(40)
    ]
    wrong = sum(not one.low <= 0.0 <= one.high for one in found)
    assert wrong <= 6  # 5 % of 40, and some luck


def test_pairing_makes_the_interval_of_a_difference_much_narrower_than_that_of_a_rate():
    speakers = Speakers(60)
    one, other = recognizer(0.28, 1), recognizer(0.30, 2)
    rate, difference = speakers.rate(other), speakers.difference(one, other)
    assert difference.absolute.high - difference.absolute.low < 0.5 * (rate.high - rate.low)
    assert difference.absolute.value == pytest.approx(
        speakers.rate(one).value - speakers.rate(other).value
    )


def test_rates_are_pooled_over_speakers_and_averaged_over_seeds():
    one = SpeakerErrors((np.array([1.0, 5.0]), np.array([3.0, 1.0])), np.array([10.0, 90.0]))
    assert one.rates == (0.06, 0.04)
    assert Speakers(2).rate(one).value == pytest.approx(0.05)
    assert Speakers(2).difference(one, one).relative_by_seed == (0.0, 0.0)


def test_a_gain_that_grows_with_the_noise_is_seen():
    speakers = Speakers(60)
    parts = (recognizer(0.27, 1), recognizer(0.3, 2), recognizer(0.5, 3), recognizer(0.6, 4))
    found = speakers.change_of_gain(*parts)
    assert found.low > 0.0
    assert found.value == pytest.approx(
        0.07 * np.mean(speakers.rate(parts[1]).value / 0.3), rel=0.3
    )


def test_conditions_pool_by_counts():
    one = SpeakerErrors((np.array([1.0, 2.0]),), np.array([10.0, 10.0]))
    two = SpeakerErrors((np.array([5.0, 0.0]),), np.array([10.0, 30.0]))
    pooled = SpeakerErrors.pooled([one, two])
    assert pooled.errors_by_seed[0].tolist() == [6.0, 2.0]
    assert pooled.words_S.tolist() == [20.0, 40.0]


def test_one_speaker_shows_no_interval_and_none_is_an_error():
    one = SpeakerErrors((np.array([1.0]),), np.array([10.0]))
    assert (Speakers(1).rate(one).low, Speakers(1).rate(one).high) == (None, None)
    with pytest.raises(CohortError, match="at least one test speaker"):
        Speakers(0)


def test_counts_are_summed_by_speaker():
    rows = [("bob", 1, 5), ("ann", 2, 7), ("bob", 0, 4)]
    errors_S, words_S = by_speaker(rows, ["ann", "bob"])
    assert (errors_S.tolist(), words_S.tolist()) == ([2.0, 1.0], [7.0, 9.0])
