# SPDX-License-Identifier: Apache-2.0
"""Grow a tree of rectangles whose word error rates differ, then cut back what chance explains.

Best first: of all leaves, axes and thresholds, the split with the largest gain is made, until no
legal split is left. Then, from the leaves up, each pair of leaves is tested: the speakers of both
change places at random, and the split stays only if its gain beats the best split of nearly all
such shuffles. Growing whole before cutting back matters: the first cut around a region in the
middle of a map gains little, the fourth one much. A split at depth d is tested at level / 2**d.

Three gains, with E errors and W words left and right:

- difference: |E_L / W_L - E_R / W_R|, the literal reading of the paper;
- variance:   W_L W_R / (W_L + W_R) * (E_L / W_L - E_R / W_R) ** 2, the drop of the word-weighted
  sum of squares between regions;
- likelihood: the Poisson log likelihood ratio over the speakers' overdispersion.

Coordinates are whole numbers, the cells of a grid, so that a threshold tells no one's address.

Legend: S speakers, A axes, R permutations, C candidate thresholds.

Source: V. A. Trinh et al., "Reducing geographic disparities in automatic speech recognition via
elastic weight consolidation", 2022, https://arxiv.org/abs/2207.07850 (a decision-tree-like
partition of longitude and latitude that maximizes WER differences).
Departs from the paper, whose stopping rule is not public: gains other than the difference, cutting
back by permutation, the grid.
"""

import heapq
import itertools
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from evenear.audit.discovery.rules import extreme_p_value, overdispersion
from evenear.config import config

__all__ = ["Criterion", "Leaf", "TreeSettings", "grow_tree"]

Criterion = Literal["difference", "variance", "likelihood"]

_FIRST_LOOK = 19
"""Permutations after which a hopeless split is given up."""

_NUMBERS_AT_ONCE = 1 << 22


@config
class TreeSettings:
    """How a tree grows, and when it stops."""

    criterion: Criterion = "likelihood"
    max_leaves: int = Field(default=126, ge=1)
    """The published map has 126 regions."""
    min_speakers: int = Field(default=50, ge=2)
    """Speakers on each side of a split. Each region then hides at least so many."""
    min_words: int = Field(default=500, ge=0)
    level: float | None = Field(default=0.1, gt=0, lt=1)
    """Level of the permutation tests; None keeps every split."""
    num_permutations: int = Field(default=99, ge=19)


class Leaf(NamedTuple):
    """A rectangle of cells, low <= cell < high on each axis; None where it is open."""

    lows: tuple[int | None, int | None]
    highs: tuple[int | None, int | None]
    members: np.ndarray
    """Rows of the speakers in it."""
    p_value: float | None
    """Of the split that made it, if that was tested."""


def grow_tree(
    cells_SA: np.ndarray,
    errors_S: np.ndarray,
    words_S: np.ndarray,
    settings: TreeSettings,
    rng: np.random.Generator,
) -> list[Leaf]:
    """Divide speakers into rectangles; a single leaf if nothing can be told apart."""
    data = _Data(cells_SA, errors_S, words_S, settings)
    order = itertools.count()
    root = _Node(data, np.arange(len(errors_S)), (None, None), (None, None), 0)
    queue = [(-root.gain, next(order), root)]
    num_leaves = 1
    while queue and num_leaves < settings.max_leaves:
        _, _, node = heapq.heappop(queue)
        if node.axis is None:
            continue
        node.split(data)
        num_leaves += 1
        for child in node.children:
            heapq.heappush(queue, (-child.gain, next(order), child))
    if settings.level is not None:
        _cut_back(data, root, rng)
    return list(_leaves(root, None))


class _Data(NamedTuple):
    cells_SA: np.ndarray
    errors_S: np.ndarray
    words_S: np.ndarray
    settings: TreeSettings


class _Node:
    """Speakers in a rectangle, and the best way to split them."""

    def __init__(
        self,
        data: _Data,
        members: np.ndarray,
        lows: tuple[int | None, int | None],
        highs: tuple[int | None, int | None],
        depth: int,
    ) -> None:
        self.members, self.lows, self.highs, self.depth = members, lows, highs, depth
        self.children: tuple[_Node, ...] = ()
        self.p_value: float | None = None
        self.cuts = _cuts(data, members)
        self.axis, self.threshold, self.gain = None, 0, -np.inf
        totals = data.errors_S[members].sum(), data.words_S[members].sum()
        self.dispersion = overdispersion(data.errors_S[members], data.words_S[members])
        for axis, cut in enumerate(self.cuts):
            if len(cut.places_C) == 0:
                continue
            left_C = cut.left_sums(data.errors_S[members], data.words_S[members])
            gains_C = _gains(totals, left_C, data.settings) / self.scale(data.settings)
            best = int(gains_C.argmax())
            if gains_C[best] > max(self.gain, 0.0):
                self.axis, self.gain = axis, float(gains_C[best])
                self.threshold = int(cut.thresholds_C[best])

    def scale(self, settings: TreeSettings) -> float:
        """What gains of this node are divided by."""
        return self.dispersion if settings.criterion == "likelihood" else 1.0

    def split(self, data: _Data) -> None:
        """Make the two children of the best split."""
        assert self.axis is not None
        is_low = data.cells_SA[self.members, self.axis] < self.threshold
        highs, lows = list(self.highs), list(self.lows)
        highs[self.axis] = lows[self.axis] = self.threshold
        low = _Node(data, self.members[is_low], self.lows, (highs[0], highs[1]), self.depth + 1)
        high = _Node(data, self.members[~is_low], (lows[0], lows[1]), self.highs, self.depth + 1)
        self.children = low, high


