# SPDX-License-Identifier: Apache-2.0
"""Error rates of groups of trials, as they are and under draws of speakers on both sides.

One speaker sits in many trials, on either side. So a draw takes speakers with replacement; if it
took speaker a twice and b three times, the target trials of a count twice and the trials of a
against b count six times. Resampling trials instead makes intervals several times too narrow.

Hundreds of draws of half a million trials need not follow the whole curve of errors in each.
Weights are summed over coarse steps of the curve first, for many draws at once (one sparse
product). Only the step in which false rejects and accepts cross, and those that may hold the least
cost, are then followed trial by trial. Nothing is approximated: the numbers are those of the whole
curve.

Legend: R draws, S speakers, N trials, G groups of trials, M measures, K pairs of speakers, J points
between coarse steps, P points of a curve.

Source: L. Ferrer, M. McLaren and N. Brummer, "A speaker verification backend with robust
performance across conditions", 2021, https://arxiv.org/abs/2102.01760 (joint resampling of both
sides in its released code); M. Bisani and H. Ney, 2004.
"""

from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy import sparse

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

_STEPS = 400
_TURNS_PER_STEP = 8
_NUMBERS_AT_ONCE = 1 << 23
"""Weights of pairs that are held at a time."""


class TrialGroup(NamedTuple):
    """Trials of one group, sorted by score, targets and non-targets apart.

    The polygon of error rates turns only at scores of targets: between two of them false rejects
    stand still. So the curve is followed at the targets' scores alone, just before and just after.
    """

    target_scores: np.ndarray
    nontarget_scores: np.ndarray
    target_speakers: np.ndarray
    """Rows of speakers."""
    nontarget_pairs: np.ndarray
    """Rows of pairs of speakers."""
    turns: np.ndarray
    """First target of each score, and the number of targets."""
    before: np.ndarray
    after: np.ndarray
    """Non-targets below each such score, and up to it."""

    @classmethod
    def of(cls, scores: np.ndarray, is_target: np.ndarray, rows: np.ndarray) -> "TrialGroup":
        """From trials that are sorted by score; `rows` are speakers of targets, pairs of others."""
        targets, others = scores[is_target], scores[~is_target]
        distinct, firsts = np.unique(targets, return_index=True)
        return cls(
            target_scores=targets,
            nontarget_scores=others,
            target_speakers=rows[is_target],
            nontarget_pairs=rows[~is_target],
            turns=np.append(firsts, len(targets)),
            before=np.searchsorted(others, distinct, side="left"),
            after=np.searchsorted(others, distinct, side="right"),
        )

    def measures(
        self, drawn_S: np.ndarray, drawn_K: np.ndarray, threshold: float, p_target: float
    ) -> np.ndarray:
        """EER, minDCF, false rejects and accepts if speakers and pairs were drawn so often; or NaN.

        The whole curve, trial by trial.
        """
        targets = _running(drawn_S[self.target_speakers])
        others = _running(drawn_K[self.nontarget_pairs])
        if targets[-1] <= 0.0 or others[-1] <= 0.0:
            return np.full(4, np.nan)
        targets, others = targets / targets[-1], others / others[-1]
        reject, accept = np.empty((2, 2 * len(self.before) + 2))
        reject[0], reject[-1], accept[0], accept[-1] = 0.0, 1.0, 1.0, 0.0
        reject[1:-1:2], reject[2:-1:2] = targets[self.turns[:-1]], targets[self.turns[1:]]
        accept[1:-1:2], accept[2:-1:2] = 1.0 - others[self.before], 1.0 - others[self.after]
        found = np.empty(4)
        found[EER] = equal_error(reject, accept)
        found[MIN_DCF] = least_cost(reject, accept, miss=p_target, accept=1.0 - p_target)
        found[FALSE_REJECT] = targets[np.searchsorted(self.target_scores, threshold)]
        found[FALSE_ACCEPT] = 1.0 - others[np.searchsorted(self.nontarget_scores, threshold)]
        return found


