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
50 speakers it covers more nearly than percentiles, which are too narrow for few speakers. Draws
are rows of a matrix of counts, so that a thousand of them are one matrix product.

Legend: R resamples, S speakers, K contrasts, T terms of a contrast, C = 2T columns (errors and
words of each term), P pairs of columns.

Source: M. Bisani and H. Ney, "Bootstrap estimates for confidence intervals in ASR performance
evaluation", ICASSP 2004; Z. Liu and F. Peng, "Statistical testing on ASR performance via blockwise
bootstrap", 2019, https://arxiv.org/abs/1912.09508 (blocks of speakers); P. Hall, "On symmetric
bootstrap confidence intervals", Journal of the Royal Statistical Society B, 1988.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Contrast", "ContrastIntervals", "contrast_intervals", "resample_speakers"]

BYTES_AT_ONCE = 64 << 20
"""Size of one block of resampling counts."""

NO_ERROR = 1e-9
"""Standard errors below this are rounding: two systems that wrote the same."""


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

    `studentized_RK` are the resampled (theta* - theta) / se*, for tests over all contrasts at once.
    """

    estimates_K: np.ndarray
    errors_K: np.ndarray
    lows_K: np.ndarray
    highs_K: np.ndarray
    studentized_RK: np.ndarray

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
) -> ContrastIntervals:
    """Estimate contrasts and their studentized bootstrap intervals, all from the same draws.

    Args:
        contrasts: K contrasts over the same S speakers, all with equally many terms.
        rng: Where the draws come from.
        num_resamples: R.
        level: Coverage of each interval.
        strata_S: As in `resample_speakers`.
    """
    if not contrasts:
        nothing = np.empty(0)
        return ContrastIntervals(nothing, nothing, nothing, nothing, np.empty((num_resamples, 0)))
    num_speakers = len(contrasts[0].errors_ST)
    designs = [_Design.of(contrast) for contrast in contrasts]
    everyone = np.ones((1, num_speakers))
    found = [design.estimate(everyone) for design in designs]
    estimates_K = np.array([theta[0] for theta, _ in found])
    errors_K = np.array([error[0] for _, error in found])
    studentized_RK = np.full((num_resamples, len(contrasts)), np.nan)
    start = 0
    for counts_RS in resample_speakers(num_speakers, num_resamples, rng, strata_S=strata_S):
        stop = start + len(counts_RS)
        for k, design in enumerate(designs):
            theta_R, error_R = design.estimate(counts_RS)
            studentized_RK[start:stop, k] = _ratio(theta_R - estimates_K[k], error_R)
        start = stop
    lows_K, highs_K = _intervals(estimates_K, errors_K, studentized_RK, level)
    return ContrastIntervals(estimates_K, errors_K, lows_K, highs_K, studentized_RK)


class _Design(NamedTuple):
    """Columns of a contrast, and the products of all pairs of them, one row per speaker."""

    sums_SC: np.ndarray
    products_SP: np.ndarray
    members: np.ndarray
    signs_T: np.ndarray
    corrections_T: np.ndarray

    @classmethod
    def of(cls, contrast: Contrast) -> "_Design":
        sums_SC = np.concatenate([contrast.errors_ST, contrast.words_ST], axis=1).astype(np.float64)
        members = np.flatnonzero(sums_SC.any(axis=1))
        sums_SC = sums_SC[members]
        first, second = np.triu_indices(sums_SC.shape[1])
        speakers_T = (contrast.words_ST > 0).sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            corrections_T = np.where(speakers_T > 1, np.sqrt(speakers_T / (speakers_T - 1)), np.nan)
        products_SP = sums_SC[:, first] * sums_SC[:, second]
        return cls(sums_SC, products_SP, members, contrast.signs_T, corrections_T)

    def estimate(self, counts_RS: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Theta and its standard error in each resample.

        With g the gradient of theta in the sums, a speaker's influence is g'x, and the variance
        is the sum of its square: a quadratic form in the summed products.
        """
        num_terms = len(self.signs_T)
        counts_RM = counts_RS[:, self.members]
        sums_RC = counts_RM @ self.sums_SC
        products_RP = counts_RM @ self.products_SP
        errors_RT, words_RT = sums_RC[:, :num_terms], sums_RC[:, num_terms:]
        with np.errstate(divide="ignore", invalid="ignore"):
            theta_R = np.log(errors_RT / words_RT) @ self.signs_T
            scaled_T = self.signs_T * self.corrections_T
            gradient_RC = np.concatenate([scaled_T / errors_RT, -scaled_T / words_RT], axis=1)
            first, second = np.triu_indices(2 * num_terms)
            twice_P = np.where(first == second, 1.0, 2.0)
            weights_RP = twice_P * gradient_RC[:, first] * gradient_RC[:, second]
            variance_R = (weights_RP * products_RP).sum(axis=1)
        theta_R = np.where(np.isfinite(theta_R), theta_R, np.nan)
        with np.errstate(invalid="ignore"):
            return theta_R, np.sqrt(np.maximum(variance_R, 0.0))


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = numerator / denominator
    return np.where(np.isfinite(ratio), ratio, np.nan)


def _intervals(
    estimates_K: np.ndarray, errors_K: np.ndarray, studentized_RK: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
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
            reach = np.quantile(sizes, level) * error
            lows_K[k], highs_K[k] = estimate - reach, estimate + reach
    return lows_K, highs_K


def _exp(logarithm: float) -> float | None:
    return math.exp(logarithm) if math.isfinite(logarithm) else None


def _less_one(ratio: float | None) -> float | None:
    return None if ratio is None else ratio - 1.0
