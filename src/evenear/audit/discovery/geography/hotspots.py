# SPDX-License-Identifier: Apache-2.0
"""Find the rectangles on a map where a recognizer errs too often.

Every rectangle of a grid is tried. Its score is the Poisson log likelihood ratio of "one rate
inside, a lower one outside" against "one rate everywhere", over the speakers' overdispersion. The
best rectangle is kept if it beats the best rectangles of most worlds in which speakers change
places at random; then its speakers are taken out, and the search goes on.

A tree must cut four times to isolate a rectangle, and its first cuts see little. This search sees
the rectangle at once, and with a tenth of the map served 30 % worse it finds it about twice as
often.

Lines of the grid are quantiles of where speakers live, rounded to whole cells, so that they tell no
one's address. Sums over all rectangles come from one table of cumulative sums.

Legend: S speakers, A axes, R permutations, G x H cells, I x J extents: runs of neighboring columns
of cells, times runs of rows.

Source: M. Kulldorff, "A spatial scan statistic", 1997 (there with circles and Poisson counts);
D. Neill, "Expectation-based scan statistics for monitoring spatial time series data", 2009.
Departs from the sources: rectangles, division by the overdispersion of speakers.
"""

from typing import NamedTuple

import numpy as np
from pydantic import Field

from evenear.audit.discovery.rules import extreme_p_value, overdispersion
from evenear.config import config

__all__ = ["Hotspot", "HotspotSettings", "find_rectangles"]

_FIRST_LOOK = 19
"""Permutations after which a hopeless rectangle may be given up."""


@config
class HotspotSettings:
    """How finely a map is scanned."""

    num_lines: int = Field(default=15, ge=2, le=64)
    """Grid lines on each axis; the number of rectangles grows with its fourth power."""
    max_hotspots: int = Field(default=3, ge=1)
    min_speakers: int = Field(default=30, ge=2)
    """Speakers inside and outside. Each hotspot then hides at least so many."""
    min_words: int = Field(default=500, ge=0)
    level: float = Field(default=0.5, gt=0, lt=1)
    """Level of the permutation test of the first hotspot; half of it for the second, and so on.
    What has an even chance is worth confirming, and nothing counts until it is."""
    num_permutations: int = Field(default=99, ge=19)


class Hotspot(NamedTuple):
    """A rectangle of cells, low <= cell < high on each axis; None where it is open."""

    lows: tuple[int | None, int | None]
    highs: tuple[int | None, int | None]
    members: np.ndarray
    """Rows of the speakers in it who are in no earlier one."""
    p_value: float


def find_rectangles(
    cells_SA: np.ndarray,
    errors_S: np.ndarray,
    words_S: np.ndarray,
    settings: HotspotSettings,
    rng: np.random.Generator,
) -> list[Hotspot]:
    """Find rectangles with too many errors, the surest first; none if chance explains them all."""
    grid = _Grid.of(cells_SA, settings.num_lines)
    remaining = np.arange(len(errors_S))
    found: list[Hotspot] = []
    while len(found) < settings.max_hotspots and len(remaining) >= 2 * settings.min_speakers:
        scan = _Scan.of(grid, remaining, errors_S, words_S, settings)
        scores_IJ = scan.scores(errors_S[remaining], words_S[remaining])
        best = np.unravel_index(int(scores_IJ.argmax()), scores_IJ.shape)
        if scores_IJ[best] <= 0.0:
            break
        p_value = _p_value(scan, errors_S[remaining], words_S[remaining], settings, rng)
        if p_value > settings.level / (1 + len(found)):
            break
        lows, highs, is_inside = scan.rectangle(int(best[0]), int(best[1]))
        found.append(Hotspot(lows, highs, remaining[is_inside], p_value))
        remaining = remaining[~is_inside]
    return found


class _Grid(NamedTuple):
    """Lines on each axis, and between which of them each speaker is."""

    lines_A: tuple[np.ndarray, np.ndarray]
    places_SA: np.ndarray

    @classmethod
    def of(cls, cells_SA: np.ndarray, num_lines: int) -> "_Grid":
        steps = np.linspace(0.0, 1.0, num_lines + 2)[1:-1]
        lines = [
            np.setdiff1d(np.quantile(cells_S, steps, method="nearest"), [cells_S.min()])
            for cells_S in cells_SA.T
        ]
        places = [
            np.searchsorted(line, cells_S, side="right")
            for line, cells_S in zip(lines, cells_SA.T, strict=True)
        ]
        return cls((lines[0], lines[1]), np.stack(places, axis=1))


