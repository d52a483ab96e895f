# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy import stats

from audit.simulated import results
from evenear.audit import gaps, split_speakers
from evenear.audit.discovery.subgroups.find import find_subgroups
from evenear.audit.discovery.subgroups.search import SubgroupSettings
from evenear.errors import CohortError, TableError

QUICK = SubgroupSettings(min_speakers=20, num_permutations=19)


def corpus(number=600, *, seed=0, planted=None, effect=2.0, **more):
    rng = np.random.default_rng(seed)
    columns = {
        "age": rng.choice(["adult", "child", "senior", "teen"], number),
        "gender": rng.choice(["female", "male"], number),
        "device": rng.choice(["far", "near", "phone"], number),
    }
    bad = None
    if planted is not None:
        bad = np.logical_and.reduce([columns[name] == kind for name, kind in planted.items()])
    return results({**columns, **more}, planted=bad, effect=effect, seed=seed)


@pytest.mark.parametrize("method", ["beam", "scan"])
@pytest.mark.parametrize("seed", range(3))
def test_a_planted_conjunction_is_found_and_confirmed(method, seed):
    table = corpus(1200, seed=seed, planted={"age": "teen", "gender": "female"})
    discover, confirm = split_speakers(table, seed=seed)
    settings = SubgroupSettings(method=method, min_speakers=20, num_permutations=19)
    found = find_subgroups(discover, settings=settings, seed=seed)
    best = found.subgroups[0]
    assert {one.text for one in best.conditions} == {"age teen", "gender female"}
    assert best.p_adjusted is not None
    assert best.p_adjusted < 0.01
    measured = gaps(confirm, found.assign(confirm), seed=seed, num_resamples=300)
    (row,) = [row for row in measured.rows if row.attribute == "subgroup 1"]
    assert row.confirmed
    assert row.gap_low < 1.0 < row.gap_high
    assert found.describe()["subgroup 1", best.value].startswith("everyone with ")
    assert "found first: " + best.value in found.summary
    assert "not why" in found.warnings[0]


def test_one_attribute_at_a_time_misses_what_a_conjunction_shows():
    table = corpus(1200, planted={"age": "teen", "gender": "female"}, effect=1.6)
    single = find_subgroups(table, settings=SubgroupSettings(method="single"))
    joint = find_subgroups(table)
    assert all(len(one.conditions) == 1 for one in single.subgroups)
    assert joint.subgroups[0].score > single.subgroups[0].score + 2.0
    assert joint.subgroups[0].gap > single.subgroups[0].gap


def test_counts_are_those_of_a_plain_filter():
    table = corpus(planted={"device": "far"})
    for one in find_subgroups(table, settings=QUICK).subgroups:
        frame = table.frame
        inside = frame.filter(
            pl.all_horizontal(pl.col(c.column.name).is_in(list(c.kinds)) for c in one.conditions)
        )
        outside = frame.join(inside, on="utterance_id", how="anti")
        assert one.speakers == inside["speaker"].n_unique()
        assert (one.words, one.errors) == (inside["words"].sum(), inside["errors"].sum())
        rates = [part["errors"].sum() / part["words"].sum() for part in (inside, outside)]
        assert one.gap == pytest.approx(rates[0] / rates[1] - 1.0)


@pytest.mark.parametrize("varying", [False, True])
def test_p_values_of_noise_are_those_of_noise(varying):
    noise = {"noise": lambda who: np.array(["hi", "lo"])[(np.arange(len(who)) * 7919) % 2]}
    p_values = []
    for seed in range(40):
        table = corpus(150, seed=seed, **(noise if varying else {}))
        settings = SubgroupSettings(
            min_speakers=10, min_words=100, num_subgroups=1, num_permutations=19, margin=0.0
        )
        found = find_subgroups(table, settings=settings, seed=seed).subgroups
        p_values += [one.p_adjusted for one in found]
    assert len(p_values) > 30
    assert sum(p <= 0.1 for p in p_values) <= stats.binom.ppf(0.999, len(p_values), 0.1)
    low, high = stats.binom.ppf([0.001, 0.999], len(p_values), 0.5)
    assert low <= sum(p <= 0.5 for p in p_values) <= high


def test_nothing_planted_is_not_confirmed():
    confirmed = 0
    for seed in range(20):
        discover, confirm = split_speakers(corpus(300, seed=seed), seed=seed)
        found = find_subgroups(discover, settings=SubgroupSettings(num_permutations=0), seed=seed)
        cohorts = found.assign(confirm)
        if cohorts.assignments:
            rows = gaps(confirm, cohorts, num_resamples=200, min_words=100).rows
            confirmed += any(row.confirmed for row in rows)
    assert confirmed <= 4  # five in a hundred of 20, and three standard deviations


