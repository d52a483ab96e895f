# SPDX-License-Identifier: Apache-2.0
"""Many cohorts tried, one honest answer: p-values adjusted for everything that was looked at.

The worst of twenty cohorts looks bad even if the recognizer serves all of them alike. Here the
whole table of attributes is dealt out to the speakers anew, many times, and each time the most
extreme cohort of all is kept. A cohort's adjusted p-value is how often chance alone gave something
more extreme. Attributes move together, so that what overlaps (age, accent) is not counted twice.

The statistic is the gap of log word error rates over its standard error, so that small noisy
cohorts do not set the bar for the large ones; step-down, so that a clear finding does not hide a
second one.

Legend: R permutations, S speakers, K cohorts, A attributes, M moments of errors and words.

Source: P. Westfall and S. Young, "Resampling-Based Multiple Testing", 1993, algorithm 4.1
(step-down max-T); E. Chung and J. Romano, "Exact and asymptotically robust permutation tests", 2013
(why to divide by the standard error); S. Holm, 1979; Y. Benjamini and Y. Hochberg, 1995.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy import sparse

from evenear.audit.sums import CohortSums
from evenear.errors import CohortError

__all__ = [
    "NUMBERS_AT_ONCE",
    "benjamini_hochberg",
    "check_resamples",
    "holm",
    "max_t_p_values",
    "permuted_statistics",
]

NUMBERS_AT_ONCE = 1 << 23
"""Moments of permuted speakers that are held at a time."""

_ROUNDING = 1e-5
"""Statistics that differ by less are equal: the same sum in another order, in single precision."""


def check_resamples(num_resamples: int, level: float) -> None:
    """Refuse so few resamples that no p-value could be small enough to confirm anything.

    Raises:
        CohortError: The smallest p-value, 1 / (resamples + 1), exceeds 1 - level.
    """
    if 1.0 / (num_resamples + 1) > 1.0 - level:
        needed = math.ceil(1.0 / (1.0 - level)) - 1
        raise CohortError(
            f"At level {level:g}, nothing can be confirmed with {num_resamples:,} resamples; "
            f"{needed:,} are the least.",
            hint=f"Take {max(1000, 5 * (needed + 1) - 1):,} or more, or a lower level.",
        )


def max_t_p_values(observed_K: np.ndarray, null_RK: np.ndarray) -> np.ndarray:
    """Step-down max-T p-values; NaN where the observed statistic is NaN.

    Args:
        observed_K: Statistics, larger is more extreme.
        null_RK: The same statistics in R worlds without any effect; NaN counts as not extreme.
    """
    p_values_K = np.full(len(observed_K), np.nan)
    usable = np.flatnonzero(np.isfinite(observed_K))
    if len(usable) == 0:
        return p_values_K
    order = usable[np.argsort(-observed_K[usable], kind="stable")]
    null_RK = np.where(np.isfinite(null_RK[:, order]), null_RK[:, order], -np.inf)
    highest_RK = np.maximum.accumulate(null_RK[:, ::-1], axis=1)[:, ::-1]
    exceeded_K = (highest_RK >= observed_K[order] - _ROUNDING).sum(axis=0)
    p_values_K[order] = np.maximum.accumulate((1 + exceeded_K) / (1 + len(null_RK)))
    return p_values_K


def permuted_statistics(
    cohorts: Sequence[CohortSums],
    totals: tuple[np.ndarray, np.ndarray],
    rng: np.random.Generator,
    *,
    num_permutations: int = 1000,
    strata_S: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Statistics of cohorts against the rest, as observed (K) and with speakers permuted (R, K).

    Args:
        cohorts: K cohorts in which each speaker has one value of each attribute.
        totals: Errors and words of each speaker, each (S,).
        rng: Where the permutations come from.
        num_permutations: R.
        strata_S: A whole number for each speaker; speakers trade places within the same number.
    """
    knowns = {id(cohort.known): cohort.known for cohort in cohorts}
    rows = {key: row for row, key in enumerate(knowns)}
    known_AS = sparse.csr_matrix(np.stack([known.words_S > 0 for known in knowns.values()]) * 1.0)
    cohort_KS = sparse.csr_matrix(np.stack([cohort.words_S > 0 for cohort in cohorts]) * 1.0)
    attribute_K = np.array([rows[id(cohort.known)] for cohort in cohorts])
    errors_S, words_S = totals
    moments_SM = np.stack(
        [errors_S, words_S, errors_S**2, errors_S * words_S, words_S**2, np.ones_like(words_S)],
        axis=1,
    )
    moments_SM[words_S <= 0] = 0.0
    block = max(1, NUMBERS_AT_ONCE // moments_SM.size)

    def statistics(moments_SRM: np.ndarray) -> np.ndarray:
        flat = moments_SRM.reshape(len(moments_SRM), -1)
        shape = (-1, *moments_SRM.shape[1:])
        inside_KRM = (cohort_KS @ flat).reshape(shape)
        known_ARM = (known_AS @ flat).reshape(shape)
        return _statistics(inside_KRM, known_ARM[attribute_K] - inside_KRM)

    observed_K = statistics(moments_SM[:, None])[0]
    null = []
    for start in range(0, num_permutations, block):
        size = min(block, num_permutations - start)
        orders_SR = np.stack([_permutation(len(errors_S), strata_S, rng) for _ in range(size)], 1)
        null.append(statistics(moments_SM[orders_SR]))
    return observed_K, np.concatenate(null) if null else np.empty((0, len(cohorts)))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's step-down adjustment: controls the chance of any false finding."""
    order = np.argsort(p_values, kind="stable")
    steps = len(p_values) - np.arange(len(p_values))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p_values[order] * steps))
    return adjusted


def benjamini_hochberg(p_values: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's adjustment: controls the share of false findings."""
    order = np.argsort(p_values, kind="stable")[::-1]
    ranks = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    scaled = p_values[order] * len(p_values) / ranks
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(scaled))
    return adjusted


def _statistics(inside_KRM: np.ndarray, outside_KRM: np.ndarray) -> np.ndarray:
    """Difference of log rates over its standard error, as (R, K)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        inside_KR, inside_variance_KR = _log_rate(inside_KRM)
        outside_KR, outside_variance_KR = _log_rate(outside_KRM)
        statistic_KR = (inside_KR - outside_KR) / np.sqrt(inside_variance_KR + outside_variance_KR)
    return np.where(np.isfinite(statistic_KR), statistic_KR, np.nan).T


def _log_rate(moments_KRM: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    errors, words, errors2, errors_words, words2, speakers = np.moveaxis(moments_KRM, -1, 0)
    rate = errors / words
    squares = errors2 - 2.0 * rate * errors_words + rate**2 * words2
    return np.log(rate), np.maximum(squares, 0.0) / errors**2 * speakers / (speakers - 1.0)


def _permutation(
    num_speakers: int, strata_S: np.ndarray | None, rng: np.random.Generator
) -> np.ndarray:
    if strata_S is None:
        return rng.permutation(num_speakers)
    order_S = np.arange(num_speakers)
    for stratum in np.unique(strata_S):
        members = np.flatnonzero(strata_S == stratum)
        order_S[members] = rng.permutation(members)
    return order_S
