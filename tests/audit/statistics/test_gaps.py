# SPDX-License-Identifier: Apache-2.0
import dataclasses
import math

import numpy as np
import polars as pl
import pytest

from audit.planted import planted
from evenear.audit import Assignment, Cohorts, Table, cohorts_by, gaps, overall, split_speakers
from evenear.errors import CohortError

ALL = ["gender", "age", "accent"]


def measure(table, names=("gender", "age", "accent"), **settings):
    return gaps(table, cohorts_by(table, names), **{"num_resamples": 300, **settings})


def test_a_planted_gap_is_found_and_nothing_else():
    found = measure(planted(300, effects={("accent", "c"): 1.6}))
    assert found.worst is not None
    assert found.worst.value == "c"
    assert found.worst.gap_low < 0.6 < found.worst.gap_high
    others = [row for row in found.rows if row.attribute != "accent"]
    assert not any(row.confirmed for row in others)


def test_numbers_are_the_pooled_rates():
    table = planted(150)
    found = measure(table)
    for row in found.rows:
        own = table.frame.filter(pl.col(row.attribute) == row.value)
        rest = table.frame.filter(pl.col(row.attribute) != row.value)
        assert row.wer == own["errors"].sum() / own["words"].sum()
        assert row.base_wer == rest["errors"].sum() / rest["words"].sum()
        assert row.gap == pytest.approx((row.wer - row.base_wer) / row.base_wer)
        assert row.speakers == own["speaker"].n_unique()
        assert row.low < row.wer < row.high
        assert row.gap_low < row.gap < row.gap_high
        assert row.p_value <= row.p_adjusted
    assert found.overall.wer == table.wer


def test_gaps_to_overall_are_smaller_but_as_significant():
    table = planted(200, effects={("gender", "female"): 1.4})
    rest, whole = measure(table, ["gender"]), measure(table, ["gender"], to="overall")
    for one, other in zip(rest.rows, whole.rows, strict=True):
        assert abs(other.gap) < abs(one.gap)
        assert other.p_adjusted == one.p_adjusted
        assert other.base_wer == pytest.approx(table.wer)


def test_two_halves_of_an_attribute_are_equally_significant():
    female, male = measure(planted(100), ["gender"]).rows
    assert female.p_value == male.p_value
    assert (1 + female.gap) * (1 + male.gap) == pytest.approx(1.0)


def test_the_same_seed_gives_the_same_numbers_whatever_the_order_of_rows():
    table = planted(60)
    shuffled = Table(table.frame.sample(fraction=1.0, shuffle=True, seed=7))
    assert measure(table).rows == measure(shuffled).rows
    assert measure(table, seed=1).rows != measure(table, seed=2).rows


def test_small_cohorts_are_listed_without_numbers_and_not_counted_as_tried():
    found = measure(planted(60), min_speakers=12)
    small = [row for row in found.rows if row.suppressed]
    assert small
    assert all(row.speakers < 12 for row in small)
    assert all(row.wer is row.gap is row.p_adjusted is row.words is None for row in small)
    assert found.num_tried == len(found.rows) - len(small)
    few_words = measure(planted(60), ["gender"], min_words=10_000)
    assert all(row.suppressed for row in few_words.rows)


@pytest.mark.parametrize("to", ["rest", "overall"])
def test_a_small_rest_says_as_little_as_a_small_cohort(to):
    table = planted(60)
    few = pl.when(pl.col("speaker") < "s0003").then(pl.lit("few")).otherwise(pl.lit("many"))
    found = measure(Table(table.frame.with_columns(few.alias("kind"))), ["kind"], to=to)
    assert [(row.value, row.suppressed) for row in found.rows] == [("few", True), ("many", True)]
    assert all(row.wer is row.base_wer is None for row in found.rows)


def test_numbers_come_from_confirmation_speakers_alone():
    table = planted(200, effects={("accent", "c"): 1.8})
    found = measure(table, confirm_fraction=0.5, seed=3)
    discover, confirm = split_speakers(table, confirm_fraction=0.5, seed=3)
    alone, before = measure(confirm), measure(discover)
    assert found.overall.speakers == confirm.num_speakers == 100
    for row, other, earlier in zip(found.rows, alone.rows, before.rows, strict=True):
        assert (row.wer, row.gap, row.speakers) == (other.wer, other.gap, other.speakers)
        assert row.discovered_gap == pytest.approx(earlier.gap)


def test_a_gap_that_turns_round_is_not_confirmed():
    table = planted(200, effects={("gender", "female"): 2.0})
    discover, confirm = split_speakers(table, seed=0)
    turned = confirm.frame.with_columns(
        pl.when(pl.col("gender") == "female")
        .then(pl.lit("male"))
        .otherwise(pl.lit("female"))
        .alias("gender")
    )
    both = Table(pl.concat([discover.frame, turned]))
    assert measure(table, ["gender"], confirm_fraction=0.5).worst is not None
    assert measure(both, ["gender"], confirm_fraction=0.5).worst is None


