# SPDX-License-Identifier: Apache-2.0
"""Of several ways to divide speakers into clusters, the one that shows most, and what chance shows.

Clusters too fine are too noisy to say anything of, clusters too coarse mix those who are served
badly with those who are not. So several divisions are tried, and the one with the surest cluster
(see `screening`) is taken; or a coarser one, if its surest is surer than that less half a standard
deviation. Its clusters are ranked by their error rates.

The price is paid in full: the same speakers' results are dealt out at random many times, each deal
takes its own best division, and says how bad its worst cluster looks. That is what random
embeddings would give.

Legend: S speakers, K clusters (of all divisions), G divisions, R random deals.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from evenear.audit.discovery.screening import residuals, standard_scores
from evenear.audit.statistics.multiplicity import max_t_p_values

__all__ = ["Ranked", "rank_clusters"]

_MARGIN = 0.5
"""Finer divisions must be surer by this many standard deviations."""


class Ranked(NamedTuple):
    """The division chosen, and its clusters in the order of their error rates, worst first."""

    chosen: int
    order_K: np.ndarray
    """Its clusters, worst first."""
    worst_gap: float
    """(WER - WER of the rest) / WER of the rest, for the worst."""
    control_gap: float
    """The same in a random deal: the mean."""
    control_gap_high: float
    """The same in a random deal: what 19 of 20 stay below."""
    p_adjusted: float
    """Of the surest cluster among all clusters of all divisions."""


def rank_clusters(
    divisions: Sequence[np.ndarray],
    errors_S: np.ndarray,
    words_S: np.ndarray,
    rng: np.random.Generator,
    *,
    num_permutations: int = 199,
) -> Ranked:
    """Choose a division and rank its clusters.

    Args:
        divisions: G arrays (S,) with the row of each speaker's cluster, from 0 without gaps; the
            coarsest first.
        errors_S: Word errors of each speaker.
        words_S: Reference words of each speaker.
        rng: Where the random deals come from.
        num_permutations: R.
    """
    members_KS = np.concatenate([np.arange(rows.max() + 1)[:, None] == rows for rows in divisions])
    division_K = np.concatenate([np.full(rows.max() + 1, g) for g, rows in enumerate(divisions)])
    orders_SR = np.stack(
        [
            np.arange(len(errors_S)),
            *(rng.permutation(len(errors_S)) for _ in range(num_permutations)),
        ],
        axis=1,
    )
    sureness_KR = standard_scores(members_KS, residuals(errors_S, words_S)[orders_SR])
    gaps_KR = _gaps(members_KS, errors_S[orders_SR], words_S[orders_SR])
    rates_K = (members_KS @ errors_S) / np.maximum(members_KS @ words_S, 1.0)
    sureness_KR = np.where(np.isfinite(sureness_KR), sureness_KR, -np.inf)
    chosen_R = _coarsest(sureness_KR, division_K)
    worst_R = np.where(division_K[:, None] == chosen_R, gaps_KR, -np.inf).max(axis=0)
    p_values_K = max_t_p_values(sureness_KR[:, 0], sureness_KR[:, 1:].T)
    return Ranked(
        chosen=int(chosen_R[0]),
        order_K=np.argsort(-rates_K[division_K == chosen_R[0]], kind="stable"),
        worst_gap=float(worst_R[0]),
        control_gap=float(worst_R[1:].mean()),
        control_gap_high=float(np.quantile(worst_R[1:], 0.95)),
        p_adjusted=float(np.nanmin(p_values_K)),
    )


def _coarsest(sureness_KR: np.ndarray, division_K: np.ndarray) -> np.ndarray:
    """In each deal, the first division whose surest cluster is about as sure as any."""
    starts_G = np.flatnonzero(np.diff(division_K, prepend=-1))
    surest_GR = np.maximum.reduceat(sureness_KR, starts_G, axis=0)
    return (surest_GR >= surest_GR.max(axis=0) - _MARGIN).argmax(axis=0)


def _gaps(members_KS: np.ndarray, errors_SR: np.ndarray, words_SR: np.ndarray) -> np.ndarray:
    """Relative gap of each cluster to the rest, (K, R); -1 where there is nothing to divide by."""
    members_KS = members_KS.astype(np.float64)
    errors_KR, words_KR = members_KS @ errors_SR, members_KS @ words_SR
    rest_errors_KR = errors_SR.sum(axis=0) - errors_KR
    rest_words_KR = words_SR.sum(axis=0) - words_KR
    with np.errstate(divide="ignore", invalid="ignore"):
        found_KR = errors_KR / words_KR / (rest_errors_KR / rest_words_KR) - 1.0
    return np.where(np.isfinite(found_KR), found_KR, -1.0)
