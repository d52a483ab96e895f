# SPDX-License-Identifier: Apache-2.0
"""How unevenly a recognizer serves the cohorts of an attribute, with noise taken out.

The variance of word error rates between cohorts is never zero, even if all are served alike: each
rate has its own noise, and the smaller the cohorts the larger the variance. So from the observed
variance the mean squared standard error is taken,

    corrected = max(0, variance(WER_k) - mean(se_k ** 2)),

and in each bootstrap draw, which adds the noise once more, twice that.

The same thought says how far each rate should be pulled toward the mean before cohorts are ranked:
by the share se_k**2 / (between + se_k**2), with the variance between cohorts estimated once more so
that large cohorts weigh more. This is the Gamma-Poisson empirical Bayes estimate, with words
counted as what they are worth when the errors of a speaker go together.

Legend: R resamples, S speakers, K cohorts.

Source: K. Lum, Y. Zhang and A. Bower, "De-biasing 'bias' measurement", 2022 (our reading of their
double correction); B. Efron and C. Morris, "Data analysis using Stein's estimator", 1975; R. Paule
and J. Mandel, "Consensus values and weighting factors", 1982 (variance for shrinkage).
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import root_scalar

from evenear.audit.statistics.results import Spread
from evenear.audit.statistics.sums import CohortSums
from evenear.metrics.bootstrap import resample_speakers

__all__ = ["rate_errors", "shrink", "spread_between"]


def spread_between(
    cohorts: Sequence[CohortSums],
    rng: np.random.Generator,
    *,
    num_resamples: int = 1000,
    level: float = 0.95,
) -> Spread | None:
    """Measure the spread over cohorts of one attribute; None for fewer than two.

    Draws that leave a cohort without words count for nothing.
    """
    if len(cohorts) < 2:
        return None
    errors_SK = np.stack([one.errors_S for one in cohorts], axis=1)
    words_SK = np.stack([one.words_S for one in cohorts], axis=1)
    rates_K = errors_SK.sum(axis=0) / words_SK.sum(axis=0)
    noise = float((rate_errors(errors_SK, words_SK) ** 2).mean())
    variance = float(rates_K.var(ddof=1))
    drawn = []
    for counts_RS in resample_speakers(len(errors_SK), num_resamples, rng):
        with np.errstate(divide="ignore", invalid="ignore"):
            rates_RK = (counts_RS @ errors_SK) / (counts_RS @ words_SK)
            drawn.append(rates_RK.var(axis=1, ddof=1) - 2.0 * noise)
    drawn_R = np.concatenate(drawn)
    drawn_R = np.maximum(drawn_R[np.isfinite(drawn_R)], 0.0)
    if not len(drawn_R):
        return None
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(drawn_R, [tail, 1.0 - tail])
    corrected = max(0.0, variance - noise)
    return Spread(
        attribute=cohorts[0].attribute,
        cohorts=len(cohorts),
        variance=variance,
        corrected_variance=corrected,
        corrected_low=float(low),
        corrected_high=float(high),
        standard_deviation=math.sqrt(corrected),
        best_wer=float(rates_K.min()),
        worst_wer=float(rates_K.max()),
    )


def rate_errors(errors_SK: np.ndarray, words_SK: np.ndarray) -> np.ndarray:
    """Standard error of each pooled rate, from the scatter of speakers around it."""
    totals_K = words_SK.sum(axis=0)
    residuals_SK = errors_SK - errors_SK.sum(axis=0) / totals_K * words_SK
    speakers_K = np.maximum((words_SK > 0).sum(axis=0), 2)
    squares_K = (residuals_SK**2).sum(axis=0) * speakers_K / (speakers_K - 1)
    return np.sqrt(squares_K) / totals_K


def shrink(rates_K: np.ndarray, errors_K: np.ndarray) -> np.ndarray:
    """Pull rates toward their mean as far as their standard errors demand.

    Args:
        rates_K: Observed rates.
        errors_K: Their standard errors.
    """
    if len(rates_K) < 2:
        return rates_K.copy()
    noise_K = np.maximum(errors_K, 1e-9) ** 2
    between = _between_variance(rates_K, noise_K)
    return _mean(rates_K, noise_K + between) * noise_K / (noise_K + between) + (
        rates_K * between / (noise_K + between)
    )


def _between_variance(rates_K: np.ndarray, noise_K: np.ndarray) -> float:
    """The variance that makes the scaled squares of all rates add to K - 1 (Paule and Mandel).

    Unlike the corrected variance it weighs large cohorts more, whose rates say more.
    """

    def surplus(between: float) -> float:
        weights_K = 1.0 / (noise_K + between)
        return float((weights_K * (rates_K - _mean(rates_K, noise_K + between)) ** 2).sum()) - (
            len(rates_K) - 1
        )

    widest = float((rates_K.max() - rates_K.min()) ** 2)
    if surplus(0.0) <= 0.0:
        return 0.0
    if surplus(widest) >= 0.0:
        return widest
    return float(root_scalar(surplus, bracket=(0.0, widest), xtol=1e-15).root)


def _mean(rates_K: np.ndarray, variance_K: np.ndarray) -> float:
    return float((rates_K / variance_K).sum() / (1.0 / variance_K).sum())
