# SPDX-License-Identifier: Apache-2.0
"""A map of word error rates that shows no one: squares or hexagons with enough speakers in each.

The finest cells are taken in which most speakers share theirs with at least `min_speakers` - 1
others. Cells with fewer are not drawn, and nothing is said of them.

Hexagons have equal areas everywhere and need the package h3; squares need nothing.

Legend: S speakers, A axes (longitude, latitude).

Source: P. Samarati and L. Sweeney, "Protecting privacy when disclosing information:
k-anonymity and its enforcement through generalization and suppression", 1998.
"""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import numpy as np

from evenear.audit.discovery.census.zipcodes import with_places_of_zips
from evenear.audit.discovery.geography.places import STEPS, Grid, SpeakerPlaces, speaker_places
from evenear.audit.tables.table import Table
from evenear.errors import CohortError, MissingDependencyError

__all__ = ["MapCell", "map_cells"]

_SHOWN = 0.8
"""Share of the speakers that must be in cells that are shown."""

_FINEST_HEXAGON = 6
"""About 36 square kilometers."""


class MapCell(NamedTuple):
    """A cell and what was counted in it."""

    corners: tuple[tuple[float, float], ...]
    """(latitude, longitude) around the cell; longitudes run on past 180 where it crosses that."""
    speakers: int
    words: int
    errors: int

    @property
    def wer(self) -> float:
        """Pooled word error rate."""
        return self.errors / self.words


def map_cells(
    table: Table, *, min_speakers: int = 10, shape: Literal["square", "hexagon"] = "square"
) -> tuple[MapCell, ...]:
    """Cells with at least `min_speakers` speakers; none if there is no such map.

    Raises:
        CohortError: There are no coordinates, or fewer than 2 speakers would do for a cell.
        MissingDependencyError: Hexagons are wanted and h3 is not installed.
    """
    if min_speakers < 2:
        raise CohortError(
            f"A cell of a map must hide at least 2 speakers, got min_speakers={min_speakers}.",
            hint="10 is a good choice.",
        )
    places = speaker_places(with_places_of_zips(table))
    finest: list[MapCell] = []
    for cells in _squares(places) if shape == "square" else _hexagons(places):
        shown = _shown(places, cells, min_speakers)
        if sum(one.speakers for one in shown) < _SHOWN * len(places.speakers):
            break
        finest = shown
    return _westward(finest)


def _westward(cells: list[MapCell]) -> tuple[MapCell, ...]:
    """Count longitudes from -180 rather than from 180 where no cell needs otherwise."""
    if not cells or min(west for one in cells for _, west in one.corners) < 180.0:
        return tuple(cells)
    return tuple(
        one._replace(corners=tuple((south, west - 360.0) for south, west in one.corners))
        for one in cells
    )


class _Cells(NamedTuple):
    keys_S: np.ndarray
    """A whole number or name of the cell of each speaker."""
    corners: Callable[[int], tuple[tuple[float, float], ...]]
    """Of the cell of one speaker."""


def _shown(places: SpeakerPlaces, cells: _Cells, min_speakers: int) -> list[MapCell]:
    _, firsts, rows_S, counts = np.unique(
        cells.keys_S, return_index=True, return_inverse=True, return_counts=True
    )
    errors = np.bincount(rows_S, places.errors_S)
    words = np.bincount(rows_S, places.words_S)
    return [
        MapCell(cells.corners(int(firsts[k])), int(counts[k]), int(words[k]), int(errors[k]))
        for k in np.flatnonzero(counts >= min_speakers)
    ]


def _squares(places: SpeakerPlaces) -> Iterator[_Cells]:
    """Squares in degrees, coarse to fine."""
    for step in STEPS:
        grid = Grid.around(places, step=step)
        cells_SA = grid.cells(places.latitude_S, places.longitude_S)

        def corners(row: int, grid: Grid = grid, cells_SA: np.ndarray = cells_SA) -> tuple:
            column, line = cells_SA[row].tolist()
            west, south = grid.seam + column * grid.step, line * grid.step
            east, north = west + grid.step, south + grid.step
            return ((south, west), (south, east), (north, east), (north, west))

        yield _Cells(cells_SA[:, 0] * 100_000 + cells_SA[:, 1], corners)


def _hexagons(places: SpeakerPlaces) -> Iterator[_Cells]:
    """Hexagons of h3, coarse to fine."""
    try:
        import h3
    except ImportError:
        raise MissingDependencyError(
            "A map of hexagons needs h3, which is not installed.",
            hint="pip install h3, or take shape='square'.",
        ) from None
    seam = Grid.around(places).seam
    for resolution in range(_FINEST_HEXAGON + 1):
        names = [
            h3.latlng_to_cell(latitude, longitude, resolution)
            for latitude, longitude in zip(places.latitude_S, places.longitude_S, strict=True)
        ]

        def corners(row: int, names: list[str] = names) -> tuple:
            around = np.array(h3.cell_to_boundary(names[row]))
            around[:, 1] = np.unwrap(around[:, 1], period=360.0)
            around[:, 1] -= 360.0 * np.floor((around[:, 1].mean() - seam) / 360.0)
            return tuple((float(latitude), float(longitude)) for latitude, longitude in around)

        yield _Cells(np.array(names), corners)
