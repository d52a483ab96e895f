# SPDX-License-Identifier: Apache-2.0
import importlib.util
import sys

import numpy as np
import pytest

from audit.simulated import results, scattered
from evenear.audit.discovery.geography.mapcells import map_cells
from evenear.errors import CohortError, MissingDependencyError

SHAPES = [
    "square",
    pytest.param(
        "hexagon",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("h3") is None, reason="hexagons need the package h3"
        ),
    ),
]


def contains(corners, latitude, longitude):
    """Whether points are in a convex polygon, by the side of each of its edges."""
    corners = np.array(corners)
    longitude = corners[:, 1].min() + (longitude - corners[:, 1].min()) % 360.0
    sides = []
    for (south, west), (north, east) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        cross = (east - west) * (latitude - south) - (north - south) * (longitude - west)
        sides.append(cross)
    return (np.array(sides) >= -1e-9).all(axis=0) | (np.array(sides) <= 1e-9).all(axis=0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("west", [-120.0, 170.0])
def test_cells_hide_enough_speakers_and_count_them_all(shape, west):
    columns = scattered(600, west=west)
    table = results(columns)
    cells = map_cells(table, shape=shape, min_speakers=12)
    assert len(cells) > 5
    assert min(cell.speakers for cell in cells) >= 12
    assert sum(cell.speakers for cell in cells) >= 0.8 * 600
    for cell in cells[:10]:
        held = contains(cell.corners, columns["latitude"], columns["longitude"]).sum()
        # Borders of hexagons are arcs, and a flat polygon is nearly the same.
        assert held == pytest.approx(cell.speakers, abs=0 if shape == "square" else 2)
    assert all(0 < cell.wer < 1 for cell in cells)


@pytest.mark.parametrize("shape", SHAPES)
def test_cells_lie_side_by_side_across_the_date_line(shape):
    cells = map_cells(results(scattered(600, west=170.0)), shape=shape)
    longitudes = [longitude for cell in cells for _, longitude in cell.corners]
    assert max(longitudes) - min(longitudes) < 60.0


def test_more_speakers_allow_finer_cells():
    few, many = (map_cells(results(scattered(n)), min_speakers=10) for n in (200, 3000))

    def width(cells):
        return max(w for _, w in cells[0].corners) - min(w for _, w in cells[0].corners)

    assert width(many) < width(few)


def test_too_few_speakers_have_no_map():
    assert map_cells(results(scattered(5)), min_speakers=10) == ()


def test_a_cell_of_one_is_refused():
    with pytest.raises(CohortError, match="at least 2 speakers"):
        map_cells(results(scattered(50)), min_speakers=1)


def test_hexagons_without_h3_name_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "h3", None)
    with pytest.raises(MissingDependencyError, match="pip install h3"):
        map_cells(results(scattered(50)), shape="hexagon")
