# SPDX-License-Identifier: Apache-2.0
"""How many speakers it takes to see a gap, and how small a gap the ones at hand can show.

What limits an audit is the number of speakers, because speakers differ more than their utterances.
One speaker's share of uncertainty is read off the table at hand,

    v = S * sum_s ((errors_s - WER * words_s) / errors) ** 2,

the variance that the logarithm of a pooled rate would have with one speaker like these. A cohort of
n speakers against m others has the standard error sqrt(v / n + v / m), and a gap is seen with
probability `power` if it is (z(level) + z(power)) standard errors wide. That is for one comparison
planned beforehand; searching through many takes more.

Legend: S speakers.

Source: J. Cohen, "Statistical Power Analysis for the Behavioral Sciences", 1988, chapter 2, with
the variance of a ratio of sums over clusters.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from evenear.audit.sums import whole_sums
from evenear.audit.table import Table
from evenear.errors import CohortError

__all__ = ["SpeakersNeeded", "detectable_gap", "speaker_variance", "speakers_needed"]


@dataclass(frozen=True, kw_only=True)
class SpeakersNeeded:
    """An answer to "how many speakers to see a gap of 2 points?"."""

    cohort: int
    rest: int
    points: float
    """The gap to be seen, as a difference of rates: 0.02 is 2 points."""
    power: float
    level: float
    words_per_speaker: float
    """The answer holds for speakers who say about this much."""

    @property
    def total(self) -> int:
        """Speakers of cohort and rest together."""
        return self.cohort + self.rest


def speaker_variance(errors_S: np.ndarray, words_S: np.ndarray) -> float:
    """Variance of the logarithm of a pooled rate that rests on one speaker; NaN if unknown."""
    spoke = words_S > 0
    errors_S, words_S = errors_S[spoke], words_S[spoke]
    count, errors = len(errors_S), errors_S.sum()
    if count < 2 or errors == 0:
        return math.nan
    residuals_S = errors_S - errors / words_S.sum() * words_S
    return float((residuals_S**2).sum() / errors**2 * count**2 / (count - 1))


def detectable_gap(standard_error: float, *, power: float = 0.8, level: float = 0.95) -> float:
    """The smallest relative gap that would be seen, from the standard error of its logarithm."""
    return math.expm1(min(_reach(power, level) * standard_error, 700.0))


def speakers_needed(
    table: Table,
    points: float,
    *,
    share: float = 0.5,
    power: float = 0.8,
    level: float = 0.95,
) -> SpeakersNeeded:
    """Speakers it takes to see a cohort that is worse by some points.

    Args:
        table: Results whose speakers are like those to be recorded.
        points: The gap as a difference of rates: 0.02 is 2 points of WER.
        share: Part of the speakers that belong to the cohort.
        power: Chance of seeing such a gap if it is there.
        level: Coverage of the interval that must not hold 0.

    Raises:
        CohortError: An argument is out of range, or the table has too little to go by.
    """
    if points <= 0.0 or not 0.0 < share < 1.0 or not 0.0 < power < 1.0 or not 0.0 < level < 1.0:
        raise CohortError(
            "Points must be positive, and share, power and level between 0 and 1; got "
            f"points {points}, share {share}, power {power}, level {level}.",
            hint="points=0.02 asks for a gap of 2 points of WER.",
        )
    errors_S, words_S = whole_sums(table)
    variance, wer = speaker_variance(errors_S, words_S), table.wer
    if wer is None or not math.isfinite(variance):
        raise CohortError(
            f"Planning needs at least 2 speakers and 1 error, got {table.num_speakers} speakers "
            f"and {table.errors} errors.",
            hint="Take a table of a pilot recording.",
        )
    width = math.log1p(points / wer) / _reach(power, level)
    total = variance * (1.0 / share + 1.0 / (1.0 - share)) / width**2
    return SpeakersNeeded(
        cohort=max(2, math.ceil(total * share)),
        rest=max(2, math.ceil(total * (1.0 - share))),
        points=points,
        power=power,
        level=level,
        words_per_speaker=float(words_S.mean()),
    )


def _reach(power: float, level: float) -> float:
    return float(ndtri((1.0 + level) / 2.0) + ndtri(power))
