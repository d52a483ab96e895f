# SPDX-License-Identifier: Apache-2.0
"""How many speakers it takes to see a gap, and how small a gap the ones at hand can show.

What limits an audit is the number of speakers, because speakers differ more than their utterances.

How small a gap the cohorts at hand can show is read off the draws of speakers that intervals rest
on. A log gap of theta is confirmed if theta plus its error exceeds c standard errors, with c the
bar that the largest of all tried cohorts must clear (so it grows with their number), and in each
draw both the error and the standard error are known:

    theta_r = c * se*_r - (theta*_r - theta),

of which four fifths lie below the answer. No normal distribution is assumed, and that errors and
standard errors grow together is accounted for.

How many speakers a plan needs is read off one speaker's share of uncertainty,

    v = S * sum_s ((errors_s - WER * words_s) / errors) ** 2,

the variance that the logarithm of a pooled rate would have with one speaker like these. A cohort of
n speakers against m others has the standard error sqrt(v / n + v / m), and a gap is seen with
probability `power` if it is (z(level) + z(power)) standard errors wide. That is for one comparison
planned beforehand; searching through many takes more.

Legend: S speakers, R draws of them.

Source: J. Cohen, "Statistical Power Analysis for the Behavioral Sciences", 1988, chapter 2, with
the variance of a ratio of sums over clusters.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from evenear.audit.statistics.sums import whole_sums
from evenear.audit.tables.table import Table
from evenear.errors import CohortError

__all__ = ["SpeakersNeeded", "detectable_gap", "speaker_variance", "speakers_needed"]

_SAYS_NOTHING = math.log(1e6)
"""A gap of a millionfold is none that could be there."""


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


def detectable_gap(
    studentized_R: np.ndarray, errors_R: np.ndarray, *, critical: float, power: float = 0.8
) -> float:
    """The smallest relative gap that would be confirmed so often; infinite if there is none.

    Args:
        studentized_R: How far each draw's log gap lies from that of the table, in its own errors.
        errors_R: The standard error of each draw's log gap.
        critical: How many standard errors it takes to be confirmed.
        power: How often.
    """
    with np.errstate(invalid="ignore"):
        needed_R = (critical - studentized_R) * errors_R
    needed_R = np.where(np.isfinite(needed_R), needed_R, np.inf)
    needed = float(np.quantile(needed_R, power, method="higher")) if len(needed_R) else math.inf
    return math.expm1(needed) if needed < _SAYS_NOTHING else math.inf


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
