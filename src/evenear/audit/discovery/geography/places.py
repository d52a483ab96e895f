# SPDX-License-Identifier: Apache-2.0
"""Where speakers are, on a grid coarse enough to keep addresses private, and what to call it.

Longitudes are a circle. The seam, where the circle is cut open to make a flat map, lies in the
middle of the widest stretch without speakers, so that Fiji, or a region across the Bering Strait,
is not torn apart at 180 degrees. All bounds are multiples of one step, about a hundredth of the
map's width, and none lies on the seam.

Legend: S speakers, A axes (longitude, latitude).
"""

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
from pydantic import Field

from evenear.audit.tables.table import Table
from evenear.config import config
from evenear.errors import CohortError

__all__ = ["STEPS", "Box", "Grid", "SpeakerPlaces", "speaker_places"]

STEPS = (20.0, 10.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
_STEPS_ACROSS = 100


@config
class Box:
    """A rectangle on the globe, in degrees; None where it is open.

    South and west belong to it, north and east do not. East may be a smaller number than west:
    then it crosses 180 degrees.
    """

    south: float | None = Field(default=None, ge=-90, le=90)
    north: float | None = Field(default=None, ge=-90, le=90)
    west: float | None = Field(default=None, ge=-180, le=180)
    east: float | None = Field(default=None, ge=-180, le=180)

    @property
    def words(self) -> str:
        """The box in words: `30° N to 41.5° N, west of 100° W`."""
        latitude = _range(self.south, self.north, "S", "N", ("south of", "north of"))
        longitude = _range(self.west, self.east, "W", "E", ("west of", "east of"))
        return ", ".join(part for part in (latitude, longitude) if part) or "everywhere"


@dataclass(frozen=True, eq=False)
class SpeakerPlaces:
    """Speakers whose place is known, in alphabetical order, and what they contributed."""

    speakers: pl.Series
    latitude_S: np.ndarray
    longitude_S: np.ndarray
    errors_S: np.ndarray
    words_S: np.ndarray


@config
class Grid:
    """A flat map: where the globe is cut open, and the size of a cell, in degrees."""

    seam: float = -180.0
    step: float = Field(gt=0)

    @classmethod
    def around(cls, places: SpeakerPlaces, *, step: float | None = None) -> "Grid":
        """A grid for these speakers; the step is about a hundredth of their extent."""
        middle = _widest_gap(places.longitude_S)
        wide = float(np.ptp((places.longitude_S - middle) % 360.0))
        extent = max(wide, float(np.ptp(places.latitude_S)))
        if step is None:
            step = next((one for one in STEPS if one * _STEPS_ACROSS <= extent), STEPS[-1])
        seam = round(math.floor(middle / step) * step, 9)
        return cls(seam=(seam + 180.0) % 360.0 - 180.0, step=step)

    def cells(self, latitude_S: np.ndarray, longitude_S: np.ndarray) -> np.ndarray:
        """Whole numbers (S, A): column and row of each place."""
        unrolled_S = np.round((longitude_S - self.seam) % 360.0, 9) % 360.0
        columns_S = np.floor(unrolled_S / self.step + 1e-6)
        rows_S = np.floor(latitude_S / self.step + 1e-6)
        return np.stack([columns_S, rows_S], axis=1).astype(np.int64)

    def box(self, lows: tuple[int | None, int | None], highs: tuple[int | None, int | None]) -> Box:
        """The box with these bounds, given in cells."""
        return Box(
            west=self._longitude(lows[0]),
            east=self._longitude(highs[0]),
            south=self._latitude(lows[1]),
            north=self._latitude(highs[1]),
        )

    def contains(self, box: Box, cells_SA: np.ndarray) -> np.ndarray:
        """Which cells are in a box."""
        is_inside = np.ones(len(cells_SA), dtype=bool)
        west, east = (self._column(edge) for edge in (box.west, box.east))
        south, north = (
            None if edge is None else round(edge / self.step) for edge in (box.south, box.north)
        )
        for cells_S, low, high in ((cells_SA[:, 0], west, east), (cells_SA[:, 1], south, north)):
            if low is not None:
                is_inside &= cells_S >= low
            if high is not None:
                is_inside &= cells_S < high
        return is_inside

    def extent(self, cells_SA: np.ndarray, *, hidden: int) -> Box:
        """What to draw: bounds that at least `hidden` speakers reach, on each of the four sides."""
        ordered_SA = np.sort(cells_SA, axis=0)
        reach = min(hidden, len(cells_SA)) - 1
        low, high = ordered_SA[reach], ordered_SA[len(cells_SA) - 1 - reach]
        low, high = np.minimum(low, high), np.maximum(low, high) + 1
        return self.box((int(low[0]), int(low[1])), (int(high[0]), int(high[1])))

    def _longitude(self, column: int | None) -> float | None:
        if column is None:
            return None
        degrees = (self.seam + column * self.step + 180.0) % 360.0 - 180.0
        return _plain(degrees)

    def _latitude(self, row: int | None) -> float | None:
        return None if row is None else _plain(min(max(row * self.step, -90.0), 90.0))

    def _column(self, longitude: float | None) -> int | None:
        if longitude is None:
            return None
        return round(((longitude - self.seam) % 360.0) / self.step)


def speaker_places(table: Table) -> SpeakerPlaces:
    """The place of each speaker: where most of the speaker's words were said.

    Raises:
        CohortError: The table has no coordinates, or no two speakers with different ones.
    """
    if "latitude" not in table.frame.columns:
        raise CohortError(
            "Searching a map needs columns latitude and longitude, or zip; this table has neither.",
            hint="Add them, or name yours with columns={'latitude': '…', 'longitude': '…'}.",
        )
    where = (
        table.frame.drop_nulls(["latitude", "longitude"])
        .group_by("speaker", "latitude", "longitude")
        .agg(pl.col("words").sum().alias("said"))
        .sort("speaker", "said", "latitude", "longitude", descending=[False, True, False, False])
        .unique("speaker", keep="first", maintain_order=True)
        .join(table.speakers, on="speaker", how="inner", maintain_order="left")
        .filter(pl.col("words") > 0)
    )
    return SpeakerPlaces(
        where["speaker"],
        where["latitude"].to_numpy(),
        where["longitude"].to_numpy(),
        where["errors"].cast(pl.Float64).to_numpy(),
        where["words"].cast(pl.Float64).to_numpy(),
    )


def _widest_gap(longitude_S: np.ndarray) -> float:
    """The middle of the widest stretch of longitudes without speakers."""
    if len(longitude_S) == 0:
        return -180.0
    around = np.unique(longitude_S % 360.0)
    gaps = np.diff(np.append(around, around[0] + 360.0))
    widest = int(gaps.argmax())
    return float((around[widest] + gaps[widest] / 2.0) % 360.0)


def _plain(degrees: float) -> float:
    return round(degrees, 6) + 0.0


def _range(
    low: float | None, high: float | None, below: str, above: str, beyond: tuple[str, str]
) -> str:
    def name(degrees: float) -> str:
        side = "" if degrees == 0.0 else f" {below if degrees < 0 else above}"
        return f"{abs(degrees):g}°{side}"

    if low is not None and high is not None:
        return f"{name(low)} to {name(high)}"
    if high is not None:
        return f"{beyond[0]} {name(high)}"
    return f"{beyond[1]} {name(low)}" if low is not None else ""
