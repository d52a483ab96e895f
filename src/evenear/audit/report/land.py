# SPDX-License-Identifier: Apache-2.0
"""Where people live, for orientation behind a map: faint dots where United States ZIP codes are.

No outlines of countries come with the packages that an audit needs, but the places of all ZIP codes
do, and dots show the coast, the cities and the empty parts. Elsewhere in the world the map has
degrees only.
"""

from collections.abc import Sequence

from evenear.audit.zipcodes import base_map
from evenear.errors import MissingDependencyError

__all__ = ["land_near"]

_CELLS_ACROSS = 110
_MARGIN_DEGREES = 5.0
_FINEST_DEGREES = 0.05


def land_near(places: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """Dots (longitude, latitude) around some places; none outside the United States."""
    if not places:
        return ()
    xs, ys = [x for x, _ in places], [y for _, y in places]
    low_x, high_x = min(xs) - _MARGIN_DEGREES, max(xs) + _MARGIN_DEGREES
    low_y, high_y = min(ys) - _MARGIN_DEGREES, max(ys) + _MARGIN_DEGREES
    try:
        land = base_map(step_degrees=max((high_x - low_x) / _CELLS_ACROSS, _FINEST_DEGREES))
    except MissingDependencyError:
        return ()
    return tuple(
        (float(x), float(y)) for y, x in land if low_x <= x <= high_x and low_y <= y <= high_y
    )
