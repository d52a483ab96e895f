# SPDX-License-Identifier: Apache-2.0
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.audit.verification.trialdraws import (
    EER,
    FALSE_ACCEPT,
    FALSE_REJECT,
    MIN_DCF,
    group_trials,
)
from evenear.audit.verification.trials import trials_of
from evenear.metrics.bootstrap import resample_speakers
from evenear.metrics.verification import eer, min_dcf

THRESHOLD, P_TARGET = 1.0, 0.05


def made_up(seed, number=9):
    """Every pair of speakers once or twice, scores with ties."""
    rng = np.random.default_rng(seed)
    rows = []
    for first in range(number):
        for second in range(number):
            same = first == second
            for _ in range(3 if same else rng.integers(1, 3)):
                score = round(float(rng.normal(1.5 if same else 0.0)), 1)
                rows.append((score, f"s{first}", f"s{second}", int(same)))
    schema = ["score", "enrol", "test", "target"]
    return trials_of(pl.DataFrame(rows, schema=schema, orient="row"))


def by_hand(trials, inside, drawn):
    """The trials of a draw written out one by one, then measured without any weight."""
    number = dict(zip(trials.speakers["speaker"], drawn, strict=True))
    targets, others = [], []
    for row in trials.frame.iter_rows(named=True):
        first, second = row["enrol_speaker"], row["test_speaker"]
        if not inside[first] or not inside[second]:
            continue
        if row["target"]:
            targets += [row["score"]] * int(number[first])
        else:
            others += [row["score"]] * int(number[first] * number[second])
    if not targets or not others:
        return [np.nan] * 4
    targets, others = np.array(targets), np.array(others)
    found = [0.0] * 4
    found[EER] = eer(targets, others)
    found[MIN_DCF] = min_dcf(targets, others, p_target=P_TARGET)
    found[FALSE_REJECT] = np.mean(targets < THRESHOLD)
    found[FALSE_ACCEPT] = np.mean(others >= THRESHOLD)
    return found


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000))
def test_draws_are_those_of_trials_written_out_by_hand(seed):
    trials = made_up(seed % 7)
    names = trials.speakers["speaker"].to_list()
    groups = [np.ones(9, bool), np.arange(9) % 2 == 0, np.arange(9) < 3]
    grouped = group_trials(trials, groups)
    drawn_RGM = grouped.draws(THRESHOLD, P_TARGET, np.random.default_rng(seed), 3)
    counts_RS = np.concatenate(list(resample_speakers(9, 3, np.random.default_rng(seed))))
    for r, drawn_S in enumerate(counts_RS):
        for g, group_S in enumerate(groups):
            inside = dict(zip(names, group_S, strict=True))
            expected = by_hand(trials, inside, drawn_S)
            np.testing.assert_allclose(drawn_RGM[r, g], expected, atol=1e-12)
    whole = [by_hand(trials, dict(zip(names, g, strict=True)), np.ones(9)) for g in groups]
    np.testing.assert_allclose(grouped.measures(THRESHOLD, P_TARGET), whole, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_coarse_steps_give_the_numbers_of_the_whole_curve(seed, monkeypatch):
    """Many trials, few steps: each step is followed where it must be."""
    monkeypatch.setattr("evenear.audit.verification.trialdraws._STEPS", 3 + 20 * seed)
    monkeypatch.setattr("evenear.audit.verification.trialdraws._TURNS_PER_STEP", 2)
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(4000):
        first, second = rng.integers(30, size=2)
        same = k % 3 == 0
        score = round(float(rng.normal(1.2 if same else 0.0)), 2)
        if same or first != second:
            rows.append((score, f"s{first:02d}", f"s{first if same else second:02d}", int(same)))
    schema = ["score", "enrol", "test", "target"]
    trials = trials_of(pl.DataFrame(rows, schema=schema, orient="row"))
    groups = [np.ones(30, bool), np.arange(30) < 12, np.arange(30) >= 12]
    grouped = group_trials(trials, groups)
    drawn_RGM = grouped.draws(THRESHOLD, P_TARGET, np.random.default_rng(seed), 20)
    counts_RS = np.concatenate(list(resample_speakers(30, 20, np.random.default_rng(seed))))
    first, second = grouped.pairs_2K
    for r, drawn_S in enumerate(counts_RS):
        pairs_K = drawn_S[first] * drawn_S[second]
        for g, group in enumerate(grouped.groups):
            whole = group.measures(drawn_S, pairs_K, THRESHOLD, P_TARGET)
            np.testing.assert_allclose(drawn_RGM[r, g], whole, atol=1e-12)


def test_groups_of_the_same_speakers_are_one():
    groups = [np.arange(9) < 4, np.arange(9) >= 4, np.arange(9) < 4]
    found = group_trials(made_up(3), groups).groups
    assert found[0] is found[2]
    assert found[0] is not found[1]


def test_a_score_at_the_threshold_is_accepted():
    rows = [(1.0, "a", "a", 1), (0.5, "a", "a", 1), (1.0, "a", "b", 0), (0.9, "b", "a", 0)]
    schema = ["score", "enrol", "test", "target"]
    trials = trials_of(pl.DataFrame(rows, schema=schema, orient="row"))
    (found,) = group_trials(trials, [np.ones(2, bool)]).measures(1.0, 0.5)
    assert (found[FALSE_REJECT], found[FALSE_ACCEPT]) == (0.5, 0.5)
    (found,) = group_trials(trials, [np.ones(2, bool)]).measures(1.0 + 1e-9, 0.5)
    assert (found[FALSE_REJECT], found[FALSE_ACCEPT]) == (1.0, 0.0)


def test_a_trial_belongs_to_a_group_only_with_both_of_its_speakers():
    trials = made_up(1)
    first = np.arange(9) < 4
    mine, rest = group_trials(trials, [first, ~first]).groups
    across = trials.frame.filter(
        (pl.col("enrol_speaker") < "s4") != (pl.col("test_speaker") < "s4")
    ).height
    sizes = [len(g.target_scores) + len(g.nontarget_scores) for g in (mine, rest)]
    assert sum(sizes) == trials.frame.height - across
    assert across > 0


def test_only_some_groups_leave_the_others_without_a_number():
    trials = made_up(2)
    groups = [np.ones(9, bool), np.arange(9) < 4, np.arange(9) >= 4]
    grouped = group_trials(trials, groups)
    every, some = (g.measures(THRESHOLD, P_TARGET) for g in (grouped, grouped.only([0, 2])))
    np.testing.assert_array_equal(some[[0, 2]], every[[0, 2]])
    assert np.isnan(some[1]).all()


def test_draws_of_speakers_are_wider_than_draws_of_trials():
    """Where speakers differ, trials of one speaker are not independent."""
    rng = np.random.default_rng(0)
    rows = []
    for k in range(30):
        easy = rng.normal()
        rows += [(easy + rng.normal(scale=0.3), f"s{k}", f"s{k}", 1) for _ in range(30)]
        rows += [(rng.normal() - 1, f"s{k}", f"s{(k + j) % 30}", 0) for j in range(1, 30)]
    frame = pl.DataFrame(rows, schema=["score", "enrol", "test", "target"], orient="row")
    grouped = group_trials(trials_of(frame), [np.ones(30, bool)])
    by_speaker = grouped.draws(0.0, 0.5, rng, 100)[:, 0, FALSE_REJECT].std()
    targets = frame.filter(pl.col("target") == 1)["score"].to_numpy()
    by_trial = np.std([np.mean(rng.choice(targets, len(targets)) < 0.0) for _ in range(100)])
    assert by_speaker > 2.5 * by_trial


def test_a_draw_that_leaves_no_trials_has_no_number():
    rows = [(1.0, "a", "a", 1), (0.0, "a", "b", 0), (2.0, "b", "b", 1)]
    schema = ["score", "enrol", "test", "target"]
    trials = trials_of(pl.DataFrame(rows, schema=schema, orient="row"))
    grouped = group_trials(trials, [np.ones(2, bool)])
    drawn = grouped.draws(0.5, 0.5, np.random.default_rng(0), 40)[:, 0]
    assert 5 < np.isnan(drawn).all(axis=1).sum() < 35  # one speaker drawn twice, every other time


@pytest.mark.parametrize("seed", range(5))
def test_errors_depend_on_the_order_of_scores_alone(seed):
    trials = made_up(seed)
    moved = trials.frame.with_columns(pl.col("score").exp())
    groups = [np.ones(9, bool), np.arange(9) < 5]
    first = group_trials(trials, groups).measures(THRESHOLD, P_TARGET)
    second = group_trials(type(trials)(moved, trials.speakers), groups).measures(
        float(np.exp(THRESHOLD)), P_TARGET
    )
    np.testing.assert_array_equal(first, second)
