# SPDX-License-Identifier: Apache-2.0
"""How well scores tell the same speaker from different ones: error curve, EER, minimum cost.

A trial is accepted if its score is at least the threshold. A target trial that is not accepted is a
false reject, a non-target trial that is accepted a false accept. Moving the threshold over all
scores gives a curve of points; trials of equal score move together.

- Equal error rate (EER): where the polygon through the points crosses false rejects = false
  accepts. It depends on the order of scores alone.
- Minimum detection cost (minDCF): the least of cost_miss * p_target * false rejects +
  cost_false_accept * (1 - p_target) * false accepts over all points, divided by what the better of
  "always accept" and "always reject" costs.

Trials may have weights (how often a resampling drew their speakers). The order of scores is worked
out once, in `ScoreOrder`, and serves any number of weightings.

Legend: N trials, P points of a curve.

Source: NIST, "2016 Speaker Recognition Evaluation Plan" (detection cost); L. Ferrer,
"Analysis and comparison of classification metrics", 2022 (interpolation of the EER).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evenear.errors import EvenearError

__all__ = ["ErrorCurve", "ScoreOrder", "eer", "equal_error", "least_cost", "min_dcf"]

_Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ErrorCurve:
    """False rejects and false accepts at every threshold that makes a difference.

    The first point accepts everything, the last, with an infinite threshold, nothing.
    """

    thresholds_P: _Array
    false_rejects_P: _Array
    false_accepts_P: _Array

    @property
    def eer(self) -> float:
        """Equal error rate."""
        return equal_error(self.false_rejects_P, self.false_accepts_P)

    @property
    def eer_threshold(self) -> float:
        """The threshold at which the two error rates are most alike."""
        apart_P = np.abs(self.false_rejects_P - self.false_accepts_P)[:-1]
        return float(self.thresholds_P[int(apart_P.argmin())])

    def min_dcf(
        self, *, p_target: float = 0.01, cost_miss: float = 1.0, cost_false_accept: float = 1.0
    ) -> float:
        """Minimum detection cost; 1 is what a blind decision costs."""
        if not 0.0 < p_target < 1.0 or min(cost_miss, cost_false_accept) <= 0.0:
            raise EvenearError(
                f"A detection cost needs 0 < p_target < 1 and positive costs, got {p_target}, "
                f"{cost_miss} and {cost_false_accept}.",
                hint="p_target is how probable a target is: 0.01 is usual.",
            )
        return least_cost(
            self.false_rejects_P,
            self.false_accepts_P,
            miss=cost_miss * p_target,
            accept=cost_false_accept * (1.0 - p_target),
        )

    def threshold_for_false_accepts(self, rate: float) -> float:
        """The lowest threshold that accepts at most this share of non-target trials."""
        return float(self.thresholds_P[int((self.false_accepts_P <= rate + 1e-12).argmax())])


class ScoreOrder:
    """Trials sorted by score, once, for curves under many weightings.

    Args:
        scores_N: A score for each trial; larger means more alike.
        is_target_N: Whether both sides are one speaker.
    """

    def __init__(self, scores_N: np.ndarray, is_target_N: np.ndarray) -> None:
        scores_N = np.asarray(scores_N, dtype=np.float64)
        is_target_N = np.asarray(is_target_N, dtype=bool)
        _check(scores_N, is_target_N)
        self._order_N = np.argsort(scores_N, kind="stable")
        ordered_N = scores_N[self._order_N]
        self._is_target_N = is_target_N[self._order_N]
        self._firsts_P = np.flatnonzero(np.append(True, ordered_N[1:] != ordered_N[:-1]))
        self._thresholds_P = np.append(ordered_N[self._firsts_P], np.inf)

    def curve(self, weights_N: np.ndarray | None = None) -> ErrorCurve | None:
        """The error curve; None if no target or no non-target trial has any weight."""
        if weights_N is None:
            weights_N = np.ones(len(self._order_N))
        ordered_N = np.asarray(weights_N, dtype=np.float64)[self._order_N]
        targets_P = self._below(np.where(self._is_target_N, ordered_N, 0.0))
        others_P = self._below(np.where(self._is_target_N, 0.0, ordered_N))
        if targets_P[-1] <= 0.0 or others_P[-1] <= 0.0:
            return None
        return ErrorCurve(
            self._thresholds_P, targets_P / targets_P[-1], 1.0 - others_P / others_P[-1]
        )

    def _below(self, weights_N: np.ndarray) -> np.ndarray:
        """Weight of the trials below each threshold."""
        running = np.concatenate([[0.0], weights_N.cumsum()])
        return np.append(running[self._firsts_P], running[-1])


def equal_error(false_rejects_P: np.ndarray, false_accepts_P: np.ndarray) -> float:
    """Where a polygon with rising rejects and falling accepts has both equal."""
    ahead_P = false_accepts_P - false_rejects_P
    before = min(int(np.flatnonzero(ahead_P >= 0.0)[-1]), len(ahead_P) - 2)
    fall = ahead_P[before] - ahead_P[before + 1]
    share = ahead_P[before] / fall if fall > 0.0 else 0.0
    start, stop = false_rejects_P[before], false_rejects_P[before + 1]
    return float(start + share * (stop - start))


def least_cost(
    false_rejects_P: np.ndarray, false_accepts_P: np.ndarray, *, miss: float, accept: float
) -> float:
    """The least cost over all points, over that of the better blind decision."""
    return float((miss * false_rejects_P + accept * false_accepts_P).min() / min(miss, accept))


def eer(target_scores: np.ndarray, nontarget_scores: np.ndarray) -> float:
    """Equal error rate of target and non-target scores.

    Example:
        >>> eer(np.array([0.9, 0.8, 0.3]), np.array([0.1, 0.2, 0.4]))
        0.3333333333333333
    """
    return _curve(target_scores, nontarget_scores).eer


def min_dcf(
    target_scores: np.ndarray,
    nontarget_scores: np.ndarray,
    *,
    p_target: float = 0.01,
    cost_miss: float = 1.0,
    cost_false_accept: float = 1.0,
) -> float:
    """Minimum detection cost of target and non-target scores; see `ErrorCurve.min_dcf`."""
    return _curve(target_scores, nontarget_scores).min_dcf(
        p_target=p_target, cost_miss=cost_miss, cost_false_accept=cost_false_accept
    )


def _curve(target_scores: np.ndarray, nontarget_scores: np.ndarray) -> ErrorCurve:
    if len(target_scores) == 0 or len(nontarget_scores) == 0:
        raise EvenearError(
            "Error rates of verification need target and non-target scores, got "
            f"{len(target_scores)} and {len(nontarget_scores)}.",
            hint="Score pairs of the same speaker and pairs of different speakers.",
        )
    is_target_N = np.arange(len(target_scores) + len(nontarget_scores)) < len(target_scores)
    curve = ScoreOrder(np.concatenate([target_scores, nontarget_scores]), is_target_N).curve()
    assert curve is not None
    return curve


def _check(scores_N: np.ndarray, is_target_N: np.ndarray) -> None:
    if scores_N.ndim != 1 or scores_N.shape != is_target_N.shape or len(scores_N) == 0:
        raise EvenearError(
            "Trials need one score and one label each, and at least one trial, got shapes "
            f"{scores_N.shape} and {is_target_N.shape}."
        )
    if np.isnan(scores_N).any():
        raise EvenearError(
            f"Scores must be numbers; {int(np.isnan(scores_N).sum())} of {len(scores_N)} are NaN.",
            hint="Leave these trials out, and say so.",
        )
