# SPDX-License-Identifier: Apache-2.0
"""Search conjunctions of conditions for those whose speech has too many errors.

Three searches:

- single: every condition alone, the one-attribute-at-a-time audit;
- beam:   the best conditions, each joined with every condition on another column, the best of
          these again, and so on;
- scan:   for one column after the other, the set of kinds that scores best given what is chosen
          in the other columns, until nothing gets better; from several starts. Kinds in the order
          of their error rates are enough to look at: the best set is a prefix of that order.

Three scores, with E errors and W words of the subgroup, r the overall rate:

- poisson:    E log(E / rW) + rW - E where E > rW, over the overdispersion of speakers: the
              expectation-based Poisson scan (the only one for `scan`);
- sliceline:  0.95 (E / rW - 1) - 0.05 (all words / W - 1);
- divergence: E / W - r, for subgroups that are large enough.

Legend: C cells, K conjunctions, S speakers.

Source: D. Neill, "Fast subset scan for spatial pattern detection", 2012 (prefixes); Z. Zhang and
D. Neill, "Identifying significant predictive bias in classifiers", 2016, https://arxiv.org/abs/
1611.08292 (scan over columns); S. Sagadeeva and M. Boehm, "SliceLine", 2021 (its score); E. Pastor,
L. de Alfaro and E. Baralis, "Looking for trouble: analyzing classifier behavior via pattern
divergence", 2021 (divergence).
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from evenear.audit.discovery.rules import overdispersion
from evenear.audit.discovery.subgroups.conditions import Cells, Condition
from evenear.config import config

__all__ = ["Found", "Outcome", "Score", "SubgroupSettings", "poisson_score", "search_subgroups"]

Score = Literal["poisson", "sliceline", "divergence"]

_SLICELINE_WEIGHT = 0.95


@config
class SubgroupSettings:
    """How subgroups are searched, and which are kept."""

    method: Literal["beam", "scan", "single"] = "beam"
    score: Score = "poisson"
    """For `beam` and `single`."""
    max_conditions: int = Field(default=3, ge=1)
    num_subgroups: int = Field(default=5, ge=1)
    min_speakers: int = Field(default=30, ge=2)
    """In the subgroup and outside of it."""
    min_words: int = Field(default=500, ge=1)
    beam_width: int = Field(default=20, ge=1)
    num_starts: int = Field(default=5, ge=1)
    """Of `scan`."""
    kind_penalty: float = Field(default=1.0, ge=0)
    """What `scan` pays for each kind that it names."""
    margin: float = Field(default=2.0, ge=0)
    """A conjunction must score so much more than without any one of its conditions (poisson), and
    so much in speech that no better subgroup holds."""
    max_overlap: float = Field(default=0.5, gt=0, le=1)
    """Subgroups that share more than this of their words are nearly alike; one of them is kept."""
    num_permutations: int = Field(default=49, ge=0)


class Outcome(NamedTuple):
    """Errors and words of each cell, real or dealt out anew."""

    errors_C: np.ndarray
    words_C: np.ndarray


class Found(NamedTuple):
    """A conjunction and its score."""

    conditions: tuple[Condition, ...]
    score: float


def search_subgroups(
    cells: Cells, outcome: Outcome, settings: SubgroupSettings, rng: np.random.Generator
) -> list[Found]:
    """Conjunctions with enough speakers, best first."""
    if settings.method == "scan":
        found = _scan(cells, outcome, settings, rng)
    else:
        found = _beam(cells, outcome, settings)
    return sorted(found, key=lambda one: -one.score)


class _Judge(NamedTuple):
    """What scoring needs of an outcome, worked out once."""

    cells: Cells
    outcome: Outcome
    starts_S: np.ndarray
    rate: float
    dispersion: float
    settings: SubgroupSettings

    @classmethod
    def of(cls, cells: Cells, outcome: Outcome, settings: SubgroupSettings) -> "_Judge":
        starts_S = np.flatnonzero(np.diff(cells.speakers_C, prepend=-1))
        errors_S = np.add.reduceat(outcome.errors_C, starts_S)
        words_S = np.add.reduceat(outcome.words_C, starts_S)
        rate = float(errors_S.sum() / words_S.sum())
        return cls(cells, outcome, starts_S, rate, overdispersion(errors_S, words_S), settings)

    def scores(self, members_KC: np.ndarray) -> np.ndarray:
        """Score of each conjunction; -inf where it, or what is outside, is too small."""
        errors_K = members_KC @ self.outcome.errors_C
        words_K = members_KC @ self.outcome.words_C
        expected_K = self.rate * words_K
        words = self.outcome.words_C.sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.settings.score == "divergence":
                scores_K = errors_K / words_K - self.rate
            elif self.settings.score == "sliceline":
                relative_K, smallness_K = errors_K / expected_K - 1.0, words / words_K - 1.0
                weight = _SLICELINE_WEIGHT
                scores_K = weight * relative_K - (1.0 - weight) * smallness_K
            else:
                scores_K = poisson_score(errors_K, expected_K) / self.dispersion
        legal_K = self.is_large(members_KC, words_K) & np.isfinite(scores_K)
        return np.where(legal_K, scores_K, -np.inf)

    def is_large(self, members_KC: np.ndarray, words_K: np.ndarray) -> np.ndarray:
        """Which conjunctions have enough speakers and words, inside and outside."""
        least, words = self.settings.min_words, self.outcome.words_C.sum()
        if self.cells.is_by_speaker:
            speakers_K = members_KC.sum(axis=1)
            others_K = members_KC.shape[1] - speakers_K
        else:
            speakers_K = np.logical_or.reduceat(members_KC, self.starts_S, axis=1).sum(axis=1)
            others_K = np.logical_or.reduceat(~members_KC, self.starts_S, axis=1).sum(axis=1)
        enough_K = np.minimum(speakers_K, others_K) >= self.settings.min_speakers
        return enough_K & (words_K >= least) & (words - words_K >= least)


def poisson_score(errors: np.ndarray | np.float64, expected: np.ndarray | np.float64) -> np.ndarray:
    """Log likelihood ratio of more errors than expected; 0 where there are not more."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = errors * np.log(errors / expected) + expected - errors
    return np.where(errors > expected, scores, 0.0)