class _Scan(NamedTuple):
    """All rectangles that enough of the remaining speakers are in and out of."""

    grid: _Grid
    shape: tuple[int, int]
    flat_S: np.ndarray
    starts: tuple[np.ndarray, np.ndarray]
    stops: tuple[np.ndarray, np.ndarray]
    legal_IJ: np.ndarray
    totals: tuple[float, float]
    dispersion: float
    min_words: int

    @classmethod
    def of(
        cls,
        grid: _Grid,
        remaining: np.ndarray,
        errors_S: np.ndarray,
        words_S: np.ndarray,
        settings: HotspotSettings,
    ) -> "_Scan":
        shape = len(grid.lines_A[0]) + 1, len(grid.lines_A[1]) + 1
        places_SA = grid.places_SA[remaining]
        extents = [np.triu_indices(size) for size in shape]
        scan = cls(
            grid=grid,
            shape=shape,
            flat_S=places_SA[:, 0] * shape[1] + places_SA[:, 1],
            starts=(extents[0][0], extents[1][0]),
            stops=(extents[0][1] + 1, extents[1][1] + 1),
            legal_IJ=np.array(True),
            totals=(errors_S[remaining].sum(), words_S[remaining].sum()),
            dispersion=overdispersion(errors_S[remaining], words_S[remaining]),
            min_words=max(settings.min_words, 1),
        )
        speakers_IJ = scan.sums(np.ones(len(remaining)))
        least = settings.min_speakers
        legal_IJ = (speakers_IJ >= least) & (len(remaining) - speakers_IJ >= least)
        return scan._replace(legal_IJ=legal_IJ)

    def sums(self, values_S: np.ndarray) -> np.ndarray:
        """Sum over the speakers of each rectangle."""
        cells_GH = np.bincount(self.flat_S, values_S, self.shape[0] * self.shape[1])
        corner_GH = np.zeros((self.shape[0] + 1, self.shape[1] + 1))
        corner_GH[1:, 1:] = cells_GH.reshape(self.shape).cumsum(axis=0).cumsum(axis=1)
        strips_IH = corner_GH[self.stops[0]] - corner_GH[self.starts[0]]
        return strips_IH[:, self.stops[1]] - strips_IH[:, self.starts[1]]

    def scores(self, errors_S: np.ndarray, words_S: np.ndarray) -> np.ndarray:
        """Log likelihood ratio of each rectangle over the overdispersion; 0 where not worse."""
        errors, words = self.totals
        inside_errors, inside_words = self.sums(errors_S), self.sums(words_S)
        outside_errors, outside_words = errors - inside_errors, words - inside_words
        with np.errstate(divide="ignore", invalid="ignore"):
            inside = inside_errors * np.log(inside_errors / inside_words * words / errors)
            outside = outside_errors * np.log(outside_errors / outside_words * words / errors)
            is_worse = inside_errors * outside_words > outside_errors * inside_words
        outside = np.where(outside_errors > 0, outside, 0.0)
        enough = (inside_words >= self.min_words) & (outside_words >= self.min_words)
        return np.where(self.legal_IJ & enough & is_worse, inside + outside, 0.0) / self.dispersion

    def rectangle(
        self, first: int, second: int
    ) -> tuple[tuple[int | None, int | None], tuple[int | None, int | None], np.ndarray]:
        """Bounds of one rectangle in cells, and which speakers are inside."""
        lows, highs = [], []
        is_inside = np.ones(len(self.flat_S), dtype=bool)
        places_AS = np.unravel_index(self.flat_S, self.shape)
        for axis, extent in enumerate((first, second)):
            start, stop = int(self.starts[axis][extent]), int(self.stops[axis][extent])
            lines = self.grid.lines_A[axis]
            lows.append(int(lines[start - 1]) if start > 0 else None)
            highs.append(int(lines[stop - 1]) if stop <= len(lines) else None)
            is_inside &= (places_AS[axis] >= start) & (places_AS[axis] < stop)
        return (lows[0], lows[1]), (highs[0], highs[1]), is_inside


def _p_value(
    scan: _Scan,
    errors_S: np.ndarray,
    words_S: np.ndarray,
    settings: HotspotSettings,
    rng: np.random.Generator,
) -> float:
    best = float(scan.scores(errors_S, words_S).max())
    null: list[float] = []
    for _ in range(settings.num_permutations):
        order = rng.permutation(len(errors_S))
        null.append(float(scan.scores(errors_S[order], words_S[order]).max()))
        exceeded = sum(one >= best for one in null)
        if len(null) >= _FIRST_LOOK and exceeded > 0.75 * len(null):
            return (1 + exceeded) / (1 + len(null))
    return extreme_p_value(best, np.array(null))
