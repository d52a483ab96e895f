# SPDX-License-Identifier: Apache-2.0
"""How unusual each cohort's gap is among what chance gives: statistics and their null worlds.

Each attribute is tested as it varies.

- Where most speakers have one value, speakers trade places: the attributes are dealt out to them
  anew (R times; who has two values hands on both, in the same parts), and the statistic is the gap
  of log rates over its standard error. With half an error added on either side it stands for
  cohorts without errors as well:

      t = log(r1 / r0) / sqrt(v1 + v0),   r = (E + 1/2) / (W + 1/(2 r)),
      v = (1/2 + n / (n - 1) * sum_s (e_s - r * w_s) ** 2) / (E + 1/2) ** 2

- Where an attribute changes within most speakers, they keep their speech. What the cohort erred
  more than everyone's rate gives, U, loses d_s without speaker s, and each d_s changes its sign:

      U = E - r * W,   r = (errors of all) / (words of all),   d_s = U - U without s,
      t = U / sqrt(sum_s d_s ** 2),   t in a world = sum_s (+-1) * d_s / sqrt(sum_s d_s ** 2)

  Leaving a speaker out also says what they did to everyone's rate. So one who dominates turns t
  only to about plus or minus one, and nothing is confirmed on the word of one speaker.

Both hold for any ratio of sums: errors over words gives gaps, errors after over errors before
gives changes of gaps.

Legend: R worlds, S speakers, K cohorts, A attributes, M moments of errors and words.

Source: P. Westfall and S. Young, "Resampling-Based Multiple Testing", 1993 (permutations); E. Chung
and J. Romano, "Exact and asymptotically robust permutation tests", 2013 (why to divide by the
standard error); A. C. Cameron, J. Gelbach and D. Miller, "Bootstrap-based improvements for
inference with clustered errors", 2008 (signs, under the hypothesis). Half an error, and leaving
speakers out before the signs are flipped, are our reading.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from evenear.audit.statistics.sums import CohortSums, KnownSums
from evenear.seeding import rng_for

__all__ = [
    "NUMBERS_AT_ONCE",
    "Significance",
    "flipped_statistics",
    "permuted_statistics",
    "significance",
]

NUMBERS_AT_ONCE = 1 << 23
"""Moments of permuted speakers that are held at a time."""

_HALF = 0.5


class Significance(NamedTuple):
    """Statistics of K cohorts as observed, in R worlds without effects, and where these come from.

    A statistic is positive where the cohort's ratio is above that of the rest; NaN where there is
    nothing to test.
    """

    observed_K: np.ndarray
    null_RK: np.ndarray
    methods_K: tuple[str, ...]
    """"permutation" or "sign flips"."""


def significance(
    cohorts: Sequence[CohortSums],
    totals: tuple[np.ndarray, np.ndarray],
    *,
    seed: int,
    num_resamples: int,
    strata_S: np.ndarray | None = None,
) -> Significance:
    """Test each cohort against the rest, as its attribute varies.

    The worlds of the two ways are drawn apart. For two-sided statistics that can only make what is
    adjusted over both too careful (Z. Šidák, 1967).

    Args:
        cohorts: K cohorts.
        totals: Errors and words of each speaker in the whole table, each (S,).
        seed: Decides the worlds.
        num_resamples: R.
        strata_S: A whole number for each speaker; speakers trade places within the same number.
    """
    moved = np.array([one.known.by_speaker for one in cohorts], dtype=bool)
    observed_K = np.full(len(cohorts), np.nan)
    null_RK = np.full((num_resamples, len(cohorts)), np.nan)
    if moved.any():
        observed_K[moved], null_RK[:, moved] = permuted_statistics(
            [one for one in cohorts if one.known.by_speaker],
            totals,
            rng_for(seed, "permutation"),
            num_permutations=num_resamples,
            strata_S=strata_S,
        )
    if not moved.all():
        observed_K[~moved], null_RK[:, ~moved] = flipped_statistics(
            [one for one in cohorts if not one.known.by_speaker],
            rng_for(seed, "sign flips"),
            num_flips=num_resamples,
        )
    methods = tuple("permutation" if one.known.by_speaker else "sign flips" for one in cohorts)
    return Significance(observed_K, null_RK, methods)


def permuted_statistics(
    cohorts: Sequence[CohortSums],
    totals: tuple[np.ndarray, np.ndarray],
    rng: np.random.Generator,
    *,
    num_permutations: int = 1000,
    strata_S: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Statistics of cohorts against the rest, as observed (K) and with speakers permuted (R, K).

    Args:
        cohorts: K cohorts in which most speakers have one value of each attribute.
        totals: Errors and words of each speaker, each (S,).
        rng: Where the permutations come from.
        num_permutations: R.
        strata_S: A whole number for each speaker; speakers trade places within the same number.
    """
    knowns = {cohort.attribute: cohort.known for cohort in cohorts}
    rows = {attribute: row for row, attribute in enumerate(knowns)}
    attribute_K = np.array([rows[cohort.attribute] for cohort in cohorts])
    parts = _Parts.of(cohorts, totals), _Parts.of(list(knowns.values()), totals)
    errors_S, words_S = totals
    sums_S2, products_S3 = _moments(errors_S, words_S)
    block = max(1, NUMBERS_AT_ONCE // (5 * len(errors_S)))
    inside = _Moments.of([(*one.own, one.members) for one in cohorts])
    outside = _Moments.of([(*one.rest, one.rest_members) for one in cohorts])
    observed_K = _studentized(inside, outside)[0]
    null = []
    for start in range(0, num_permutations, block):
        size = min(block, num_permutations - start)
        orders_SR = np.stack([_permutation(len(errors_S), strata_S, rng) for _ in range(size)], 1)
        dealt = sums_S2[orders_SR], products_S3[orders_SR]
        inside, known = parts[0].moments(*dealt), parts[1].moments(*dealt)
        lost_KR3 = _product(parts[0].lost_KS, dealt[1])
        rest = known.less(attribute_K, inside, lost_KR3, outside.speakers_K1)
        null.append(_studentized(inside, rest))
    return observed_K, np.concatenate(null) if null else np.empty((0, len(cohorts)))


class _Moments(NamedTuple):
    """Sums over the speakers of K groups: errors and words, their products, speakers."""

    sums_KR2: np.ndarray
    products_KR3: np.ndarray
    speakers_K1: np.ndarray

    @classmethod
    def of(cls, groups: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> "_Moments":
        """As they are, from errors, words and members of each group."""
        moments = [_moments(errors_S, words_S) for errors_S, words_S, _ in groups]
        sums_K2 = np.stack([sums_S2.sum(axis=0) for sums_S2, _ in moments])
        products_K3 = np.stack([products_S3.sum(axis=0) for _, products_S3 in moments])
        speakers_K = np.array([members.sum() for *_, members in groups], dtype=np.float64)
        return cls(sums_K2[:, None], products_K3[:, None], speakers_K[:, None])

    def less(
        self, rows_K: np.ndarray, inside: "_Moments", lost_KR3: np.ndarray, speakers_K1: np.ndarray
    ) -> "_Moments":
        """What is left of everyone's (one of A) without each cohort."""
        sums_KR2 = self.sums_KR2[rows_K] - inside.sums_KR2
        return _Moments(sums_KR2, self.products_KR3[rows_K] - lost_KR3, speakers_K1)


class _Parts(NamedTuple):
    """What part of each speaker's speech is in each group.

    With g the part whose value is known and f that in the cohort, the products of the rest have
    weight (g - f) ** 2, which is g ** 2 less f * (2 g - f).
    """

    parts_KS: sparse.csr_matrix
    squares_KS: sparse.csr_matrix
    lost_KS: sparse.csr_matrix
    speakers_K1: np.ndarray

    @classmethod
    def of(
        cls,
        groups: Sequence[CohortSums] | Sequence[KnownSums],
        totals: tuple[np.ndarray, np.ndarray],
    ) -> "_Parts":
        """Parts by words, or by membership where the totals have none."""
        parts_KS = np.stack([_part(one, totals[1]) for one in groups])
        known_KS = np.stack([_part(getattr(one, "known", one), totals[1]) for one in groups])
        speakers_K = np.array([one.members.sum() for one in groups], dtype=np.float64)
        return cls(
            sparse.csr_matrix(parts_KS),
            sparse.csr_matrix(parts_KS**2),
            sparse.csr_matrix(parts_KS * (2.0 * known_KS - parts_KS)),
            speakers_K[:, None],
        )

    def moments(self, sums_SR2: np.ndarray, products_SR3: np.ndarray) -> _Moments:
        """Moments of the groups when speech was dealt out."""
        sums_KR2 = _product(self.parts_KS, sums_SR2)
        return _Moments(sums_KR2, _product(self.squares_KS, products_SR3), self.speakers_K1)


def _part(one: CohortSums | KnownSums, words_S: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        part_S = one.words_S / words_S
    return np.where(np.isfinite(part_S), part_S, 1.0) * one.members


def _product(weights_KS: sparse.csr_matrix, values_SRM: np.ndarray) -> np.ndarray:
    flat = values_SRM.reshape(len(values_SRM), -1)
    return (weights_KS @ flat).reshape(-1, *values_SRM.shape[1:])


def _moments(errors_S: np.ndarray, words_S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    products = [errors_S**2, errors_S * words_S, words_S**2]
    return np.stack([errors_S, words_S], axis=1), np.stack(products, axis=1)


def flipped_statistics(
    cohorts: Sequence[CohortSums], rng: np.random.Generator, *, num_flips: int = 1000
) -> tuple[np.ndarray, np.ndarray]:
    """Statistics of cohorts against the rest, as observed (K) and with signs flipped (R, K).

    Args:
        cohorts: K cohorts, of attributes that may change within speakers.
        rng: Where the signs come from.
        num_flips: R.
    """
    parts = [_without_each(cohort) for cohort in cohorts]
    excess_K = np.array([excess for excess, _ in parts])
    losses_SK = np.stack([losses_S for _, losses_S in parts], axis=1)
    scale_K = np.sqrt((losses_SK**2).sum(axis=0))
    scale_K[scale_K == 0.0] = np.nan
    null_RK = np.empty((num_flips, len(cohorts)))
    block = max(1, NUMBERS_AT_ONCE // len(losses_SK))
    for start in range(0, num_flips, block):
        size = min(block, num_flips - start)
        signs_RS = 2.0 * rng.integers(0, 2, size=(size, len(losses_SK))) - 1.0
        null_RK[start : start + size] = signs_RS @ losses_SK / scale_K
    return excess_K / scale_K, null_RK


def _without_each(cohort: CohortSums) -> tuple[float, np.ndarray]:
    """Errors of a cohort beyond the rate of all, and what they lose without each speaker."""
    columns_S4 = np.stack(
        [cohort.errors_S, cohort.words_S, cohort.known.errors_S, cohort.known.words_S], axis=1
    )
    totals_4 = columns_S4.sum(axis=0)
    whole = float(_excess(totals_4[None])[0])
    return whole, whole - _excess(totals_4 - columns_S4)


def _excess(columns_S4: np.ndarray) -> np.ndarray:
    """Errors less words times the rate of all, from errors and words of the cohort and of all."""
    errors_S, words_S, all_errors_S, all_words_S = columns_S4.T
    with np.errstate(divide="ignore", invalid="ignore"):
        return errors_S - np.nan_to_num(all_errors_S / all_words_S) * words_S


def _studentized(inside: _Moments, outside: _Moments) -> np.ndarray:
    """Difference of log rates, inside less outside, over its standard error, as (R, K)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        both_KR2 = inside.sums_KR2 + outside.sums_KR2
        rate_KR = both_KR2[..., 0] / both_KR2[..., 1]
        inside_KR, inside_variance_KR = _log_rate(inside, rate_KR)
        outside_KR, outside_variance_KR = _log_rate(outside, rate_KR)
        statistic_KR = (inside_KR - outside_KR) / np.sqrt(inside_variance_KR + outside_variance_KR)
    return np.where(np.isfinite(statistic_KR), statistic_KR, np.nan).T


def _log_rate(moments: _Moments, known_KR: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logarithm of a rate and its variance, with half an error at the rate of all added."""
    errors, words = np.moveaxis(moments.sums_KR2, -1, 0)
    errors2, errors_words, words2 = np.moveaxis(moments.products_KR3, -1, 0)
    rate = (errors + _HALF) / (words + _HALF / known_KR)
    squares = errors2 - 2.0 * rate * errors_words + rate**2 * words2
    speakers = np.where(moments.speakers_K1 > 1.0, moments.speakers_K1, np.nan)
    scatter = np.maximum(squares, 0.0) * speakers / (speakers - 1.0)
    return np.log(rate), (scatter + _HALF) / (errors + _HALF) ** 2


def _permutation(
    num_speakers: int, strata_S: np.ndarray | None, rng: np.random.Generator
) -> np.ndarray:
    if strata_S is None:
        return rng.permutation(num_speakers)
    order_S = np.arange(num_speakers)
    for stratum in np.unique(strata_S):
        members = np.flatnonzero(strata_S == stratum)
        order_S[members] = rng.permutation(members)
    return order_S
