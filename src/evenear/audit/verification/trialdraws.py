# SPDX-License-Identifier: Apache-2.0
"""Error rates of groups of trials, as they are and under draws of speakers on both sides.

One speaker sits in many trials, on either side. So a draw takes speakers with replacement; if it
took speaker a twice and b three times, the target trials of a count twice and the trials of a
against b count six times. Resampling trials instead makes intervals several times too narrow.

Legend: R draws, S speakers, N trials, G groups of trials, M measures.

Source: L. Ferrer, M. McLaren and N. Brummer, "A speaker verification backend with robust
performance across conditions", 2021, https://arxiv.org/abs/2102.01760 (joint resampling of both
sides in its released code); M. Bisani and H. Ney, 2004.
"""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import polars as pl

from evenear.audit.verification.trials import Trials
from evenear.metrics.bootstrap import resample_speakers
from evenear.metrics.verification import equal_error, least_cost

__all__ = [
    "EER",
    "FALSE_ACCEPT",
    "FALSE_REJECT",
    "MIN_DCF",
    "TrialGroup",
    "TrialGroups",
    "group_trials",
]

EER, MIN_DCF, FALSE_REJECT, FALSE_ACCEPT = range(4)
"""Columns of measures."""


class TrialGroup(NamedTuple):
    """Trials of one group, sorted by score, targets and non-targets apart.

    The polygon of error rates turns only at scores of targets: between two of them false rejects
    stand still. So the curve is followed at the targets' scores alone, just before and just after.
    """

    target_scores: np.ndarray
    nontarget_scores: np.ndarray
    target_speakers: np.ndarray
    nontarget_speakers: np.ndarray
    """Rows of the speakers on both sides, (2, non-targets)."""
    turns: np.ndarray
    """First target of each score, and the number of targets."""
    before: np.ndarray
    after: np.ndarray
    """Non-targets below each such score, and up to it."""

    @classmethod
    def of(cls, scores: np.ndarray, is_target: np.ndarray, sides: np.ndarray) -> "TrialGroup":
        """Sort some trials; `sides` are rows of speakers, (trials, 2)."""
        order = np.argsort(scores, kind="stable")
        targets, others = order[is_target[order]], order[~is_target[order]]
        distinct, firsts = np.unique(scores[targets], return_index=True)
        return cls(
            target_scores=scores[targets],
            nontarget_scores=scores[others],
            target_speakers=sides[targets, 0],
            nontarget_speakers=np.ascontiguousarray(sides[others].T),
            turns=np.append(firsts, len(targets)),
            before=np.searchsorted(scores[others], distinct, side="left"),
            after=np.searchsorted(scores[others], distinct, side="right"),
        )

    def measures(self, drawn_S: np.ndarray, threshold: float, p_target: float) -> np.ndarray:
        """EER, minDCF, false rejects and accepts if each speaker was drawn so often; or NaN."""
        first, second = self.nontarget_speakers
        targets = _running(drawn_S[self.target_speakers])
        others = _running(drawn_S[first] * drawn_S[second])
        if targets[-1] <= 0.0 or others[-1] <= 0.0:
            return np.full(4, np.nan)
        targets, others = targets / targets[-1], others / others[-1]
        reject, accept = self._polygon(targets, others)
        found = np.empty(4)
        found[EER] = equal_error(reject, accept)
        found[MIN_DCF] = least_cost(reject, accept, miss=p_target, accept=1.0 - p_target)
        found[FALSE_REJECT] = targets[np.searchsorted(self.target_scores, threshold)]
        found[FALSE_ACCEPT] = 1.0 - others[np.searchsorted(self.nontarget_scores, threshold)]
        return found

    def _polygon(self, targets: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """False rejects and accepts from accepting everything to accepting nothing."""
        reject, accept = np.empty((2, 2 * len(self.before) + 2))
        reject[0], reject[-1], accept[0], accept[-1] = 0.0, 1.0, 1.0, 0.0
        reject[1:-1:2], reject[2:-1:2] = targets[self.turns[:-1]], targets[self.turns[1:]]
        accept[1:-1:2], accept[2:-1:2] = 1.0 - others[self.before], 1.0 - others[self.after]
        return reject, accept


class TrialGroups(NamedTuple):
    """Groups of trials, ready to be measured under draws of S speakers."""

    groups: tuple[TrialGroup, ...]
    num_speakers: int

    def only(self, rows: Collection[int]) -> "TrialGroups":
        """The same, but only these groups hold any trials: nobody wants to know of the others."""
        nothing = TrialGroup.of(np.empty(0), np.empty(0, bool), np.empty((0, 2), np.int64))
        kept = (group if row in rows else nothing for row, group in enumerate(self.groups))
        return TrialGroups(tuple(kept), self.num_speakers)

    def measures(self, threshold: float, p_target: float) -> np.ndarray:
        """EER, minDCF, false rejects and accepts of each group, (G, M)."""
        return self._measure(np.ones(self.num_speakers), threshold, p_target)

    def draws(
        self, threshold: float, p_target: float, rng: np.random.Generator, num_resamples: int
    ) -> np.ndarray:
        """The same in each of R draws of speakers, (R, G, M); NaN where a draw leaves nothing."""
        found = [
            self._measure(drawn_S, threshold, p_target)
            for block_RS in resample_speakers(self.num_speakers, num_resamples, rng)
            for drawn_S in block_RS
        ]
        return np.stack(found)

    def _measure(self, drawn_S: np.ndarray, threshold: float, p_target: float) -> np.ndarray:
        return np.stack([group.measures(drawn_S, threshold, p_target) for group in self.groups])


def group_trials(trials: Trials, groups: list[np.ndarray]) -> TrialGroups:
    """Trials whose speakers are all in a group, for each group of speakers.

    Args:
        trials: The trials.
        groups: Which speakers each group holds, each (S,), in the order of `trials.speakers`.
    """
    rows = trials.speakers.select("speaker").with_row_index("row")
    sides = [
        trials.frame.select(pl.col(side).alias("speaker"))
        .join(rows, on="speaker", how="left", maintain_order="left")["row"]
        .to_numpy()
        for side in ("enrol_speaker", "test_speaker")
    ]
    sides_N2 = np.stack(sides, axis=1).astype(np.int64)
    is_target_N, scores_N = trials.frame["target"].to_numpy(), trials.frame["score"].to_numpy()
    found = []
    for group_S in groups:
        inside = np.flatnonzero(group_S[sides_N2].all(axis=1))
        found.append(TrialGroup.of(scores_N[inside], is_target_N[inside], sides_N2[inside]))
    return TrialGroups(tuple(found), trials.speakers.height)


def _running(weights: np.ndarray) -> np.ndarray:
    running = np.zeros(len(weights) + 1)
    np.cumsum(weights, out=running[1:])
    return running