def test_what_varies_within_speakers_is_tested_by_flipping_signs():
    table = planted(100)
    harder = pl.when(pl.col("noise") == "high").then(pl.col("errors") * 2).otherwise("errors")
    table = Table(table.frame.with_columns(harder.alias("errors")))
    found = measure(table, ["noise"])
    assert found.p_value_method == "sign flips"
    assert found.worst is not None
    assert found.worst.value == "high"
    within = (1 + found.worst.gap_high) / (1 + found.worst.gap_low)
    speakers = pl.Series("half", ["high", "low"] * 50)
    between = table.with_attributes(table.speakers.select("speaker").hstack([speakers]))
    (row, _) = measure(between, ["half"]).rows
    assert within < (1 + row.gap_high) / (1 + row.gap_low)


def test_a_cohort_without_errors_gets_an_upper_bound():
    table = planted(60)
    clean = pl.when(pl.col("gender") == "male").then(0).otherwise("errors").alias("errors")
    found = measure(Table(table.frame.with_columns(clean)), ["gender"])
    female, male = found.rows
    assert (male.wer, male.low, male.gap, male.gap_low) == (0.0, 0.0, -1.0, -1.0)
    assert 3.0 / male.words < male.high < 0.05
    assert male.gap_high == pytest.approx(male.high / female.wer - 1.0)
    assert female.gap is None
    assert female.size == math.inf
    assert female.gap_low > 1.0
    assert female.confirmed
    assert male.confirmed
    assert found.worst is female


def test_one_error_of_a_clean_cohort_hardly_changes_what_is_said():
    """Without errors, the largest gap could not be tested at all."""
    table = planted(60)
    clean = pl.when(pl.col("gender") == "male").then(0).otherwise("errors").alias("errors")
    clean = Table(table.frame.with_columns(clean))
    first = clean.frame.filter(pl.col("gender") == "male")["utterance_id"][0]
    error = pl.when(pl.col("utterance_id") == first).then(1).otherwise("errors").alias("errors")
    without = measure(clean, ["gender"]).rows[1]
    one = measure(Table(clean.frame.with_columns(error)), ["gender"]).rows[1]
    assert one.confirmed
    assert without.confirmed
    assert without.p_adjusted <= one.p_adjusted


def test_a_value_that_everyone_shares_has_a_rate_but_no_gap():
    table = planted(30)
    cohort = Assignment("all", table.speakers.select("speaker", pl.lit("x").alias("value")))
    (row,) = gaps(table, Cohorts((cohort,)), num_resamples=100).rows
    assert row.wer == table.wer
    assert row.gap is row.gap_low is row.p_adjusted is None
    assert row.confirmed is None


def test_one_speaker_has_a_rate_but_no_interval():
    table = planted(30).only_speakers(["s0003"])
    found = overall(table, num_resamples=100)
    assert found.wer == table.wer
    assert found.low is found.high is None


def test_shrunken_rates_lie_between_the_rate_and_the_others():
    found = measure(planted(300, effects={("accent", "c"): 1.6}), ["accent"])
    rates = [row.wer for row in found.rows]
    for row in found.rows:
        assert min(rates) <= row.shrunken_wer <= max(rates)
    assert max(found.rows, key=lambda row: row.shrunken_wer).value == "c"


def test_every_attribute_has_its_spread():
    found = measure(planted(300, effects={("accent", "c"): 2.0}))
    assert [spread.attribute for spread in found.spreads] == ALL
    accent = found.spreads[2]
    assert 0.0 < accent.corrected_variance < accent.variance
    assert accent.worst_wer == max(row.wer for row in found.of("accent"))


def test_a_gap_that_could_just_be_seen_is_about_as_wide_as_its_interval():
    (row, _) = measure(planted(300), ["gender"]).rows
    half = (row.gap_high - row.gap_low) / 2
    assert half < row.detectable_gap < 2.5 * half


def test_the_more_cohorts_are_tried_the_larger_a_gap_must_be():
    table = planted(300)
    alone, among = (measure(table, names).of("gender")[0] for names in (["gender"], ALL))
    assert among.detectable_gap > 1.05 * alone.detectable_gap


@pytest.mark.parametrize("to", ["rest", "overall"])
def test_a_gap_of_the_detectable_size_is_confirmed_about_four_times_out_of_five(to):
    def row(seed, effect):
        table = planted(120, seed=seed, utterances=4, effects={("age", "teens"): effect})
        return next(one for one in measure(table, to=to).rows if one.value == "teens")

    typical = np.median([row(seed, 1.0).detectable_gap for seed in range(8)])
    effect = 1.0 + typical
    if to == "overall":  # a quarter of speakers are teens
        effect = 0.75 * effect / (1.0 - 0.25 * effect)
    seen = sum(row(seed, effect).confirmed for seed in range(100, 140))
    assert 24 <= seen <= 39  # 80 % of 40 is 32


