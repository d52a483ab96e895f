# SPDX-License-Identifier: Apache-2.0
"""Try many candidate cohorts at once: who has more errors than one common rate would give?

Each unit (a speaker, or a ZIP code with all of its speakers) has a residual: its errors less its
words times the overall rate. A candidate's statistic is the difference of mean residuals inside and
outside over its standard error (Welch's t), so that small noisy candidates do not set the bar.
Under permutation only the residuals move; thousands of candidates times hundreds of permutations
are two matrix products. The best candidate is compared with the best of each permutation: that
pays for having tried them all, overlapping as they are.

Legend: K candidates, U units, R permutations.

Source: P. Westfall and S. Young, "Resampling-Based Multiple Testing", 1993 (max-T); A. Janssen,
"Studentized permutation tests for non-i.i.d. hypotheses and the generalized Behrens-Fisher
problem", 1997 (why to divide by the standard error).
"""

from typing import NamedTuple

import numpy as np

from evenear.audit.multiplicity import max_t_p_values

__all__ = ["Screened", "residuals", "screen", "welch_statistics"]

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
    members_KU = members_KU.astype(np.float32)
    observed_K = welch_statistics(members_KU, residuals_U[:, None])[:, 0]
    null = []
    for start in range(0, num_permutations, _PERMUTATIONS_AT_ONCE):
        size = min(_PERMUTATIONS_AT_ONCE, num_permutations - start)
        shuffled_UR = np.stack([rng.permutation(residuals_U) for _ in range(size)], axis=1)
        null.append(welch_statistics(members_KU, shuffled_UR))
    if not null:
        return Screened(observed_K, np.full(len(observed_K), np.nan))
    return Screened(observed_K, max_t_p_values(observed_K, np.concatenate(null, axis=1).T))


def welch_statistics(members_KU: np.ndarray, values_UR: np.ndarray) -> np.ndarray:
    """Welch's t of each candidate and column of values, (K, R); NaN where there is none."""
    values_UR = (values_UR / max(float(values_UR.std()), 1e-300)).astype(np.float32)
    inside_K1 = members_KU.sum(axis=1, dtype=np.float64)[:, None]
    outside_K1 = members_KU.shape[1] - inside_K1
    sums_KR = (members_KU @ values_UR).astype(np.float64)
    squares_KR = (members_KU @ values_UR**2).astype(np.float64)
    rest_KR = values_UR.sum(axis=0, dtype=np.float64) - sums_KR
    rest_squares_KR = (values_UR**2).sum(axis=0, dtype=np.float64) - squares_KR
    with np.errstate(divide="ignore", invalid="ignore"):
        difference_KR = sums_KR / inside_K1 - rest_KR / outside_K1
        noise_KR = _mean_variance(sums_KR, squares_KR, inside_K1)
        noise_KR = noise_KR + _mean_variance(rest_KR, rest_squares_KR, outside_K1)
        found_KR = difference_KR / np.sqrt(noise_KR)
    return np.where(np.isfinite(found_KR), found_KR, np.nan)


def _mean_variance(sums: np.ndarray, squares: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Squared standard error of a mean."""
    return np.maximum(squares - sums**2 / counts, 0.0) / counts / (counts - 1.0)
