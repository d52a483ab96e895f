# SPDX-License-Identifier: Apache-2.0
"""Where people live, for orientation behind a map: faint dots where United States ZIP codes are.

No outlines of countries come with the packages that an audit needs, but the places of all ZIP codes
do, and dots show the coast, the cities and the empty parts. Elsewhere in the world the map has
degrees only.
"""

from collections.abc import Sequence
from functools import cache

from evenear.audit.discovery.census.zipcodes import base_map
from evenear.errors import MissingDependencyError

__all__ = ["land_near"]

_CELLS_ACROSS = 110
_MARGIN_DEGREES = 5.0
_STEPS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0)


def land_near(places: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Dots (longitude, latitude) around some places; none outside the United States."""
    if not places:
        return ()
    xs, ys = [x for x, _ in places], [y for _, y in places]
    low_x, high_x = min(xs) - _MARGIN_DEGREES, max(xs) + _MARGIN_DEGREES
    low_y, high_y = min(ys) - _MARGIN_DEGREES, max(ys) + _MARGIN_DEGREES
    step = next((one for one in _STEPS if one * _CELLS_ACROSS >= high_x - low_x), _STEPS[-1])
    land = _land(step)
    return tuple((x, y) for x, y in land if low_x <= x <= high_x and low_y <= y <= high_y)


@cache
def _land(step: float) -> tuple[tuple[float, float], ...]:
    try:
        return tuple((float(x), float(y)) for y, x in base_map(step_degrees=step))
    except MissingDependencyError:
        return ()
