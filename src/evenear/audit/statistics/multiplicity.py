# SPDX-License-Identifier: Apache-2.0
"""Many cohorts tried, one honest answer: p-values adjusted for everything that was looked at.

The worst of twenty cohorts looks bad even if the recognizer serves all of them alike. So worlds are
drawn in which nothing depends on who one is (see `significance`), and in each the most extreme
cohort of all is kept. A cohort's adjusted p-value is how often chance alone gave something more
extreme. Attributes move together, so that what overlaps (age, accent) is not counted twice.

Step-down, so that a clear finding does not hide a second one. The bar that the first finding had to
clear, `critical_value`, says how large a gap the audit could have seen.

Legend: R worlds without effects, K cohorts.

Source: P. Westfall and S. Young, "Resampling-Based Multiple Testing", 1993, algorithm 4.1
(step-down max-T).
"""

import math

import numpy as np

from evenear.errors import CohortError

__all__ = ["check_resamples", "critical_value", "max_t_p_values"]

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


def critical_value(null_RK: np.ndarray, level: float) -> float:
    """The statistic above which any of the cohorts is confirmed; infinite if none can be.

    It is the bar of the first step: the largest statistic of K clears it with p <= 1 - level.
    """
    if null_RK.size == 0:
        return math.inf
    highest_R = np.where(np.isfinite(null_RK), null_RK, -np.inf).max(axis=1)
    allowed = math.floor((1.0 - level) * (len(null_RK) + 1) + 1e-9)
    if allowed < 1:
        return math.inf
    return float(np.sort(highest_R)[-allowed])
