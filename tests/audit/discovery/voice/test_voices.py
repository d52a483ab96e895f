# SPDX-License-Identifier: Apache-2.0
import numpy as np
import polars as pl
import pytest

from audit.simulated import results
from evenear.audit import gaps, split_speakers
from evenear.audit.discovery.voice.embeddings import Embeddings, with_embeddings
from evenear.audit.discovery.voice.voices import Voices, VoiceSettings, find_voices
from evenear.config import from_json, to_json
from evenear.errors import CohortError, TableError

FAST = VoiceSettings(num_permutations=59)


def corpus(number=1000, seed=0, effect=1.6, kinds=8):
    rng = np.random.default_rng(seed)
    rows = rng.integers(kinds, size=number)
    vectors = rng.normal(size=(kinds, 16))[rows] + 0.5 * rng.normal(size=(number, 16))
    columns = {"gender": np.where(rows % 2 == 0, "female", "male")}
    table = results(columns, planted=rows == 0, effect=effect, seed=seed)
    names = tuple(f"s{row:04d}" for row in range(number))
    return with_embeddings(table, Embeddings(names, vectors)), rows


@pytest.fixture(scope="module")
def planted():
    table, rows = corpus()
    return table, rows, find_voices(split_speakers(table).discover, FAST)


def test_a_planted_kind_of_voice_is_found_and_confirmed(planted):
    table, rows, rule = planted
    found = gaps(table, rule.assign(table), confirm_fraction=0.5, num_resamples=200)
    assert found.worst is not None
    assert (found.worst.attribute, found.worst.found_by) == ("voice", "voice")
    frame = rule.assign(table).assignments[0].frame
    members = frame.filter(pl.col("value") == found.worst.value)["speaker"]
    kinds = rows[[int(name[1:]) for name in members]]
    assert (kinds == 0).mean() > 0.9
    assert found.worst.gap == pytest.approx(0.6, abs=0.25)
    assert rule.p_adjusted == pytest.approx(1 / 60)


def test_cohorts_say_what_sets_them_apart(planted):
    _, _, rule = planted
    assert rule.cohorts[0].remarks[0].startswith("gender female: 100 % of speakers")
    assert rule.describe()["voice", rule.cohorts[0].value] == "; ".join(rule.cohorts[0].remarks)
    assert "says nothing about any one of them" in rule.warnings[0]
    assert f"{len(rule.cohorts)} cohorts" in rule.summary


def test_the_search_says_what_random_voices_would_have_shown():
    worst, control = [], []
    for seed in range(6):
        table, _ = corpus(300, seed=seed, effect=1.0)
        rule = find_voices(table, FAST, seed=seed)
        assert rule.worst_gap is not None
        assert rule.control_gap is not None
        assert rule.control_gap_high is not None
        assert rule.control_gap < rule.control_gap_high
        worst.append(rule.worst_gap)
        control.append(rule.control_gap)
    assert np.mean(worst) == pytest.approx(np.mean(control), abs=0.12)


def test_cohorts_are_worst_first_and_large_enough(planted):
    table, _, rule = planted
    discover = split_speakers(table).discover
    found = gaps(discover, rule.assign(discover), num_resamples=100)
    rates = [row.wer for row in found.of("voice")]
    assert rates == sorted(rates, reverse=True)
    assert min(one.speakers for one in rule.cohorts) >= 20
    assert sum(one.speakers for one in rule.cohorts) == rule.num_speakers == 500


def test_tiers_hold_about_the_wanted_share():
    table, _ = corpus(600, effect=1.0)
    settings = VoiceSettings(num_cohorts=24, min_speakers=5, tier_share=0.2, num_permutations=19)
    rule = find_voices(table, settings)
    tier = rule.assign(table).assignments[1]
    shares = dict(tier.frame["value"].value_counts(normalize=True).iter_rows())
    assert tier.attribute == "voice tier"
    assert 0.2 <= shares["hardest voices"] < 0.32
    assert 0.2 <= shares["easiest voices"] < 0.32
    assert tier.reported == ("hardest voices", "easiest voices")
    assert "voice 01" in rule.describe()["voice tier", "hardest voices"]


def test_the_number_of_cohorts_may_be_given():
    table, _ = corpus(400)
    rule = find_voices(table, VoiceSettings(num_cohorts=4, num_permutations=19))
    assert len(rule.cohorts) == 4
    assert rule.num_divisions == 1


def test_a_rule_survives_json_and_assigns_others_alike(planted):
    table, _, rule = planted
    again = from_json(Voices, to_json(rule))
    assert again == rule
    confirm = split_speakers(table).confirm
    one, other = (r.assign(confirm).assignments[0].frame for r in (rule, again))
    assert one.equals(other)
    assert one["speaker"].sort().equals(confirm.speakers["speaker"])


def test_points_of_the_plane_carry_no_names(planted):
    table, _, rule = planted
    points = rule.project(table)
    assert points.columns == ["x", "y", "value"]
    assert points.height == table.num_speakers
    assert points["x"].is_sorted()
    assert set(points["value"]) <= {one.value for one in rule.cohorts}


def test_scales_of_single_numbers_do_not_matter(planted):
    table, _, rule = planted
    factors = np.geomspace(0.01, 100.0, 16)
    vectors = table.frame["embedding"].drop_nulls().to_numpy() * factors + 5.0
    names = tuple(table.frame.drop_nulls("embedding")["speaker"])
    moved = with_embeddings(table, Embeddings(names, vectors))
    again = find_voices(split_speakers(moved).discover, FAST)
    one, other = rule.assign(table), again.assign(moved)
    assert one.assignments[0].frame.equals(other.assignments[0].frame)


def test_embeddings_of_another_size_are_refused(planted):
    table, _, rule = planted
    names = tuple(table.speakers["speaker"])
    other = with_embeddings(table, Embeddings(names, np.zeros((len(names), 3))))
    with pytest.raises(CohortError, match=r"of 16 numbers; this table's have 3.*same encoder"):
        rule.assign(other)


def test_a_table_without_voices_says_what_to_do():
    with pytest.raises(TableError, match="with_embeddings"):
        find_voices(results({"age": ["old"] * 20}))


@pytest.mark.parametrize("number", [1, 30])
def test_too_few_voices_give_no_cohorts_and_say_so(number):
    table, _ = corpus(number)
    rule = find_voices(table, FAST)
    assert rule.assign(table).assignments == ()
    assert "too few" in rule.summary
    assert rule.warnings == ()


def test_voices_that_are_all_alike_give_no_cohorts():
    table, _ = corpus(100)
    names = tuple(table.speakers["speaker"])
    alike = with_embeddings(table, Embeddings(names, np.ones((100, 4))))
    assert find_voices(alike, FAST).cohorts == ()
