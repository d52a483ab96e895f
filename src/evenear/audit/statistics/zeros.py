# SPDX-License-Identifier: Apache-2.0
"""Bounds where nothing went wrong: resampling speakers without a single error only gives 0 again.

The upper bound of such a rate is that of a Poisson count of 0, with words counted as what they are
worth on the other side, where errors of a speaker go together (their clumping):

    high = -log((1 - level) / 2) * clumping / words.

Legend: S speakers.

Source: J. Hanley and A. Lippman-Hand, "If nothing goes wrong, is everything all right?", 1983 (the
rule of three); the clumping is our reading.
"""

import math
from dataclasses import replace

import numpy as np

from evenear.audit.statistics.results import Gap
from evenear.audit.statistics.spread import rate_errors
from evenear.audit.statistics.sums import CohortSums

__all__ = ["without_errors"]


def without_errors(row: Gap, one: CohortSums, level: float) -> Gap:
    """The row with bounds where the cohort, or what it is compared with, has no errors."""
    if (one.errors and row.base_wer) or not one.rest[1].any():
        return row
    if not one.errors and not row.base_wer:
        return replace(row, low=0.0, gap_low=None, gap_high=None)
    if not one.errors:
        high = _highest(one.words, one.rest, level)
        gap_high = high / row.base_wer - 1.0 if row.base_wer else None
        return replace(row, low=0.0, high=high, gap_low=-1.0, gap_high=gap_high)
    base_high = _highest(float(one.rest[1].sum()), one.own, level)
    gap_low = row.low / base_high - 1.0 if row.low is not None and base_high else None
    return replace(row, gap_low=gap_low, gap_high=None)


def _highest(words: float, others: tuple[np.ndarray, np.ndarray], level: float) -> float:
    """Upper bound of a rate of no errors in so many words, beside others who made some."""
    if words <= 0.0:
        return math.inf
    errors_S, words_S = others
    poisson = math.sqrt(errors_S.sum()) / words_S.sum()
    clumping = max(1.0, float(rate_errors(errors_S[:, None], words_S[:, None])[0] / poisson) ** 2)
    return -math.log((1.0 - level) / 2.0) * clumping / words
