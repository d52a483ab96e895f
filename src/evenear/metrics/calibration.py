# SPDX-License-Identifier: Apache-2.0
"""From scores to log-likelihood ratios: logistic calibration, and how good it is.

    llr = scale * score + offset,  fitted by logistic regression in which targets together weigh
    p_target and non-targets 1 - p_target; the offset is freed of the prior's log odds

    Cllr = 1/2 (mean over targets of log2(1 + exp(-llr)) + mean over others of log2(1 + exp(llr)))

Cllr is 0 for a perfect verifier and 1 for one that always says llr = 0. A calibration that fits all
trials together may fail a condition: `check_conditions` gives each its own Cllr beside the least
that any scale and offset could give it there. A large difference is a cohort or channel whose
thresholds are wrong although its EER may be fine.

Legend: N trials.

Source: N. Brümmer and J. du Preez, "Application-independent evaluation of speaker detection", 2006.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evenear.errors import EvenearError

__all__ = ["Calibration", "ConditionCheck", "check_conditions", "cllr", "fit_calibration"]

_Array = NDArray[np.float64]
_MOST_STEPS = 100
_RIDGE = 1e-6
"""Keeps the scale finite where scores do not overlap at all."""


@dataclass(frozen=True)
class Calibration:
    """A line from scores to natural log-likelihood ratios."""

    scale: float
    offset: float

    def __call__(self, scores_N: np.ndarray) -> _Array:
        """Log-likelihood ratios."""
        return self.scale * np.asarray(scores_N, np.float64) + self.offset

    def score_at(self, llr: float) -> float:
        """The score that has this log-likelihood ratio."""
        return (llr - self.offset) / self.scale


class ConditionCheck(NamedTuple):
    """How a calibration does in one condition."""

    num_targets: int
    num_others: int
    cllr: float
    """With the calibration given."""
    least_cllr: float
    """With a calibration of this condition's own."""


def fit_calibration(
    scores_N: np.ndarray, is_target_N: np.ndarray, *, p_target: float = 0.5
) -> Calibration:
    """Fit scale and offset by Newton's method.

    Raises:
        EvenearError: There are no targets or no non-targets, or p_target is out of range.
    """
    scores_N = np.asarray(scores_N, np.float64)
    is_target_N = np.asarray(is_target_N, bool)
    _check(is_target_N)
    if not 0.0 < p_target < 1.0:
        raise EvenearError(f"A calibration needs 0 < p_target < 1, got {p_target}.")
    weights_N = np.where(
        is_target_N, p_target / is_target_N.sum(), (1 - p_target) / (~is_target_N).sum()
    )
    middle, spread = scores_N.mean(), max(float(scores_N.std()), 1e-12)
    design = np.stack([(scores_N - middle) / spread, np.ones(len(scores_N))], axis=1)
    prior = np.log(p_target / (1 - p_target))
    line = np.zeros(2)
    for _ in range(_MOST_STEPS):
        chance_N = 1.0 / (1.0 + np.exp(-np.clip(design @ line + prior, -500, 500)))
        slope = design.T @ (weights_N * (chance_N - is_target_N)) + _RIDGE * line * (1, 0)
        curved = (design * (weights_N * chance_N * (1 - chance_N))[:, None]).T @ design
        curved += np.diag([_RIDGE, 1e-12])
        step = np.linalg.solve(curved, slope)
        step *= min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
        line = line - step
        if float(np.abs(step).max()) < 1e-10:
            break
    return Calibration(float(line[0] / spread), float(line[1] - line[0] * middle / spread))


def cllr(llr_N: np.ndarray, is_target_N: np.ndarray) -> float:
    """Cost of log-likelihood ratios, in bits."""
    is_target_N = np.asarray(is_target_N, bool)
    _check(is_target_N)
    llr_N = np.asarray(llr_N, np.float64)
    targets, others = llr_N[is_target_N], llr_N[~is_target_N]
    cost = np.logaddexp(0.0, -targets).mean() + np.logaddexp(0.0, others).mean()
    return float(cost / 2 / np.log(2.0))


def check_conditions(
    calibration: Calibration,
    scores_N: np.ndarray,
    is_target_N: np.ndarray,
    conditions: Sequence[str],
) -> Mapping[str, ConditionCheck]:
    """How a calibration does in each condition that has both kinds of trials.

    Args:
        calibration: Fitted elsewhere, or over all conditions.
        scores_N: Scores.
        is_target_N: Whether both sides are one speaker.
        conditions: The condition of each trial: a channel, a cohort.
    """
    scores_N, is_target_N = np.asarray(scores_N, np.float64), np.asarray(is_target_N, bool)
    names = np.array(conditions)
    found = {}
    for name in sorted(set(conditions)):
        inside = names == name
        scores, is_target = scores_N[inside], is_target_N[inside]
        if is_target.all() or not is_target.any():
            continue
        own = fit_calibration(scores, is_target)
        found[name] = ConditionCheck(
            int(is_target.sum()),
            int((~is_target).sum()),
            cllr(calibration(scores), is_target),
            cllr(own(scores), is_target),
        )
    return found


def _check(is_target_N: np.ndarray) -> None:
    if is_target_N.all() or not is_target_N.any():
        raise EvenearError(
            f"A calibration needs targets and non-targets, got {int(is_target_N.sum())} targets "
            f"among {len(is_target_N)} trials."
        )
