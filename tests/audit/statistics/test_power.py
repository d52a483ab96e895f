# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

from audit.planted import planted
from evenear.audit import Table, speakers_needed
from evenear.audit.statistics.power import detectable_gap, speaker_variance
from evenear.audit.statistics.sums import whole_sums
from evenear.errors import CohortError
from evenear.metrics.bootstrap import Contrast, contrast_intervals
from evenear.seeding import rng_for


def test_the_variance_of_one_speaker_is_the_squared_error_times_speakers():
    totals = whole_sums(planted(80))
    found = contrast_intervals([Contrast.of((1.0, totals))], rng_for(0, "test"), num_resamples=100)
    assert speaker_variance(*totals) == pytest.approx(80 * found.errors_K[0] ** 2)


def test_the_speakers_needed_see_the_gap_four_times_out_of_five():
    pilot = planted(2000, seed=99)
    needed = speakers_needed(pilot, points=0.04, share=0.3)
    assert needed.cohort / needed.total == pytest.approx(0.3, abs=0.01)
    rng, seen = np.random.default_rng(0), 0
    factor = (pilot.wer + 0.04) / pilot.wer
    errors_S, words_S = whole_sums(pilot)
    for _ in range(600):
        drawn = rng.integers(2000, size=needed.total)
        errors, words = errors_S[drawn].copy(), words_S[drawn]
        errors[: needed.cohort] *= factor
        parts = slice(None, needed.cohort), slice(needed.cohort, None)
        error = math.hypot(
            *(
                math.sqrt(speaker_variance(errors[part], words[part]) / len(errors[part]))
                for part in parts
            )
        )
        rates = [errors[part].sum() / words[part].sum() for part in parts]
        seen += abs(math.log(rates[0] / rates[1])) > 1.96 * error
    assert seen / 600 == pytest.approx(0.8, abs=0.06)


def test_smaller_gaps_and_more_power_take_more_speakers():
    table = planted(100)
    basis = speakers_needed(table, points=0.02).total
    assert speakers_needed(table, points=0.01).total > 3 * basis
    assert speakers_needed(table, points=0.02, power=0.95).total > basis
    assert speakers_needed(table, points=0.02, level=0.99).total > basis
    assert speakers_needed(table, points=0.02, share=0.1).total > basis


def test_a_detectable_gap_clears_the_bar_in_four_of_five_draws():
    rng = np.random.default_rng(0)
    studentized_R, errors_R = rng.normal(size=4000), rng.gamma(50.0, 0.1 / 50.0, 4000)
    gap = detectable_gap(studentized_R, errors_R, critical=2.5)
    shown_R = studentized_R + math.log1p(gap) / errors_R
    assert (shown_R > 2.5 - 1e-9).mean() == pytest.approx(0.8, abs=1e-3)


def test_a_detectable_gap_is_the_textbook_one_where_errors_are_normal_and_known():
    draws_R = np.random.default_rng(0).normal(size=100_000)
    gap = detectable_gap(draws_R, np.full(100_000, 0.1), critical=1.96)
    assert gap == pytest.approx(math.expm1(0.2802), rel=0.01)


def test_no_gap_is_detectable_where_nothing_is_known_or_nothing_can_be_confirmed():
    nan_R, one_R = np.full(100, np.nan), np.ones(100)
    assert detectable_gap(nan_R, nan_R, critical=2.0) == math.inf
    assert detectable_gap(one_R, one_R, critical=math.inf) == math.inf
    assert detectable_gap(np.empty(0), np.empty(0), critical=2.0) == math.inf


@pytest.mark.parametrize("arguments", [{"points": 0.0}, {"points": 0.02, "share": 1.0}])
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(CohortError, match="between 0 and 1"):
        speakers_needed(planted(20), **arguments)


def test_a_table_with_one_speaker_is_no_pilot():
    table = planted(20)
    with pytest.raises(CohortError, match="at least 2 speakers"):
        speakers_needed(Table(table.only_speakers(["s0001"]).frame), points=0.02)
