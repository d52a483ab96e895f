# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import polars as pl
import pytest

from audit.planted import planted
from evenear.audit import Gap, Table, cohorts_by
from evenear.audit.statistics.sums import cohort_sums
from evenear.audit.statistics.zeros import without_errors

ROW = Gap(attribute="gender", value="x", speakers=30, utterances=90, low=0.1, gap_low=0.0)


def sides(clean: str):
    """Both genders, one of them without errors."""
    table = planted(80)
    errors = pl.when(pl.col("gender") == clean).then(0).otherwise("errors").alias("errors")
    table = Table(table.frame.with_columns(errors))
    return cohort_sums(table, cohorts_by(table, ["gender"]))


def test_rows_with_errors_on_both_sides_stay_as_they_are():
    (female, _) = cohort_sums(planted(40), cohorts_by(planted(40), ["gender"]))
    row = Gap(attribute="a", value="b", speakers=1, utterances=1, base_wer=0.2, gap_low=0.1)
    assert without_errors(row, female, 0.95) is row


def test_a_clean_cohort_is_bounded_by_the_rule_of_three_times_the_clumping():
    female, _ = sides("female")
    errors_S, words_S = female.rest
    rate = errors_S.sum() / words_S.sum()
    spoke = words_S > 0
    variance = ((errors_S - rate * words_S)[spoke] ** 2).sum() * spoke.sum() / (spoke.sum() - 1)
    found = without_errors(Gap(**{**vars(ROW), "base_wer": rate}), female, 0.95)
    assert found.high == pytest.approx(-math.log(0.025) * variance / errors_S.sum() / female.words)
    assert (found.low, found.gap_low) == (0.0, -1.0)
    assert found.gap_high == pytest.approx(found.high / rate - 1.0)


def test_a_gap_to_a_clean_rest_has_a_lower_bound_and_no_upper_one():
    female, male = sides("male")
    bound = without_errors(Gap(**{**vars(ROW), "base_wer": female.wer}), male, 0.95).high
    found = without_errors(Gap(**{**vars(ROW), "base_wer": 0.0}), female, 0.95)
    assert found.gap_low == pytest.approx(0.1 / bound - 1.0)
    assert found.gap_high is None


def test_nothing_is_known_of_a_gap_between_two_clean_sides():
    table = planted(40)
    table = Table(table.frame.with_columns(errors=np.zeros(table.num_utterances, dtype=int)))
    (female, _) = cohort_sums(table, cohorts_by(table, ["gender"]))
    found = without_errors(Gap(**{**vars(ROW), "base_wer": 0.0}), female, 0.95)
    assert (found.low, found.gap_low, found.gap_high) == (0.0, None, None)
