# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

from audit.planted import planted
from evenear.audit import Table, speakers_needed
from evenear.audit.bootstrap import Contrast, contrast_intervals
from evenear.audit.power import detectable_gap, speaker_variance
from evenear.audit.sums import whole_sums
from evenear.errors import CohortError
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


def test_a_detectable_gap_grows_with_the_standard_error():
    assert detectable_gap(0.0) == 0.0
    assert detectable_gap(0.1) == pytest.approx(math.expm1(0.2802), rel=1e-3)
    assert math.isfinite(detectable_gap(1e9))


@pytest.mark.parametrize("arguments", [{"points": 0.0}, {"points": 0.02, "share": 1.0}])
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(CohortError, match="between 0 and 1"):
        speakers_needed(planted(20), **arguments)


def test_a_table_with_one_speaker_is_no_pilot():
    table = planted(20)
    with pytest.raises(CohortError, match="at least 2 speakers"):
        speakers_needed(Table(table.only_speakers(["s0001"]).frame), points=0.02)
