# SPDX-License-Identifier: Apache-2.0
"""Intervals that resample speakers, because errors of one speaker are not independent.

Everything an audit compares is a contrast of log word error rates,

    theta = sum_t  c_t * log(E_t / W_t),

where E_t and W_t are the errors and words of some group of speakers under some system, and c_t is
a sign: one term is a cohort's WER, two terms are a gap (cohort against rest) or a change (system
against system), four are the change of a gap. Speakers are drawn with replacement, the same draw
for every cohort and system, so whatever is shared cancels as it should.

Each draw also gets its own standard error, from the sums over speakers of products of errors and
words (no second level of resampling), and the interval is the symmetric studentized one:
theta +- q * se, with q the quantile of |theta* - theta| / se*. In simulations of cohorts of 10 to
50 speakers it covers more nearly than percentiles, which are too narrow for few speakers. Where
few speakers carry all uncertainty, it may be asked to be as wide as all of them together demand.
Draws are rows of a matrix of counts, so that a thousand of them are one matrix product.

Legend: R resamples, S speakers, K contrasts, T terms of a contrast, C = 2T columns (errors and
words of each term), P pairs of columns, M = C + P moments.

Source: M. Bisani and H. Ney, "Bootstrap estimates for confidence intervals in ASR performance
evaluation", ICASSP 2004; Z. Liu and F. Peng, "Statistical testing on ASR performance via blockwise
bootstrap", 2019, https://arxiv.org/abs/1912.09508 (blocks of speakers); P. Hall, "On symmetric
bootstrap confidence intervals", Journal of the Royal Statistical Society B, 1988.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from evenear.metrics.scatter import Scatter

__all__ = [
    "BYTES_AT_ONCE",
    "NO_ERROR",
    "STACK_BYTES",
    "Contrast",
    "ContrastIntervals",
    "contrast_intervals",
    "resample_speakers",
]

BYTES_AT_ONCE = 64 << 20
"""Size of one block of resampling counts."""

STACK_BYTES = 256 << 20
"""Size of the columns of contrasts that are resampled together."""

NO_ERROR = 1e-9
"""Standard errors below this are rounding: two systems that wrote the same."""

_SAYS_NOTHING = math.log(1e6)
"""Intervals that reach further, to a millionth and a millionfold, are those of nothing known."""


class Contrast(NamedTuple):
    """A signed sum of log word error rates, from sums over each speaker.

    `errors_ST` and `words_ST` hold each speaker's errors and words in each term: zero for a
    speaker who is not in it.
    """

    errors_ST: np.ndarray
    words_ST: np.ndarray
    signs_T: np.ndarray

    @classmethod
    def of(cls, *terms: tuple[float, tuple[np.ndarray, np.ndarray]]) -> "Contrast":
        """A contrast from terms of (sign, (errors of each speaker, words of each speaker))."""
        return cls(
            np.stack([errors_S for _, (errors_S, _) in terms], axis=1),
            np.stack([words_S for _, (_, words_S) in terms], axis=1),
            np.array([sign for sign, _ in terms]),
        )


class ContrastIntervals(NamedTuple):
    """What is known of K contrasts, on the scale of natural logarithms; NaN where nothing is.

    `studentized_RK` are the resampled (theta* - theta) / se*, and `drawn_errors_RK` their se*.
    """

    estimates_K: np.ndarray
    errors_K: np.ndarray
    lows_K: np.ndarray
    highs_K: np.ndarray
    studentized_RK: np.ndarray
    drawn_errors_RK: np.ndarray

    def ratio(self, k: int) -> tuple[float | None, float | None, float | None]:
        """Estimate, low and high of one contrast as ratios; None where nothing is known."""
        return _exp(self.estimates_K[k]), _exp(self.lows_K[k]), _exp(self.highs_K[k])

    def relative(self, k: int) -> tuple[float | None, float | None, float | None]:
        """Estimate, low and high of one contrast as ratios less 1."""
        estimate, low, high = self.ratio(k)
        return _less_one(estimate), _less_one(low), _less_one(high)


def resample_speakers(
    num_speakers: int,
    num_resamples: int,
    rng: np.random.Generator,
    *,
    strata_S: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """Draw speakers with replacement; yield blocks (some of R, S) of how often each was drawn.

    Args:
        num_speakers: S.
        num_resamples: R, over all blocks.
        rng: Where the draws come from.
        strata_S: A whole number for each speaker; draws stay within speakers of the same number.
    """
    if strata_S is None:
        groups = [np.arange(num_speakers)]
    else:
        groups = [np.flatnonzero(strata_S == stratum) for stratum in np.unique(strata_S)]
    block = max(1, min(num_resamples, BYTES_AT_ONCE // (8 * max(num_speakers, 1))))
    for start in range(0, num_resamples, block):
        counts_RS = np.zeros((min(block, num_resamples - start), num_speakers))
        for row_S in counts_RS:
            for members in groups:
                drawn = rng.integers(len(members), size=len(members))
                row_S[members] = np.bincount(drawn, minlength=len(members))
        yield counts_RS


def contrast_intervals(
    contrasts: Sequence[Contrast],
    rng: np.random.Generator,
    *,
    num_resamples: int = 1000,
    level: float = 0.95,
    strata_S: np.ndarray | None = None,
    freedom: float = 0.0,
) -> ContrastIntervals:
    """Estimate contrasts and their studentized bootstrap intervals, all from the same draws.

    Args:
        contrasts: K contrasts over the same S speakers, all with equally many terms.
        rng: Where the draws come from.
        num_resamples: R.
        level: Coverage of each interval.
        strata_S: As in `resample_speakers`.
        freedom: Degrees of freedom that the scatter of all speakers of a contrast is worth beside
            its own; intervals are at least as wide as that demands (see `evenear.metrics.scatter`).
            0 lets each contrast speak for itself.
    """
    if not contrasts:
        nothing, no_draws = np.empty(0), np.empty((num_resamples, 0))
        return ContrastIntervals(nothing, nothing, nothing, nothing, no_draws, no_draws)
    entropy = int(rng.integers(2**63))
    parts = []
    for stack in _stacks(contrasts):
        draws = np.random.Generator(np.random.Philox(entropy))
        parts.append(_bootstrap(stack, draws, num_resamples, strata_S))
    estimates_K, errors_K = (np.concatenate([part[place] for part in parts]) for place in (0, 1))
    studentized_RK, drawn_RK = (
        np.concatenate([part[place] for part in parts], axis=1) for place in (2, 3)
    )
    least_K = np.zeros(len(contrasts))
    if freedom:
        scatter = Scatter.of([(c.errors_ST, c.words_ST, c.signs_T) for c in contrasts], freedom)
        least_K = scatter.reach(errors_K, level, freedom)
    lows_K, highs_K = _intervals(estimates_K, errors_K, studentized_RK, level, least_K)
    return ContrastIntervals(estimates_K, errors_K, lows_K, highs_K, studentized_RK, drawn_RK)


class _Stack(NamedTuple):
    """Columns of some contrasts side by side, and the products of all pairs of them.

    M = C + P columns for each contrast: first its sums, then their products.
    """

    columns_SKM: np.ndarray
    signs_KT: np.ndarray
    corrections_KT: np.ndarray

    @classmethod
    def of(cls, contrasts: Sequence[Contrast]) -> "_Stack":
        num_speakers, num_terms = contrasts[0].errors_ST.shape
        num_columns = 2 * num_terms
        first, second = np.triu_indices(num_columns)
        columns_SKM = np.empty((num_speakers, len(contrasts), num_columns + len(first)))
        for k, contrast in enumerate(contrasts):
            sums_SC = np.concatenate([contrast.errors_ST, contrast.words_ST], axis=1)
            columns_SKM[:, k, :num_columns] = sums_SC
            columns_SKM[:, k, num_columns:] = sums_SC[:, first] * sums_SC[:, second]
        speakers_KT = np.stack([(contrast.words_ST > 0).sum(axis=0) for contrast in contrasts])
        with np.errstate(divide="ignore", invalid="ignore"):
            corrections_KT = np.sqrt(speakers_KT / (speakers_KT - 1))
        corrections_KT[speakers_KT < 2] = np.nan
        signs_KT = np.stack([contrast.signs_T for contrast in contrasts])
        return cls(columns_SKM, signs_KT, corrections_KT)

    def estimate(self, counts_RS: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Theta and its standard error in each resample, both (R, K).

        With g the gradient of theta in the sums, a speaker's influence is g'x, and the variance
        is the sum of its square: a quadratic form in the summed products.
        """
        num_terms = self.signs_KT.shape[1]
        flat = self.columns_SKM.reshape(len(self.columns_SKM), -1)
        moments_RKM = (counts_RS @ flat).reshape(-1, *self.columns_SKM.shape[1:])
        errors_RKT = moments_RKM[:, :, :num_terms]
        words_RKT = moments_RKM[:, :, num_terms : 2 * num_terms]
        products_RKP = moments_RKM[:, :, 2 * num_terms :]
        first, second = np.triu_indices(2 * num_terms)
        twice_P = np.where(first == second, 1.0, 2.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            theta_RK = (np.log(errors_RKT / words_RKT) * self.signs_KT).sum(axis=2)
            scaled_KT = self.signs_KT * self.corrections_KT
            gradient_RKC = np.concatenate([scaled_KT / errors_RKT, -scaled_KT / words_RKT], axis=2)
            weights_RKP = twice_P * gradient_RKC[:, :, first] * gradient_RKC[:, :, second]
            error_RK = np.sqrt(np.maximum((weights_RKP * products_RKP).sum(axis=2), 0.0))
        return np.where(np.isfinite(theta_RK), theta_RK, np.nan), error_RK


def _stacks(contrasts: Sequence[Contrast]) -> Iterator[_Stack]:
    """Contrasts in lots whose columns fit into memory; all lots see the same draws."""
    num_speakers, num_terms = contrasts[0].errors_ST.shape
    width = 2 * num_terms + num_terms * (2 * num_terms + 1)
    lot = max(1, STACK_BYTES // (8 * width * max(num_speakers, 1)))
    for start in range(0, len(contrasts), lot):
        yield _Stack.of(contrasts[start : start + lot])


def _bootstrap(
    stack: _Stack, rng: np.random.Generator, num_resamples: int, strata_S: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Estimates, their standard errors, resampled studentized differences and their errors."""
    num_speakers = len(stack.columns_SKM)
    theta_1K, error_1K = stack.estimate(np.ones((1, num_speakers)))
    studentized, errors = [], []
    for counts_RS in resample_speakers(num_speakers, num_resamples, rng, strata_S=strata_S):
        theta_RK, error_RK = stack.estimate(counts_RS)
        studentized.append(_ratio(theta_RK - theta_1K, error_RK))
        errors.append(error_RK)
    return theta_1K[0], error_1K[0], np.concatenate(studentized), np.concatenate(errors)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = numerator / denominator
    return np.where(np.isfinite(ratio), ratio, np.nan)


def _intervals(
    estimates_K: np.ndarray,
    errors_K: np.ndarray,
    studentized_RK: np.ndarray,
    level: float,
    least_K: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Lows and highs, which reach at least so far."""
    lows_K = np.full(len(estimates_K), np.nan)
    highs_K = np.full(len(estimates_K), np.nan)
    for k, (estimate, error) in enumerate(zip(estimates_K, errors_K, strict=True)):
        sizes = np.abs(studentized_RK[:, k])
        sizes = sizes[np.isfinite(sizes)]
        if not (np.isfinite(estimate) and np.isfinite(error)):
            continue
        if error < NO_ERROR:
            lows_K[k] = highs_K[k] = estimate
        elif len(sizes) > 0:
            reach = max(float(np.quantile(sizes, level) * error), float(least_K[k]))
            if reach < _SAYS_NOTHING:
                lows_K[k], highs_K[k] = estimate - reach, estimate + reach
    return lows_K, highs_K


def _exp(logarithm: float) -> float | None:
    return math.exp(logarithm) if math.isfinite(logarithm) else None


def _less_one(ratio: float | None) -> float | None:
    return None if ratio is None else ratio - 1.0
