# SPDX-License-Identifier: Apache-2.0
"""Calibration against scikit-learn, normal scores and its own claims.

Dimensions: N trials.
"""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from evenear.errors import EvenearError
from evenear.metrics.calibration import check_conditions, cllr, fit_calibration
from evenear.seeding import rng_for


def trials(num_targets=300, num_others=900, seed=0, shift=0.0):
    rng = rng_for(seed, "scores")
    scores = np.concatenate(
        [rng.normal(2.0 + shift, 1.0, num_targets), rng.normal(shift, 1.0, num_others)]
    )
    return scores, np.arange(len(scores)) < num_targets


@pytest.mark.parametrize("p_target", [0.5, 0.1])
def test_the_line_is_that_of_a_weighted_logistic_regression(p_target):
    scores_N, is_target_N = trials()
    found = fit_calibration(scores_N, is_target_N, p_target=p_target)
    weights = np.where(is_target_N, p_target / 300, (1 - p_target) / 900)
    theirs = LogisticRegression(C=1e9, tol=1e-10, max_iter=1000)
    theirs.fit(scores_N[:, None], is_target_N, sample_weight=1000 * weights)
    assert found.scale == pytest.approx(theirs.coef_[0, 0], rel=1e-3)
    prior = np.log(p_target / (1 - p_target))
    assert found.offset == pytest.approx(theirs.intercept_[0] - prior, rel=1e-3, abs=1e-3)


def test_normal_scores_have_the_line_of_their_log_ratio():
    """log N(s; 2, 1) - log N(s; 0, 1) = 2 s - 2."""
    scores_N, is_target_N = trials(20_000, 20_000)
    found = fit_calibration(scores_N, is_target_N)
    assert found.scale == pytest.approx(2.0, abs=0.05)
    assert found.offset == pytest.approx(-2.0, abs=0.08)
    assert found.score_at(float(found(np.array([0.7]))[0])) == pytest.approx(0.7)


def test_cllr_of_nothing_known_is_one_bit_and_of_perfect_ratios_none():
    is_target_N = np.array([True, True, False])
    assert cllr(np.zeros(3), is_target_N) == pytest.approx(1.0)
    assert cllr(np.array([90.0, 90.0, -90.0]), is_target_N) == pytest.approx(0.0, abs=1e-9)


def test_no_other_line_has_a_lower_cllr():
    scores_N, is_target_N = trials()
    best = fit_calibration(scores_N, is_target_N)
    least = cllr(best(scores_N), is_target_N)
    for scale, offset in ((1.05, 0.0), (0.95, 0.0), (1.0, 0.1), (1.0, -0.1)):
        other = best.scale * scale * scores_N + best.offset + offset
        assert cllr(other, is_target_N) > least


def test_a_condition_with_shifted_scores_is_seen():
    one, labels = trials(seed=1)
    two, _ = trials(seed=2, shift=1.5)
    calibration = fit_calibration(one, labels)
    names = ["quiet"] * len(one) + ["noisy"] * len(two)
    found = check_conditions(calibration, np.append(one, two), np.append(labels, labels), names)
    assert found["quiet"].cllr - found["quiet"].least_cllr < 0.01
    assert found["noisy"].cllr - found["noisy"].least_cllr > 0.2
    assert (found["noisy"].num_targets, found["noisy"].num_others) == (300, 900)


def test_scores_that_do_not_overlap_have_a_steep_but_finite_line():
    found = fit_calibration(np.array([0.0, 0.1, 0.9, 1.0]), np.array([False, False, True, True]))
    assert np.isfinite([found.scale, found.offset]).all()
    assert found.scale > 0


def test_one_kind_of_trials_cannot_be_calibrated():
    with pytest.raises(EvenearError, match="targets and non-targets"):
        fit_calibration(np.zeros(3), np.ones(3, bool))
    with pytest.raises(EvenearError, match="p_target"):
        fit_calibration(*trials(), p_target=1.0)
