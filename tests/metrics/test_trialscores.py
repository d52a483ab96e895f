# SPDX-License-Identifier: Apache-2.0
"""Normalization, DET points and draws of speakers against loops and known cases.

Dimensions: N trials, K cohort voices, R draws, S speakers, B utterances, D width.
"""

import itertools

import numpy as np
import pytest

from evenear.errors import EvenearError
from evenear.metrics.trialscores import (
    TrialSet,
    det_points,
    draws_of_speakers,
    normalize_scores,
)
from evenear.metrics.verification import ScoreOrder, eer
from evenear.seeding import rng_for


def voices(num_speakers=6, num_each=4, dim=8, seed=0, spread=0.6):
    rng = rng_for(seed, "voices")
    centers = rng.standard_normal((num_speakers, 1, dim))
    vectors = centers + spread * rng.standard_normal((num_speakers, num_each, dim))
    vectors = vectors.reshape(-1, dim)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors, [f"s{n}" for n in range(num_speakers) for _ in range(num_each)]


def test_normalization_follows_its_formula():
    rng = rng_for(0, "cohort")
    scores_N, enrol_NK, test_NK = rng.random(3), rng.random((3, 7)), rng.random((3, 7))
    found_N = normalize_scores(scores_N, enrol_NK, test_NK, top=4)
    for n in range(3):
        total = 0.0
        for side in (enrol_NK[n], test_NK[n]):
            best = sorted(side, reverse=True)[:4]
            mean = sum(best) / 4
            deviation = (sum((b - mean) ** 2 for b in best) / 4) ** 0.5
            total += (scores_N[n] - mean) / deviation / 2
        assert found_N[n] == pytest.approx(total)


def test_normalization_takes_away_a_shift_of_one_side():
    rng = rng_for(1, "cohort")
    scores_N, enrol_NK, test_NK = rng.random(5), rng.random((5, 9)), rng.random((5, 9))
    plain_N = normalize_scores(scores_N, enrol_NK, test_NK)
    assert normalize_scores(scores_N + 3, enrol_NK + 3, test_NK + 3) == pytest.approx(plain_N)


def test_cohorts_that_do_not_fit_are_refused():
    with pytest.raises(EvenearError, match="same cohort"):
        normalize_scores(np.zeros(2), np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(EvenearError, match="two voices"):
        normalize_scores(np.zeros(2), np.zeros((2, 1)), np.zeros((2, 1)))


def test_normal_scores_are_a_line_of_slope_minus_one():
    rng = rng_for(0, "normal")
    scores = np.concatenate([rng.normal(2, 1, 20_000), rng.normal(0, 1, 20_000)])
    curve = ScoreOrder(scores, np.arange(40_000) < 20_000).curve()
    points = det_points(curve)
    inside = np.abs(points.false_accept_P) < 1.5
    slope = np.polyfit(points.false_accept_P[inside], points.false_reject_P[inside], 1)[0]
    assert slope == pytest.approx(-1.0, abs=0.05)


def test_all_pairs_have_the_eer_of_their_scores():
    vectors, speakers = voices()
    trials = TrialSet(vectors, speakers)
    same, different = [], []
    for i, j in itertools.combinations(range(len(speakers)), 2):
        kind = same if speakers[i] == speakers[j] else different
        kind.append(float(vectors[i] @ vectors[j]))
    assert trials.eer() == pytest.approx(eer(np.array(same), np.array(different)))


def test_drawing_speakers_is_repeating_their_trials_on_both_sides():
    vectors, speakers = voices(num_speakers=4, num_each=3, spread=1.2)
    trials = TrialSet(vectors, speakers)
    drawn_S = np.array([2.0, 0.0, 1.0, 3.0])
    same, different = [], []
    for i, j in itertools.combinations(range(len(speakers)), 2):
        a, b = int(speakers[i][1:]), int(speakers[j][1:])
        score = float(vectors[i] @ vectors[j])
        if a == b:
            same += [score] * int(drawn_S[a])
        else:
            different += [score] * int(drawn_S[a] * drawn_S[b])
    assert trials.eer(drawn_S) == pytest.approx(eer(np.array(same), np.array(different)))


def test_a_group_keeps_trials_with_both_speakers_in_it():
    vectors, speakers = voices()
    trials = TrialSet(vectors, speakers)
    part = trials.only(np.array([True, True, False, False, False, True]))
    assert len(part.scores_N) == 12 * 11 // 2
    chosen = [i for i, name in enumerate(speakers) if name in ("s0", "s1", "s5")]
    assert part.eer() == pytest.approx(
        TrialSet(vectors[chosen], [speakers[i] for i in chosen]).eer()
    )


def test_draws_take_as_many_speakers_as_there_are():
    draws_RS = draws_of_speakers(7, 20, rng_for(0, "draws"))
    assert draws_RS.shape == (20, 7)
    assert (draws_RS.sum(axis=1) == 7).all()


def test_a_draw_without_pairs_of_different_speakers_has_no_eer():
    trials = TrialSet(*voices(num_speakers=2))
    assert np.isnan(trials.eer(np.array([2.0, 0.0])))


def test_draws_from_bins_are_those_from_every_score():
    trials = TrialSet(*voices(num_speakers=10, num_each=6, spread=1.6))
    draws_RS = draws_of_speakers(10, 30, rng_for(0, "draws"))
    exact_R = np.array([trials.eer(drawn_S) for drawn_S in draws_RS])
    assert exact_R.std() > 0.01
    np.testing.assert_allclose(trials.eers(draws_RS, num_bins=150), exact_R, atol=0.01)
    assert np.isnan(trials.eers(np.eye(10))).all()
