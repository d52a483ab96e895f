# SPDX-License-Identifier: Apache-2.0
import numpy as np
import polars as pl
import pytest

from audit.simulated import results
from evenear.audit import gaps, split_speakers
from evenear.audit.discovery.census.partitions import (
    ECOLOGICAL_WARNING,
    CensusPartitions,
    CensusSettings,
    find_census_partitions,
)
from evenear.audit.discovery.census.zipcodes import zip_table
from evenear.config import from_json, to_json
from evenear.errors import CohortError

FAST = CensusSettings(num_permutations=99)


def corpus(number=1200, seed=0, effect=1.6, column="pct_hispanic", above=0.5):
    known = zip_table().drop_nulls(["population", column, "median_household_income"])
    people = known["population"].to_numpy() / known["population"].sum()
    rows = np.random.default_rng(seed).choice(known.height, number, p=people)
    planted = known[column].to_numpy()[rows] > above
    codes = known["zip"].to_numpy()[rows].astype(str)
    return results({"zip": codes}, planted=planted, effect=effect, seed=seed), planted


def test_a_planted_majority_is_found_and_confirmed():
    table, _ = corpus(2400)
    rule = find_census_partitions(split_speakers(table).discover, FAST)
    assert rule.partitions[0].value == "ZIP codes: more than half of the people are Hispanic"
    assert rule.partitions[0].p_adjusted == pytest.approx(0.01)
    found = gaps(table, rule.assign(table), confirm_fraction=0.5, num_resamples=200)
    row = found.of("census 1")[0]
    assert row.confirmed
    assert row.found_by == "census"
    assert row.gap == pytest.approx(0.6, abs=0.25)


def test_a_planted_pair_is_found_as_a_pair():
    known = zip_table().drop_nulls(["pct_hispanic", "median_household_income", "population"])
    people = known["population"].to_numpy() / known["population"].sum()
    rows = np.random.default_rng(0).choice(known.height, 4000, p=people)
    poor = known["median_household_income"].to_numpy()[rows] < 58_194
    south = known["census_region"].to_numpy()[rows] == "South"
    codes = known["zip"].to_numpy()[rows].astype(str)
    table = results({"zip": codes}, planted=poor & south, effect=1.6)
    best = find_census_partitions(table, FAST).partitions[0]
    assert {c.column for c in best.conditions} == {"median_household_income", "census_region"}


def test_counts_of_a_partition_are_those_of_its_speakers():
    table, _ = corpus(600)
    rule = find_census_partitions(table, FAST)
    for one, assignment in zip(rule.partitions, rule.assign(table).assignments, strict=True):
        members = assignment.frame.filter(pl.col("value") == one.value)["speaker"]
        spoken = table.only_speakers(members)
        others = table.only_speakers(
            assignment.frame.filter(pl.col("value") != one.value)["speaker"]
        )
        assert one.speakers == len(members)
        assert (one.words, one.errors) == (spoken.words, spoken.errors)
        assert spoken.wer is not None
        assert others.wer is not None
        assert one.gap == pytest.approx(spoken.wer / others.wer - 1.0, rel=0.02)  # some are unknown


def test_the_ecological_warning_is_in_the_output_itself():
    table, _ = corpus(600)
    rule = find_census_partitions(table, FAST)
    assert ECOLOGICAL_WARNING in rule.warnings
    for name, text in rule.describe().items():
        assert text.startswith("speakers in ZIP codes where")
        assert "not of the speakers" in text
        assert name.value.startswith("ZIP codes: ")


def test_p_values_pay_for_all_partitions_that_were_tried():
    small = 0
    for seed in range(10):
        table, _ = corpus(300, seed=seed, effect=1.0)
        rule = find_census_partitions(table, CensusSettings(num_permutations=49), seed=seed)
        assert rule.num_tried > 100
        small += any((one.p_adjusted or 1.0) <= 0.1 for one in rule.partitions)
    assert small <= 5


def test_the_largest_gap_may_be_wanted_as_in_the_paper():
    table, _ = corpus(600)
    largest = find_census_partitions(table, CensusSettings(rank_by="gap", num_permutations=19))
    surest = find_census_partitions(table, CensusSettings(num_permutations=19))
    assert largest.partitions[0].gap >= surest.partitions[0].gap
    assert largest.partitions[0].statistic <= surest.partitions[0].statistic
    gaps_ = [one.gap for one in largest.partitions]
    assert gaps_ == sorted(gaps_, reverse=True)


def test_partitions_have_enough_on_both_sides():
    table, _ = corpus(400)
    settings = CensusSettings(min_speakers=60, min_zips=50, min_words=2000, num_permutations=0)
    rule = find_census_partitions(table, settings)
    assert rule.partitions
    for one in (*rule.partitions, *rule.runners_up):
        assert 60 <= one.speakers <= rule.num_speakers - 60
        assert 50 <= one.zips <= rule.num_zips - 50
        assert one.words >= 2000
        assert one.p_adjusted is None


def test_kept_partitions_are_not_nearly_alike():
    table, _ = corpus()
    rule = find_census_partitions(table, FAST)
    sets = [
        set(a.frame.filter(pl.col("value") != "other ZIP codes")["speaker"])
        for a in rule.assign(table).assignments
    ]
    for k, one in enumerate(sets):
        for other in sets[:k]:
            assert len(one & other) <= 0.52 * len(one | other)


def test_a_rule_survives_json():
    table, _ = corpus(400)
    rule = find_census_partitions(table, FAST)
    assert from_json(CensusPartitions, to_json(rule)) == rule
    assert rule.summary.startswith(f"{rule.num_tried:,} partitions")


def test_post_boxes_and_foreign_codes_are_unknown():
    table, _ = corpus(400)
    codes = pl.when(pl.col("speaker") == "s0000").then(pl.lit("00000")).otherwise("zip")
    changed = type(table)(table.frame.with_columns(zip=codes))
    frame = find_census_partitions(table, FAST).assign(changed).assignments[0].frame
    assert "s0000" not in frame["speaker"].to_list()
    assert "s0001" in frame["speaker"].to_list()


def test_a_table_without_zip_codes_says_what_is_needed():
    with pytest.raises(CohortError, match="column zip"):
        find_census_partitions(results({"age": ["old", "young"]}))


def test_codes_that_are_no_zip_codes_are_refused():
    with pytest.raises(CohortError, match="knows none of those"):
        find_census_partitions(results({"zip": ["00000", "99999"]}))


def test_too_few_speakers_give_no_partition_and_say_so():
    table, _ = corpus(20)
    rule = find_census_partitions(table, FAST)
    assert rule.partitions == ()
    assert "none had enough speakers" in rule.summary
    assert rule.assign(table).assignments == ()
