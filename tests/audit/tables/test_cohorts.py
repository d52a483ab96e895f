# SPDX-License-Identifier: Apache-2.0
import numpy as np
import polars as pl
import pytest

from audit.planted import planted
from evenear.audit import Assignment, Cohorts, Table, cohorts_by, intersect
from evenear.audit.statistics.sums import cohort_sums
from evenear.audit.tables.cohorts import number_texts
from evenear.errors import CohortError, TableError


def test_an_attribute_of_speakers_is_assigned_to_speakers():
    (gender,) = cohorts_by(planted(30), ["gender"]).assignments
    assert gender.key == "speaker"
    assert gender.frame.height == 30


def test_an_attribute_that_varies_within_speakers_is_assigned_to_utterances():
    table = planted(30)
    (noise,) = cohorts_by(table, ["noise"]).assignments
    assert noise.key == "utterance_id"
    assert noise.frame.height == table.num_utterances


@pytest.mark.parametrize("name", ["gender×age", "gender*age", "gender × age"])
def test_an_intersection_has_the_values_of_both(name):
    table = planted(100)
    (both,) = cohorts_by(table, [name]).assignments
    assert both.attribute == "gender×age"
    expected = table.frame.select(pl.concat_str("gender", "age", separator="×")).to_series()
    assert set(both.frame["value"]) == set(expected)


@pytest.mark.parametrize("names", [("gender", "noise"), ("noise", "gender")])
def test_speakers_and_utterances_intersect_as_utterances(names):
    table = planted(40)
    first, second = cohorts_by(table, names).assignments
    both = intersect(table, first, second)
    assert both.key == "utterance_id"
    joined = table.frame.join(both.frame, on="utterance_id")
    expected = joined.select(pl.concat_str(*names, separator="×")).to_series()
    assert joined["value"].to_list() == expected.to_list()


def test_unknown_values_belong_to_no_cohort():
    table = planted(40)
    unknown = table.with_attributes(
        table.speakers.select("speaker", pl.lit(None, dtype=pl.String).alias("gender")).head(10)
    )
    assert unknown.frame["gender"].null_count() == unknown.num_utterances
    (gender,) = cohorts_by(unknown, ["gender"]).assignments
    assert gender.frame.height == 0


def test_many_numbers_are_cut_into_ranges_of_equally_many_speakers():
    table = planted(200)
    years = pl.Series("years", range(200)).cast(pl.Int64)
    table = table.with_attributes(table.speakers.select("speaker").hstack([years]))
    ranges = cohort_sums(table, cohorts_by(table, ["years"], num_ranges=4))
    assert sum(one.speakers for one in ranges) == 200
    assert len(ranges) == 4
    assert all(abs(one.speakers - 50) <= 1 for one in ranges)


def test_numbers_that_change_within_speakers_are_cut_into_ranges_of_equally_many_rows():
    """Cut at the means of speakers, the outer ranges held nearly everything."""
    table = planted(100)
    snr = pl.Series("snr", np.random.default_rng(0).normal(20.0, 8.0, table.num_utterances))
    noisy = Table(table.frame.with_columns(snr))
    ranges = cohort_sums(noisy, cohorts_by(noisy, ["snr"]))
    quarter = table.num_utterances / 4
    assert [one.utterances for one in ranges] == pytest.approx([quarter] * 4, abs=2)


def test_numbers_that_are_mostly_alike_are_still_cut():
    table = planted(60)
    years = pl.Series("years", [0] * 40 + list(range(1, 21)))
    table = table.with_attributes(table.speakers.select("speaker").hstack([years]))
    (cut,) = cohorts_by(table, ["years"]).assignments
    assert cut.frame["value"].n_unique() >= 2
    assert cut.frame["value"].null_count() == 0


def test_few_numbers_stay_as_they_are():
    table = planted(40)
    ages = pl.Series("class", [row % 3 for row in range(40)])
    table = table.with_attributes(table.speakers.select("speaker").hstack([ages]))
    assert {one.value for one in cohort_sums(table, cohorts_by(table, ["class"]))} == {
        "0",
        "1",
        "2",
    }


def test_an_attribute_may_be_assigned_once():
    one = Cohorts((Assignment.of_speakers("region", {"s": "north"}),))
    with pytest.raises(CohortError, match="region"):
        one + one


def test_a_missing_attribute_names_the_nearest():
    with pytest.raises(TableError, match="accent"):
        cohorts_by(planted(10), ["acent"])


def test_cohorts_add():
    table = planted(20)
    found = Cohorts((Assignment.of_speakers("region", {"s0001": "north"}, found_by="geography"),))
    assert (cohorts_by(table, ["age"]) + found).attributes == ("age", "region")


@pytest.mark.parametrize(
    ("numbers", "texts"),
    [
        ([18.0, 25.5], ["18", "25.5"]),
        ([0.123456789, 45_123_456.7], ["0.12345679", "45123457"]),
        ([1_700_000_025.0, 1_700_000_050.0], ["1700000025", "1700000050"]),
        ([1.0, 1.0 + 2**-52], ["1", "1.0000000000000002"]),
    ],
)
def test_different_numbers_have_different_texts(numbers, texts):
    assert number_texts(numbers) == texts


def test_large_numbers_that_differ_little_are_cut_into_ranges():
    """They once crashed, because two ranges had one name."""
    table = planted(80)
    times = pl.Series("recorded", [1_700_000_000 + k for k in range(80)])
    table = table.with_attributes(table.speakers.select("speaker").hstack([times]))
    (recorded,) = cohorts_by(table, ["recorded"]).assignments
    assert recorded.frame["value"].n_unique() == 4


def test_a_number_that_is_none_is_no_cohort():
    table = planted(40)
    stars = pl.Series("stars", [1.0, 2.0, float("nan"), 3.0] * 10)
    table = table.with_attributes(table.speakers.select("speaker").hstack([stars]))
    (assigned,) = cohorts_by(table, ["stars"]).assignments
    assert set(assigned.frame["value"]) == {"1.0", "2.0", "3.0"}
