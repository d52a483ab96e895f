# SPDX-License-Identifier: Apache-2.0
"""Scores of trials: normalized by cohorts, drawn as DET curves, and resampled by speakers.

- Score normalization (adaptive symmetric): each side's score is compared with the scores that this
  side has with the `top` cohort voices nearest to it,
  score' = 1/2 ((s - mean_enrol) / dev_enrol + (s - mean_test) / dev_test).
- DET points: the error curve in normal deviates, in which normally distributed scores are a line.
- Joint bootstrap: speakers are drawn with replacement and sit on both sides, so if speaker a was
  drawn v_a times, a's target trials count v_a times and a's trials against b count v_a v_b times.
  Systems that scored the same trials are compared draw by draw (paired).

Legend: N trials, R draws, S speakers, P points, G groups, K cohort voices or pairs of
speakers, B utterances, D width.

Source: Matejka et al. 2017 (adaptive S-norm); Martin et al. 1997 (DET); Ferrer et al. 2021,
arXiv:2102.01760 (joint resampling of both sides, in its code).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evenear.errors import EvenearError
from evenear.metrics.verification import ErrorCurve, ScoreOrder, equal_error

__all__ = ["DetPoints", "TrialSet", "det_points", "draws_of_speakers", "normalize_scores"]

_Array = NDArray[np.float64]


class DetPoints(NamedTuple):
    """Error rates as normal deviates; only points with both rates inside (0, 1)."""

    false_accept_P: _Array
    false_reject_P: _Array


def det_points(curve: ErrorCurve) -> DetPoints:
    """A curve on the axes of a DET plot."""
    accept_P, reject_P = curve.false_accepts_P, curve.false_rejects_P
    inside_P = (accept_P > 0) & (accept_P < 1) & (reject_P > 0) & (reject_P < 1)
    return DetPoints(_deviates(accept_P[inside_P]), _deviates(reject_P[inside_P]))


def normalize_scores(
    scores_N: np.ndarray, enrol_NK: np.ndarray, test_NK: np.ndarray, *, top: int = 100
) -> _Array:
    """Adaptively normalized scores.

    Args:
        scores_N: Scores of the trials.
        enrol_NK: Scores of each trial's enrolled side with every cohort voice.
        test_NK: The same of its test side.
        top: Cohort voices that count, the highest-scoring ones.
    """
    if enrol_NK.shape != test_NK.shape or len(enrol_NK) != len(scores_N):
        raise EvenearError(
            "Normalizing needs the scores of both sides with the same cohort, got shapes "
            f"{enrol_NK.shape} and {test_NK.shape} for {len(scores_N)} trials."
        )
    if enrol_NK.shape[1] < 2:
        raise EvenearError(f"A cohort needs two voices or more, got {enrol_NK.shape[1]}.")
    scores_N = np.asarray(scores_N, np.float64)
    sides = [_standing(scores_N, cohort_NK, top) for cohort_NK in (enrol_NK, test_NK)]
    return 0.5 * (sides[0] + sides[1])


def draws_of_speakers(num_speakers: int, num_draws: int, rng: np.random.Generator) -> np.ndarray:
    """How often each draw took each speaker, (R, S)."""
    drawn_RS = rng.integers(num_speakers, size=(num_draws, num_speakers))
    counts = [np.bincount(one, minlength=num_speakers) for one in drawn_RS]
    return np.stack(counts).astype(np.float64)


class TrialSet:
    """All pairs of some utterances, with who is on either side: sorted once, measured often.

    Args:
        embeddings_BD: Unit vectors.
        speakers: Whose.
        chosen_N: Pairs to keep, over `np.triu_indices`; None keeps all.
    """

    def __init__(
        self, embeddings_BD: np.ndarray, speakers: list[str], chosen_N: np.ndarray | None = None
    ) -> None:
        self.names, numbers_B = np.unique(np.array(speakers), return_inverse=True)
        first, second = np.triu_indices(len(speakers), k=1)
        if chosen_N is not None:
            first, second = first[chosen_N], second[chosen_N]
        self.scores_N = (embeddings_BD @ embeddings_BD.T)[first, second]
        self.sides_2N = np.stack([numbers_B[first], numbers_B[second]])
        self.is_target_N = self.sides_2N[0] == self.sides_2N[1]
        self._order = ScoreOrder(self.scores_N, self.is_target_N)

    def eer(self, drawn_S: np.ndarray | None = None) -> float:
        """EER if each speaker was drawn so often; NaN where that leaves nothing."""
        weights_N = None
        if drawn_S is not None:
            first_N, second_N = drawn_S[self.sides_2N]
            weights_N = np.where(self.is_target_N, first_N, first_N * second_N)
        curve = self._order.curve(weights_N)
        return float("nan") if curve is None else curve.eer

    def eers(self, draws_RS: np.ndarray, *, num_bins: int = 1000) -> np.ndarray:
        """EER in each draw of speakers, (R,), from scores in bins: fast enough for many draws.

        Bins hold equal numbers of targets, so an EER is off by less than half the share of targets
        in a bin, and by far less where the curve is smooth. NaN where a draw leaves nothing.
        """
        edges_P = np.unique(np.quantile(self.scores_N[self.is_target_N], _shares(num_bins)))
        bins_N = np.searchsorted(edges_P, self.scores_N, side="right")
        size, num_speakers = len(edges_P) + 1, len(self.names)
        targets_N = self.is_target_N
        below = self.sides_2N[0][targets_N] * size + bins_N[targets_N]
        target_SP = np.bincount(below, minlength=num_speakers * size).reshape(-1, size)
        pairs_N = self.sides_2N[:, ~targets_N]
        kinds, kind_N = np.unique(pairs_N[0] * num_speakers + pairs_N[1], return_inverse=True)
        other_KP = np.bincount(kind_N * size + bins_N[~targets_N], minlength=len(kinds) * size)
        other_KP = other_KP.reshape(-1, size).astype(np.float64)
        first_K, second_K = np.divmod(kinds, num_speakers)
        found = np.full(len(draws_RS), np.nan)
        for r, drawn_S in enumerate(draws_RS):
            target_P = drawn_S @ target_SP
            other_P = (drawn_S[first_K] * drawn_S[second_K]) @ other_KP
            if target_P.sum() > 0 and other_P.sum() > 0:
                found[r] = _crossing(target_P, other_P)
        return found

    def only(self, is_in_S: np.ndarray) -> "TrialSet":
        """Trials with both speakers in a group; speakers keep their numbers."""
        kept_N = is_in_S[self.sides_2N].all(axis=0)
        part = object.__new__(TrialSet)
        part.names = self.names
        part.scores_N, part.sides_2N = self.scores_N[kept_N], self.sides_2N[:, kept_N]
        part.is_target_N = self.is_target_N[kept_N]
        part._order = ScoreOrder(part.scores_N, part.is_target_N)
        return part


def _shares(num_bins: int) -> _Array:
    return np.linspace(0.0, 1.0, num_bins + 1)[1:-1]


def _crossing(target_P: _Array, other_P: _Array) -> float:
    """EER of weights of targets and others in bins of rising scores."""
    reject_P = np.append(0.0, target_P.cumsum() / target_P.sum())
    accept_P = 1.0 - np.append(0.0, other_P.cumsum() / other_P.sum())
    return equal_error(reject_P, accept_P)


def _standing(scores_N: _Array, cohort_NK: np.ndarray, top: int) -> _Array:
    """How far a score lies above those of the nearest cohort voices, in their deviations."""
    kept = min(top, cohort_NK.shape[1])
    nearest = np.sort(np.asarray(cohort_NK, np.float64), axis=1)[:, -kept:]
    deviation_N = np.maximum(nearest.std(axis=1), 1e-6)
    return (scores_N - nearest.mean(axis=1)) / deviation_N


def _deviates(chances_P: _Array) -> _Array:
    """Normal deviates."""
    from scipy.special import ndtri

    return ndtri(chances_P)
