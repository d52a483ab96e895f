# SPDX-License-Identifier: Apache-2.0
"""Try many candidate cohorts at once: who has more errors than one common rate would give?

Each unit (a speaker, or a ZIP code with all of its speakers) has a residual: its errors less its
words times the overall rate. A candidate's statistic is the sum of its residuals over the standard
deviation that this sum has when residuals are dealt out to units at random, which has a formula:
with N units, n of them inside, and residuals of mean 0 and variance v, it is n (N - n) / (N - 1) v.
Under permutation only the residuals move; thousands of candidates times hundreds of permutations
are one matrix product. The best candidate is compared with the best of each permutation: that pays
for having tried them all, overlapping as they are.

Dividing by the candidate's own scatter instead (Welch's t) would find less: who errs more also
scatters more.

Legend: K candidates, U units, R permutations.

Source: P. Westfall and S. Young, "Resampling-Based Multiple Testing", 1993 (max-T); H. Strasser and
C. Weber, "On the asymptotic theory of permutation statistics", 1999 (the variance).
"""

from typing import NamedTuple

import numpy as np

from evenear.audit.statistics.multiplicity import max_t_p_values

__all__ = ["Screened", "residuals", "screen", "standard_scores"]

_PERMUTATIONS_AT_ONCE = 64


class Screened(NamedTuple):
    """Statistics of K candidates, larger is worse served, and their max-T p-values."""

    statistics_K: np.ndarray
    p_adjusted_K: np.ndarray


def residuals(errors_U: np.ndarray, words_U: np.ndarray) -> np.ndarray:
    """Errors of each unit less what the overall rate would give; they add to zero."""
    return errors_U - words_U * (errors_U.sum() / max(words_U.sum(), 1e-300))


def screen(
    members_KU: np.ndarray,
    residuals_U: np.ndarray,
    rng: np.random.Generator,
    *,
    num_permutations: int = 199,
) -> Screened:
    """Test K candidates against the rest, one-sided, and adjust for all of them.

    Args:
        members_KU: Which units each candidate holds; each should hold and leave out a few.
        residuals_U: From `residuals`.
        rng: Where the permutations come from.
        num_permutations: R; 0 leaves the p-values NaN.
    """
    observed_K = standard_scores(members_KU, residuals_U[:, None])[:, 0]
    null = []
    for start in range(0, num_permutations, _PERMUTATIONS_AT_ONCE):
        size = min(_PERMUTATIONS_AT_ONCE, num_permutations - start)
        shuffled_UR = np.stack([rng.permutation(residuals_U) for _ in range(size)], axis=1)
        null.append(standard_scores(members_KU, shuffled_UR))
    if not null:
        return Screened(observed_K, np.full(len(observed_K), np.nan))
    return Screened(observed_K, max_t_p_values(observed_K, np.concatenate(null, axis=1).T))


def standard_scores(members_KU: np.ndarray, values_UR: np.ndarray) -> np.ndarray:
    """Standardized sum of each candidate and column of values, (K, R); NaN where there is none."""
    members_KU = members_KU.astype(np.float32)
    scaled_UR = values_UR - values_UR.mean(axis=0)
    scaled_UR = (scaled_UR / np.maximum(scaled_UR.std(axis=0), 1e-300)).astype(np.float32)
    inside_K = members_KU.sum(axis=1, dtype=np.float64)
    number = members_KU.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        spread_K = np.sqrt(inside_K * (number - inside_K) / (number - 1.0))
        found_KR = (members_KU @ scaled_UR).astype(np.float64) / spread_K[:, None]
    return np.where((spread_K > 0)[:, None], found_KR, np.nan)