def _beam(cells: Cells, outcome: Outcome, settings: SubgroupSettings) -> list[Found]:
    judge = _Judge.of(cells, outcome, settings)
    conditions = cells.conditions()
    if not conditions:
        return []
    single_KC = np.stack([cells.members(one) for one in conditions])
    names: list[tuple[int, ...]] = [(k,) for k in range(len(conditions))]
    members_KC, scores_K = single_KC, judge.scores(single_KC)
    scored = dict(zip(names, scores_K, strict=True))
    depth = 1 if settings.method == "single" else settings.max_conditions
    for _ in range(depth - 1):
        beam = [k for k in np.argsort(-scores_K, kind="stable") if np.isfinite(scores_K[k])]
        beam = beam[: settings.beam_width]
        grown = _grow([names[k] for k in beam], conditions, scored)
        if not grown:
            break
        rows = {names[k]: members_KC[k] for k in beam}
        members_KC = np.stack([rows[parent] & single_KC[k] for parent, k in grown])
        names = [tuple(sorted((*parent, k))) for parent, k in grown]
        scores_K = judge.scores(members_KC)
        scored.update(zip(names, scores_K, strict=True))
    return [
        Found(tuple(conditions[k] for k in name), float(score))
        for name, score in scored.items()
        if np.isfinite(score) and score > 0.0 and _is_needed(name, scored, settings)
    ]


def _grow(
    beam: Sequence[tuple[int, ...]],
    conditions: Sequence[Condition],
    scored: dict[tuple[int, ...], float],
) -> list[tuple[tuple[int, ...], int]]:
    """Each conjunction of the beam with each condition on another column, once."""
    grown, seen = [], set()
    for parent in beam:
        taken = {conditions[k].column for k in parent}
        for k, condition in enumerate(conditions):
            name = tuple(sorted((*parent, k)))
            if condition.column not in taken and name not in seen and name not in scored:
                seen.add(name)
                grown.append((parent, k))
    return grown