def test_a_surer_audit_sees_only_larger_gaps():
    (usual, _), (sure, _) = (
        measure(planted(100), ["gender"], level=level).rows for level in (0.95, 0.99)
    )
    assert sure.detectable_gap > 1.1 * usual.detectable_gap


def test_adjustment_that_is_impossible_is_a_warning_not_an_end():
    table = planted(100)
    twin = table.frame["gender"].alias("twin")
    table = Table(table.frame.with_columns(twin))
    found = measure(table, ["gender", "age"], adjust_for=["twin"])
    assert any("gender could not be adjusted" in warning for warning in found.warnings)
    assert all(row.adjusted_ratio is None for row in found.of("gender"))
    assert all(row.adjusted_ratio is not None for row in found.of("age"))


def test_within_strata_what_is_the_same_for_a_stratum_explains_nothing():
    """Site b is harder, and women were mostly recorded there: no gap within either site."""
    table = planted(300, scatter=0.2, effects={("gender", "female"): 1.5})
    site = pl.when(pl.col("gender") == "female").then(pl.lit("b")).otherwise(pl.lit("a"))
    swapped = pl.col("speaker").str.slice(1).cast(pl.Int64) % 5 == 0
    gender = pl.when(swapped).then(pl.lit("male")).otherwise("gender")
    table = Table(table.frame.with_columns(site.alias("site"), gender.alias("gender")))
    across, within = measure(table, ["gender"]), measure(table, ["gender"], strata="site")
    assert across.worst is not None
    assert within.worst is None
    assert within.strata == "site"
    assert across.rows[0].gap == within.rows[0].gap


def test_strata_must_belong_to_speakers():
    with pytest.raises(CohortError, match="one value of 'noise' for each speaker"):
        measure(planted(30), ["gender"], strata="noise")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"to": "best"}, "'rest' or 'overall'"),
        ({"num_resamples": 10}, "at least 100"),
        ({"level": 95}, "between 0.5 and 1"),
        ({"num_resamples": 200, "level": 0.999}, "with 200 resamples; 999 are the least"),
        ({"confirm_fraction": 1.5}, "between 0 and 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(CohortError, match=message):
        measure(planted(20), **settings)


def test_no_cohorts_are_refused():
    with pytest.raises(CohortError, match="no cohorts"):
        gaps(planted(20), Cohorts())


def test_discovered_cohorts_keep_the_name_of_what_found_them():
    table = planted(60)
    north = dict.fromkeys(table.speakers["speaker"][:30], "north")
    south = dict.fromkeys(table.speakers["speaker"][30:], "south")
    region = Assignment.of_speakers("region", north | south, found_by="geography")
    rows = gaps(table, Cohorts((region,)), num_resamples=100).rows
    assert {row.found_by for row in rows} == {"geography"}


@pytest.mark.slow
def test_the_worst_of_many_is_rarely_confirmed_where_nothing_is():
    alarms = sum(
        measure(planted(80, seed=trial), confirm_fraction=fraction, seed=trial).worst is not None
        for trial in range(100)
        for fraction in (0.0, 0.5)
    )
    assert alarms <= 20  # 5 % of 200 is 10


def test_results_are_values():
    found = measure(planted(40))
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.rows[0].gap = 0.0


def test_every_attribute_is_tested_as_it_varies():
    found = measure(planted(100), ["gender", "noise"])
    assert {row.tested_by for row in found.of("gender")} == {"permutation"}
    assert {row.tested_by for row in found.of("noise")} == {"sign flips"}
    assert found.p_value_method == "permutation and sign flips"


def test_one_contradiction_is_named_and_hardly_changes_anything():
    """One of 1,200 utterances once switched every cohort to a weaker test, in silence."""
    table = planted(150, effects={("gender", "female"): 1.5})
    odd = table.frame["utterance_id"][3]
    other = pl.when(pl.col("gender") == "male").then(pl.lit("female")).otherwise(pl.lit("male"))
    turned = pl.when(pl.col("utterance_id") == odd).then(other).otherwise("gender").alias("gender")
    mixed = Table(table.frame.with_columns(turned))
    before, after = (measure(one, ["gender", "age"]) for one in (table, mixed))
    for row, same in zip(before.rows, after.rows, strict=True):
        assert same.tested_by == "permutation"
        assert same.p_adjusted == pytest.approx(row.p_adjusted, abs=0.03)
    assert before.warnings == ()
    (warning,) = after.warnings
    assert "gender changes within 1 of 150 speakers, such as 's0000'" in warning


def test_an_attribute_without_values_is_named():
    table = planted(60)
    empty = pl.lit(None, dtype=pl.String).alias("accent")
    found = measure(Table(table.frame.with_columns(empty)), ["gender", "accent"])
    assert found.without_values == ("accent",)
    assert found.attributes == ("gender",)
    assert any("accent has no value in any utterance" in line for line in found.warnings)