def test_what_repeats_a_better_find_or_lives_on_it_is_left_out():
    rng = np.random.default_rng(0)
    far = rng.random(1500) < 0.3
    alike = np.where(rng.random(1500) < 0.95, far, ~far)
    around = far | (rng.random(1500) < 0.6)
    columns = {
        "device": np.where(far, "far", "near"),
        "model": np.where(alike, "old", "new"),
        "room": np.where(around, "large", "small"),
    }
    table = results(columns, planted=far, effect=2.5)
    alone = [find_subgroups(table, [name], QUICK).subgroups[0].value for name in columns]
    assert alone == ["device far", "model old", "room large"]
    found = find_subgroups(table, settings=QUICK)
    assert [one.value for one in found.subgroups] == ["device far"]


@pytest.mark.parametrize(("share", "number"), [(0.5, 1), (0.8, 2)])
def test_finds_share_no_more_words_than_was_set(share, number):
    row = np.arange(1200)
    first, second = row < 300, (row >= 60) & (row < 360)  # two thirds of both are shared
    columns = {"one": np.where(first, "a", "b"), "two": np.where(second, "a", "b")}
    table = results(columns, planted=first | second, effect=2.5)
    settings = SubgroupSettings(max_conditions=1, max_overlap=share, num_permutations=0)
    assert len(find_subgroups(table, settings=settings).subgroups) == number


def test_who_is_unknown_is_neither_inside_nor_outside():
    table = corpus(400, planted={"gender": "female"})
    unknown = pl.when(pl.col("speaker") < "s0100").then(None).otherwise("gender")
    table = type(table)(table.frame.with_columns(gender=unknown))
    found = find_subgroups(table, ["gender"], QUICK)
    (assigned,) = found.assign(table).assignments
    assert assigned.frame["speaker"].min() == "s0100"
    assert set(assigned.frame["value"]) == {"gender female", "everyone else"}


def test_the_seed_decides_everything():
    table = corpus(planted={"age": "child"})
    first, again, other = (find_subgroups(table, settings=QUICK, seed=s) for s in (1, 1, 2))
    assert first == again
    assert [one.p_adjusted for one in first.subgroups] != [
        one.p_adjusted for one in other.subgroups
    ]


def test_too_few_speakers_are_said_to_have_shown_nothing():
    table = corpus(30)
    found = find_subgroups(table)
    assert found.subgroups == ()
    assert "found no subgroup with enough speakers" in found.summary
    assert found.assign(table).assignments == ()
    assert (found.warnings, found.describe()) == ((), {})


def test_speech_without_errors_has_nothing_to_find():
    table = corpus(60)
    perfect = type(table)(table.frame.with_columns(errors=pl.lit(0, dtype=pl.Int64)))
    with pytest.raises(CohortError, match="needs speech with errors"):
        find_subgroups(perfect)


def test_subgroups_of_attributes_that_a_table_lacks_name_the_nearest():
    table = corpus(planted={"age": "child"})
    found = find_subgroups(table, ["age"], QUICK)
    with pytest.raises(TableError, match="no attribute 'age'"):
        found.assign(type(table)(table.frame.rename({"age": "ages"})))


def test_the_largest_of_many_kinds_are_searched_and_the_others_are_one():
    rng = np.random.default_rng(3)
    accents = np.array([f"accent {k:02d}" for k in range(20)])
    weights = np.array([0.15, 0.15, *[0.7 / 18] * 18])
    table = corpus(
        800, accent=rng.choice(accents, 800, p=weights), town=[f"t{k}" for k in range(800)]
    )
    worse = pl.when(pl.col("accent") == "accent 01").then(pl.col("errors") * 3 + 1)
    table = replace(
        table, frame=table.frame.with_columns(worse.otherwise("errors").alias("errors"))
    )
    found = find_subgroups(table, settings=SubgroupSettings(min_speakers=60, num_permutations=9))
    assert found.subgroups[0].conditions[0].text == "accent accent 01"
    (column,) = [one.column for one in found.subgroups[0].conditions]
    assert column.largest == ("accent 00", "accent 01") or column.largest == (
        "accent 01",
        "accent 00",
    )
    assert found.left_out == ("town",)
    assert "not over town, whose kinds have too few speakers each" in found.summary
    assigned = found.assign(table).assignments[0]
    assert assigned.frame["value"].null_count() == 0