def _is_needed(
    name: tuple[int, ...], scored: dict[tuple[int, ...], float], settings: SubgroupSettings
) -> bool:
    """Whether every condition of a conjunction adds to what is known without it."""
    margin = settings.margin if settings.score == "poisson" else 0.0
    without = [name[:k] + name[k + 1 :] for k in range(len(name))] if len(name) > 1 else []
    return all(scored[name] > scored.get(one, -np.inf) + margin for one in without)


def _scan(
    cells: Cells, outcome: Outcome, settings: SubgroupSettings, rng: np.random.Generator
) -> list[Found]:
    """Coordinate ascent over columns, from several starts."""
    judge = _Judge.of(cells, outcome, settings)
    found: dict[tuple[Condition, ...], float] = {}
    for start in range(settings.num_starts):
        chosen = [np.ones(len(kinds), dtype=bool) for kinds in cells.kinds]
        if start:
            for row in rng.permutation(len(chosen))[: settings.max_conditions]:
                kept = rng.random(len(chosen[row])) < 0.5
                chosen[row] = kept if kept.any() else chosen[row]
        score = _ascend(judge, chosen, rng)
        conditions = tuple(
            Condition(
                column=column, kinds=tuple(k for k, is_in in zip(kinds, kept, strict=True) if is_in)
            )
            for column, kinds, kept in zip(cells.columns, cells.kinds, chosen, strict=True)
            if not kept.all()
        )
        if conditions and score > 0.0:
            members_KC = _conjunction(cells, chosen)[None]
            if judge.is_large(members_KC, members_KC @ outcome.words_C)[0]:
                found[conditions] = score
    return [Found(conditions, score) for conditions, score in found.items()]


def _ascend(judge: _Judge, chosen: list[np.ndarray], rng: np.random.Generator) -> float:
    """Better one column after the other until nothing changes; `chosen` is changed."""
    best = -np.inf
    while True:
        before = best
        for row in rng.permutation(len(chosen)):
            others = sum(not kept.all() for other, kept in enumerate(chosen) if other != row)
            free = others < judge.settings.max_conditions
            best, chosen[row] = _best_kinds(judge, chosen, int(row), free)
        if best <= before + 1e-9:
            return best


def _best_kinds(
    judge: _Judge, chosen: list[np.ndarray], row: int, free: bool
) -> tuple[float, np.ndarray]:
    """The best set of kinds of one column, given the others; all of them if it is not free."""
    cells, size = judge.cells, len(chosen[row])
    within = _conjunction(
        cells, [kept if k != row else np.ones_like(kept) for k, kept in enumerate(chosen)]
    )
    codes = cells.codes[row]
    known = within & (codes >= 0)
    errors = np.bincount(codes[known], judge.outcome.errors_C[known], size)
    expected = judge.rate * np.bincount(codes[known], judge.outcome.words_C[known], size)
    paid = sum(kept.sum() for k, kept in enumerate(chosen) if k != row and not kept.all())
    penalty = judge.settings.kind_penalty
    totals = judge.outcome.errors_C[within].sum(), judge.rate * judge.outcome.words_C[within].sum()
    whole = float(poisson_score(*totals)) / judge.dispersion
    best, kept = whole - penalty * paid, np.ones(size, dtype=bool)
    if not free:
        return best, kept
    order = np.argsort(-errors / np.maximum(expected, 1e-12), kind="stable")
    scores = poisson_score(errors[order].cumsum(), expected[order].cumsum()) / judge.dispersion
    scores = scores - penalty * (paid + np.arange(1, size + 1))
    prefix = int(scores[:-1].argmax()) if size > 1 else 0
    if size > 1 and scores[prefix] > best:
        kept = np.zeros(size, dtype=bool)
        kept[order[: prefix + 1]] = True
        best = float(scores[prefix])
    return best, kept


def _conjunction(cells: Cells, chosen: Sequence[np.ndarray]) -> np.ndarray:
    """Cells of the chosen kinds in every column; unknown kinds are in only where all are."""
    members = np.ones(cells.codes.shape[1], dtype=bool)
    for codes, kept in zip(cells.codes, chosen, strict=True):
        if not kept.all():
            members &= np.append(kept, False)[codes]
    return members