class TrialGroups(NamedTuple):
    """Groups of trials, ready to be measured under draws of S speakers."""

    groups: tuple[TrialGroup, ...]
    num_speakers: int
    pairs_2K: np.ndarray
    """Rows of the two speakers of each pair that any non-target trial has."""

    def only(self, rows: Collection[int]) -> "TrialGroups":
        """The same, but only these groups hold any trials: nobody wants to know of the others."""
        nothing = TrialGroup.of(np.empty(0), np.empty(0, bool), np.empty(0, np.int64))
        kept = (group if row in rows else nothing for row, group in enumerate(self.groups))
        return TrialGroups(tuple(kept), self.num_speakers, self.pairs_2K)

    def measures(self, threshold: float, p_target: float) -> np.ndarray:
        """EER, minDCF, false rejects and accepts of each group, (G, M)."""
        drawn_S, drawn_K = np.ones(self.num_speakers), np.ones(self.pairs_2K.shape[1])
        return np.stack(
            [group.measures(drawn_S, drawn_K, threshold, p_target) for group in self.groups]
        )

    def draws(
        self, threshold: float, p_target: float, rng: np.random.Generator, num_resamples: int
    ) -> np.ndarray:
        """The same in each of R draws of speakers, (R, G, M); NaN where a draw leaves nothing."""
        distinct = {id(group): group for group in self.groups}
        shape = self.num_speakers, self.pairs_2K.shape[1]
        curves = {
            key: _Curve.of(group, shape, threshold, p_target) for key, group in distinct.items()
        }
        found = []
        for drawn_SR, drawn_KR in self._drawn(rng, num_resamples):
            measured = {key: one.measures(drawn_SR, drawn_KR) for key, one in curves.items()}
            found.append(np.stack([measured[id(group)] for group in self.groups], axis=1))
        return np.concatenate(found)

    def _drawn(
        self, rng: np.random.Generator, num_resamples: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """How often speakers and pairs were drawn, a few draws at a time."""
        first, second = self.pairs_2K
        lot = max(1, min(64, _NUMBERS_AT_ONCE // max(1, len(first))))
        for block_RS in resample_speakers(self.num_speakers, num_resamples, rng):
            for start in range(0, len(block_RS), lot):
                drawn_SR = np.ascontiguousarray(block_RS[start : start + lot].T)
                yield drawn_SR, drawn_SR[first] * drawn_SR[second]


class _Curve(NamedTuple):
    """The curve of a group in coarse steps, each from one of its points to another."""

    group: TrialGroup
    points_J: np.ndarray
    """Turns at which steps begin; the last is their number."""
    targets: sparse.csr_array
    """Targets of each speaker in each step, and, last, below the threshold."""
    others: sparse.csr_array
    """Non-targets of each pair before the first point, in each step, after the last, and below the
    threshold."""
    costs: tuple[float, float]
    """Of a miss and of a false accept."""

    @classmethod
    def of(
        cls, group: TrialGroup, shape: tuple[int, int], threshold: float, p_target: float
    ) -> "_Curve":
        if not len(group.target_speakers) or not len(group.nontarget_pairs):
            no_targets, no_others = (sparse.csr_array((2, size)) for size in shape)
            return cls(group, np.zeros(1, np.int64), no_targets, no_others, (1.0, 1.0))
        num_turns = len(group.before)
        steps = max(1, min(_STEPS, num_turns // _TURNS_PER_STEP))
        points_J = np.unique(np.linspace(0, num_turns, steps + 1).astype(np.int64))
        passed_J = np.append(group.before, group.after[-1])[points_J]
        passed = np.concatenate([[0], passed_J, [len(group.nontarget_pairs)]])
        below = np.searchsorted(group.target_scores, threshold)
        under = np.searchsorted(group.nontarget_scores, threshold)
        return cls(
            group,
            points_J,
            _counts(group.target_speakers, group.turns[points_J], int(below), shape[0]),
            _counts(group.nontarget_pairs, passed, int(under), shape[1]),
            (p_target, 1.0 - p_target),
        )

    def measures(self, drawn_SR: np.ndarray, drawn_KR: np.ndarray) -> np.ndarray:
        """The measures of each of some draws, (R, M)."""
        targets, others = self.targets @ drawn_SR, self.others @ drawn_KR
        found = np.full((drawn_SR.shape[1], 4), np.nan)
        all_R, strangers_R = targets[:-1].sum(axis=0), others[:-1].sum(axis=0)
        for r in np.flatnonzero((all_R > 0.0) & (strangers_R > 0.0)):
            rejected_J = np.append(0.0, targets[:-1, r].cumsum())
            passed_J = others[:-2, r].cumsum()
            line = _Line(self, drawn_SR[:, r], drawn_KR[:, r], rejected_J, passed_J, strangers_R[r])
            found[r, EER] = line.equal_error()
            found[r, MIN_DCF] = line.least_cost()
            found[r, FALSE_REJECT] = targets[-1, r] / all_R[r]
            found[r, FALSE_ACCEPT] = 1.0 - others[-1, r] / strangers_R[r]
        return found


class _Line(NamedTuple):
    """A curve in one draw: weights that are rejected at each of its coarse points."""

    curve: _Curve
    drawn_S: np.ndarray
    drawn_K: np.ndarray
    rejected_J: np.ndarray
    """Targets."""
    passed_J: np.ndarray
    """Non-targets."""
    strangers: float
    """All non-targets."""

    def rates(self) -> tuple[np.ndarray, np.ndarray]:
        """False rejects and accepts at the coarse points."""
        return self.rejected_J / self.rejected_J[-1], 1.0 - self.passed_J / self.strangers

    def equal_error(self) -> float:
        """Where rejects and accepts cross, followed through the step in which they do."""
        reject_J, accept_J = self.rates()
        step = int(np.flatnonzero(accept_J >= reject_J)[-1])
        return 1.0 if step == len(reject_J) - 1 else equal_error(*self.follow(step))

    def least_cost(self) -> float:
        """The least cost, followed through the steps that may hold it."""
        miss, accept = self.curve.costs
        reject_J, accept_J = self.rates()
        least = min(miss, accept, float((miss * reject_J + accept * accept_J).min()))
        floor_J = miss * reject_J[:-1] + accept * accept_J[1:]
        for step in floor_J.argsort(kind="stable"):
            if floor_J[step] >= least:
                break
            rejects, accepts = self.follow(int(step))
            least = min(least, float((miss * rejects + accept * accepts).min()))
        return least / min(miss, accept)

    def follow(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Rejects and accepts at every point of a step, its ends included."""
        group, (start, stop) = self.curve.group, self.curve.points_J[step : step + 2]
        turns, before, after = group.turns[start : stop + 1], group.before, group.after
        speakers = group.target_speakers[turns[0] : turns[-1]]
        first, last = before[start], after[stop - 1]
        targets = self.rejected_J[step] + _running(self.drawn_S[speakers])
        others = self.passed_J[step] + _running(self.drawn_K[group.nontarget_pairs[first:last]])
        reject, accept = np.empty((2, 2 * (stop - start) + 1))
        reject[:-1:2], reject[1::2] = targets[turns[:-1] - turns[0]], targets[turns[1:] - turns[0]]
        accept[:-1:2], accept[1::2] = (
            others[before[start:stop] - first],
            others[after[start:stop] - first],
        )
        reject[-1], accept[-1] = self.rejected_J[step + 1], self.passed_J[step + 1]
        return reject / self.rejected_J[-1], 1.0 - accept / self.strangers


def _counts(rows: np.ndarray, ends: np.ndarray, below: int, width: int) -> sparse.csr_array:
    """How often each row of speakers or pairs is in each piece of a list, and in its beginning."""
    piece = np.searchsorted(ends, np.arange(len(rows)), side="right") - 1
    places = np.concatenate([piece, np.full(below, len(ends) - 1)])
    columns = np.concatenate([rows, rows[:below]])
    counts = sparse.coo_array((np.ones(len(columns)), (places, columns)), (len(ends), width))
    return sparse.csr_array(counts)


def group_trials(trials: Trials, groups: list[np.ndarray]) -> TrialGroups:
    """Trials whose speakers are all in a group, for each group of speakers.

    Args:
        trials: The trials.
        groups: Which speakers each group holds, each (S,), in the order of `trials.speakers`.
            Groups of the same speakers are one.
    """
    rows = trials.speakers.select("speaker").with_row_index("row")
    sides = [
        trials.frame.select(pl.col(side).alias("speaker"))
        .join(rows, on="speaker", how="left", maintain_order="left")["row"]
        .to_numpy()
        for side in ("enrol_speaker", "test_speaker")
    ]
    order = np.argsort(trials.frame["score"].to_numpy(), kind="stable")
    sides_2N = np.stack(sides).astype(np.int64)[:, order]
    is_target_N = trials.frame["target"].to_numpy()[order]
    scores_N = trials.frame["score"].to_numpy()[order]
    size = trials.speakers.height
    low_N, high_N = sides_2N.min(axis=0), sides_2N.max(axis=0)
    pairs, pair_N = np.unique((low_N * size + high_N)[~is_target_N], return_inverse=True)
    rows_N = sides_2N[0].copy()
    rows_N[~is_target_N] = pair_N
    found: dict[bytes, TrialGroup] = {}
    for group_S in groups:
        key = group_S.tobytes()
        if key not in found:
            inside = np.flatnonzero(group_S[sides_2N].all(axis=0))
            found[key] = TrialGroup.of(scores_N[inside], is_target_N[inside], rows_N[inside])
    return TrialGroups(
        tuple(found[group_S.tobytes()] for group_S in groups),
        size,
        np.stack(np.divmod(pairs, size)),
    )


def _running(weights: np.ndarray) -> np.ndarray:
    running = np.zeros(len(weights) + 1)
    np.cumsum(weights, out=running[1:])
    return running
