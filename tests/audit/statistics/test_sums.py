# SPDX-License-Identifier: Apache-2.0
import numpy as np
import polars as pl
import pytest

from audit.planted import planted
from evenear.audit import Assignment, Cohorts, cohorts_by
from evenear.audit.statistics.sums import cohort_sums, whole_sums


@pytest.mark.parametrize("attribute", ["gender", "noise", "age×noise"])
def test_sums_are_those_of_grouping_the_table(attribute):
    table = planted(50)
    parts = [pl.col(name) for name in attribute.split("×")]
    expected = table.frame.group_by(pl.concat_str(parts, separator="×").alias("value")).agg(
        pl.col("words", "errors").sum(),
        pl.len().alias("utterances"),
        pl.col("speaker").n_unique().alias("speakers"),
    )
    found = cohort_sums(table, cohorts_by(table, [attribute]))
    assert [one.value for one in found] == sorted(expected["value"])
    for one in found:
        row = expected.row(by_predicate=pl.col("value") == one.value, named=True)
        assert (one.words, one.errors) == (row["words"], row["errors"])
        assert (one.utterances, one.speakers) == (row["utterances"], row["speakers"])
        assert one.wer == row["errors"] / row["words"]


@pytest.mark.parametrize("attribute", ["gender", "noise"])
def test_own_and_rest_make_everyone_with_a_known_value(attribute):
    table = planted(50)
    errors_S, words_S = whole_sums(table)
    for one in cohort_sums(table, cohorts_by(table, [attribute])):
        np.testing.assert_array_equal(one.own[0] + one.rest[0], errors_S)
        np.testing.assert_array_equal(one.own[1] + one.rest[1], words_S)


def test_speakers_of_unknown_value_are_in_no_sum():
    table = planted(50)
    region = dict.fromkeys(table.speakers["speaker"][:20], "north")
    region |= dict.fromkeys(table.speakers["speaker"][20:30], "south")
    region["nobody in the table"] = "north"
    north, south = cohort_sums(table, Cohorts((Assignment.of_speakers("region", region),)))
    assert (north.speakers, south.speakers) == (20, 10)
    assert not north.known.words_S[30:].any()
    np.testing.assert_array_equal(north.rest[1], south.own[1])


def test_only_reported_values_are_given_but_others_stay_in_the_rest():
    table = planted(50)
    (gender,) = cohorts_by(table, ["gender"]).assignments
    one = Assignment("gender", gender.frame, reported=("female",))
    (female,) = cohort_sums(table, Cohorts((one,)))
    both = cohort_sums(table, cohorts_by(table, ["gender"]))
    assert female.value == "female"
    assert female.gap("rest") == both[0].gap("rest")


def test_gaps_follow_their_formula():
    table = planted(50)
    female, male = cohort_sums(table, cohorts_by(table, ["gender"]))
    assert female.gap("rest") == pytest.approx((female.wer - male.wer) / male.wer)
    assert female.gap("overall") == pytest.approx((female.wer - table.wer) / table.wer)
    assert female.base_wer("rest") == male.wer


def test_there_is_no_gap_to_nobody():
    table = planted(20)
    everyone = Assignment("all", table.speakers.select("speaker", pl.lit("x").alias("value")))
    (one,) = cohort_sums(table, Cohorts((everyone,)))
    assert one.gap("rest") is None
    assert one.gap("overall") == 0.0


def test_numbers_and_ranges_ascend():
    table = planted(100)
    years = pl.Series("years", [float(row) for row in range(100)])
    grade = pl.Series("grade", [f"{row % 11}" for row in range(100)])
    table = table.with_attributes(table.speakers.select("speaker").hstack([years, grade]))
    found = cohort_sums(table, cohorts_by(table, ["years", "grade"]))
    values = [one.value for one in found]
    assert values[:4] == ["below 25", "25 to below 50", "50 to below 74", "74 and above"]
    assert values[4:] == [str(row) for row in range(11)]
