# SPDX-License-Identifier: Apache-2.0
"""What a search for cohorts hands back: a frozen rule that says where anybody belongs.

A search looks at some speakers and ends in a rule: a map of regions, a partition of ZIP codes,
centers of voices, conditions on attributes. From then on the rule knows nothing of errors. It
assigns other speakers to its cohorts, so that what is said about these rests on speakers who had
no part in the choice.

    discover, confirm = split_speakers(table)
    rule = find_regions(discover)
    found = gaps(confirm, rule.assign(confirm))

Legend: S speakers, R permutations.

Every rule is a config: `to_json(rule)` and `from_json(Regions, text)` are inverses, so that a rule
found in an audit can select speakers in another corpus.
"""

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from scipy.stats import gumbel_r

from evenear.audit.tables.cohorts import Cohorts
from evenear.audit.tables.table import Table

__all__ = ["CohortName", "Rule", "extreme_p_value", "overdispersion"]


class CohortName(NamedTuple):
    """Which cohort: a value of an attribute."""

    attribute: str
    value: str


class Rule(ABC):
    """Cohorts that were found, and how to tell who is in them."""

    @property
    @abstractmethod
    def found_by(self) -> str:
        """What kind of search found it: geography, census, voice, subgroups."""

    @property
    @abstractmethod
    def summary(self) -> str:
        """One sentence: what was searched, and what came of it."""

    @property
    @abstractmethod
    def warnings(self) -> tuple[str, ...]:
        """What a reader of these cohorts must be told."""

    @abstractmethod
    def assign(self, table: Table) -> Cohorts:
        """Say which cohort each speaker of a table belongs to; no cohorts if none were found."""

    @abstractmethod
    def describe(self) -> dict[CohortName, str]:
        """One line in words for each cohort."""


def overdispersion(errors_S: np.ndarray, words_S: np.ndarray) -> float:
    """How much more speakers differ than Poisson counts of one common rate would (1 = as much).

    Pearson's chi-square over speakers less 1; never below 1e-9, so that it can divide.
    """
    expected_S = words_S * errors_S.sum() / max(words_S.sum(), 1e-300)
    counted = expected_S > 0
    if counted.sum() < 2:
        return 1.0
    squares_S = (errors_S[counted] - expected_S[counted]) ** 2 / expected_S[counted]
    return max(float(squares_S.sum() / (counted.sum() - 1)), 1e-9)


def extreme_p_value(best: float, null_R: np.ndarray) -> float:
    """Chance of a maximum as large as `best`, from R maxima of worlds without any effect.

    A Gumbel distribution is fitted to the R maxima by their mean and variance, so that a hundred
    of them can tell p-values far below one in a hundred apart (A. Abrams, K. Kleinman and
    M. Kulldorff, "Gumbel based p-value approximations for spatial scan statistics", 2010).
    """
    null_R = null_R[np.isfinite(null_R)]
    if len(null_R) < 2 or not math.isfinite(best):
        return 1.0
    scale = float(null_R.std(ddof=1)) / float(np.asarray(gumbel_r.std()))
    if scale < 1e-12 * max(1.0, abs(best)):
        return 1.0 if best <= null_R.max() else 1.0 / (1 + len(null_R))
    location = float(null_R.mean()) - float(np.asarray(gumbel_r.mean())) * scale
    return float(np.asarray(gumbel_r.sf(best, location, scale)))