class _Cut(NamedTuple):
    """Speakers in the order of one axis, and the places where they may be divided."""

    order: np.ndarray
    places_C: np.ndarray
    thresholds_C: np.ndarray

    def left_sums(self, errors: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Errors and words below each threshold; speakers are on the last axis."""
        return (
            errors[..., self.order].cumsum(axis=-1)[..., self.places_C],
            words[..., self.order].cumsum(axis=-1)[..., self.places_C],
        )


def _cuts(data: _Data, members: np.ndarray) -> list[_Cut]:
    least = data.settings.min_speakers
    cuts = []
    for cells_S in data.cells_SA[members].T:
        order = np.argsort(cells_S, kind="stable")
        ordered_S = cells_S[order]
        places_C = np.flatnonzero(ordered_S[1:] > ordered_S[:-1])
        kept = (places_C + 1 >= least) & (len(members) - places_C - 1 >= least)
        places_C = places_C[kept]
        thresholds_C = (ordered_S[places_C] + 1 + ordered_S[places_C + 1]) // 2
        cuts.append(_Cut(order, places_C, thresholds_C))
    return cuts


def _gains(
    totals: tuple[float, float], left: tuple[np.ndarray, np.ndarray], settings: TreeSettings
) -> np.ndarray:
    errors, words = totals
    left_errors, left_words = left
    right_errors, right_words = errors - left_errors, words - left_words
    with np.errstate(divide="ignore", invalid="ignore"):
        left_rate, right_rate = left_errors / left_words, right_errors / right_words
        if settings.criterion == "difference":
            gains = np.abs(left_rate - right_rate)
        elif settings.criterion == "variance":
            gains = left_words * right_words / words * (left_rate - right_rate) ** 2
        else:
            rate = errors / words
            gains = _log_terms(left_errors, left_rate / rate)
            gains = gains + _log_terms(right_errors, right_rate / rate)
    least = max(settings.min_words, 1)
    legal = (left_words >= least) & (right_words >= least) & np.isfinite(gains)
    return np.where(legal, gains, -np.inf)


def _log_terms(errors: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    return np.where(errors > 0, errors * np.log(np.where(errors > 0, ratio, 1.0)), 0.0)


def _cut_back(data: _Data, node: _Node, rng: np.random.Generator) -> None:
    """Undo splits that chance explains, from the leaves up."""
    for child in node.children:
        _cut_back(data, child, rng)
    if node.children and not any(child.children for child in node.children):
        node.p_value = _p_value(data, node, rng)
        if node.p_value > (data.settings.level or 1.0) / 2.0**node.depth:
            node.children = ()


def _p_value(data: _Data, node: _Node, rng: np.random.Generator) -> float:
    settings, size = data.settings, len(node.members)
    errors_S, words_S = data.errors_S[node.members], data.words_S[node.members]
    totals = errors_S.sum(), words_S.sum()
    null: list[float] = []
    block = max(1, _NUMBERS_AT_ONCE // size)
    while len(null) < settings.num_permutations:
        goal = _FIRST_LOOK if len(null) < _FIRST_LOOK else settings.num_permutations
        orders_RS = np.stack([rng.permutation(size) for _ in range(min(block, goal - len(null)))])
        best_R = np.full(len(orders_RS), -np.inf)
        for cut in node.cuts:
            if len(cut.places_C):
                left_RC = cut.left_sums(errors_S[orders_RS], words_S[orders_RS])
                best_R = np.maximum(best_R, _gains(totals, left_RC, settings).max(axis=-1))
        null.extend(best_R / node.scale(settings))
        exceeded = sum(one >= node.gain for one in null)
        if len(null) >= _FIRST_LOOK and exceeded > len(null) // 3:
            return (1 + exceeded) / (1 + len(null))
    return extreme_p_value(node.gain, np.array(null))


def _leaves(node: _Node, p_value: float | None) -> Iterator[Leaf]:
    if not node.children:
        yield Leaf(node.lows, node.highs, node.members, p_value)
    for child in node.children:
        yield from _leaves(child, node.p_value if node.p_value is not None else p_value)
