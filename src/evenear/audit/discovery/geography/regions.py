# SPDX-License-Identifier: Apache-2.0
"""Find the regions where a recognizer errs more than elsewhere, from latitude and longitude alone.

Two searches, one kind of result. `find_regions` divides the whole map by a tree of cuts, each along
a meridian or a parallel (see `tree`). `find_hotspots` looks for single rectangles in which too much
goes wrong and leaves the rest alone (see `hotspots`); it sees smaller effects. Both look at the
discovery speakers only, and both end in `Regions`: boxes whose bounds are multiples of a coarse
step, each with at least `min_speakers` speakers in it.

A region shows where errors are more frequent, not why: accents, devices, ages and topics differ
between places too.

Legend: S speakers, A axes (longitude, latitude).

Source: V. A. Trinh et al., "Reducing geographic disparities in automatic speech recognition via
elastic weight consolidation", 2022, https://arxiv.org/abs/2207.07850.
"""

from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from evenear.audit.discovery.census.zipcodes import states_around, with_places_of_zips
from evenear.audit.discovery.geography.hotspots import HotspotSettings, find_rectangles
from evenear.audit.discovery.geography.places import Box, Grid, SpeakerPlaces, speaker_places
from evenear.audit.discovery.geography.tree import TreeSettings, grow_tree
from evenear.audit.discovery.rules import CohortName, Rule
from evenear.audit.tables.cohorts import Assignment, Cohorts
from evenear.audit.tables.table import Table
from evenear.config import config
from evenear.errors import CohortError
from evenear.seeding import rng_for

__all__ = ["ELSEWHERE", "Rectangle", "Region", "Regions", "find_hotspots", "find_regions"]

ELSEWHERE = "elsewhere"

_HIDDEN = 5
"""The drawn map ends where so many speakers live beyond its border, on each side."""

_NOT_WHY = (
    "A region says where errors are more frequent, not why: ages, accents, devices and topics "
    "differ between places too."
)


@config
class Region:
    """One box of the map, as the discovery speakers saw it."""

    value: str
    box: Box
    speakers: int
    """Discovery speakers in it."""
    p_value: float | None = None
    """Of the search that found it, among discovery speakers."""
    states: tuple[str, ...] = ()
    """US states that most of its inhabitants live in, if it is in the US."""


class Rectangle(NamedTuple):
    """A region to draw, in degrees."""

    value: str
    south: float
    north: float
    west: float
    east: float


@config
class Regions(Rule):
    """Boxes on a map. A place belongs to the first box that holds it."""

    attribute: str
    regions: tuple[Region, ...]
    grid: Grid
    extent: Box
    """What to draw: the bounds of the map, reached by many speakers on each side."""
    covers_all: bool
    """Whether the boxes divide the whole map; otherwise the rest is "elsewhere"."""
    how: str
    """The search and its criterion, in words."""
    num_speakers: int
    """Discovery speakers whose place was known."""
    least_speakers: int
    """How many it takes for one region and its outside."""

    @property
    def found_by(self) -> Literal["geography"]:
        """Longitude and latitude."""
        return "geography"

    @property
    def summary(self) -> str:
        """One sentence: what was searched, and what came of it."""
        searched = f"{self.how} over the places of {self.num_speakers:,} discovery speakers"
        number = len(self.regions)
        if self.num_speakers < self.least_speakers:
            return f"{searched} found no place: it takes at least {self.least_speakers:,} speakers."
        if self.covers_all and number < 2:
            return f"{searched} found no border that chance does not explain."
        if number == 0:
            return f"{searched} found no place worth confirming."
        if self.covers_all:
            return f"{searched} found {number} regions."
        return f"{searched} found {number} {'places' if number > 1 else 'place'} worth confirming."

    @property
    def warnings(self) -> tuple[str, ...]:
        """That a place is not a cause."""
        return (_NOT_WHY,) if self._has_cohorts else ()

    @property
    def _has_cohorts(self) -> bool:
        return len(self.regions) > (1 if self.covers_all else 0)

    def assign(self, table: Table) -> Cohorts:
        """The region of each speaker; speakers without a place are unknown."""
        if not self._has_cohorts:
            return Cohorts()
        places = speaker_places(with_places_of_zips(table))
        names = np.array([*(region.value for region in self.regions), ELSEWHERE], dtype=object)
        values = names[self._rows(places)]
        frame = pl.DataFrame(
            {"speaker": places.speakers, "value": pl.Series(values.tolist(), dtype=pl.String)}
        ).filter(pl.lit(not self.covers_all) | (pl.col("value") != ELSEWHERE))
        reported = tuple(region.value for region in self.regions)
        return Cohorts((Assignment(self.attribute, frame, self.found_by, reported),))

    def describe(self) -> dict[CohortName, str]:
        """One line in words for each region."""
        return {
            CohortName(self.attribute, region.value): region.box.words
            + (f" (mostly {', '.join(region.states)})" if region.states else "")
            for region in self.regions
        }

    def rectangles(self) -> tuple[Rectangle, ...]:
        """What to draw, in the order of `regions`: boxes cut off at the extent of the map.

        Degrees east run on past 180 where the map crosses it, so that east is never west of west.
        """
        whole = self._flat(self.extent, Rectangle("", -90.0, 90.0, 0.0, 360.0))
        start = self.grid.seam - (360.0 if self.grid.seam + whole.west >= 180.0 else 0.0)
        drawn = []
        for region in self.regions:
            flat = self._flat(region.box, whole)
            drawn.append(
                Rectangle(
                    region.value,
                    max(flat.south, whole.south),
                    min(flat.north, whole.north),
                    max(flat.west, whole.west) + start,
                    min(flat.east, whole.east) + start,
                )
            )
        return tuple(drawn)

    def _flat(self, box: Box, whole: "Rectangle") -> "Rectangle":
        """A box in degrees east of the seam, with the bounds of the whole where it is open."""

        def unroll(longitude: float) -> float:
            return round((longitude - self.grid.seam) % 360.0, 6)

        return Rectangle(
            "",
            whole.south if box.south is None else box.south,
            whole.north if box.north is None else box.north,
            whole.west if box.west is None else unroll(box.west),
            whole.east if box.east is None else unroll(box.east) or 360.0,
        )

    def _rows(self, places: SpeakerPlaces) -> np.ndarray:
        cells_SA = self.grid.cells(places.latitude_S, places.longitude_S)
        rows_S = np.full(len(cells_SA), len(self.regions))
        for row in reversed(range(len(self.regions))):
            rows_S[self.grid.contains(self.regions[row].box, cells_SA)] = row
        return rows_S


def find_regions(
    table: Table,
    settings: TreeSettings | None = None,
    *,
    step_degrees: float | None = None,
    seed: int = 0,
) -> Regions:
    """Divide the map into regions whose word error rates differ.

    Args:
        table: Discovery speakers, with latitude and longitude, or zip.
        settings: How the tree grows and when it stops.
        step_degrees: Every border is a multiple of this; about a hundredth of the map if None.
        seed: Decides the permutations.

    Raises:
        CohortError: There are no coordinates, or fewer than two different ones.
    """
    settings = settings or TreeSettings()
    places, grid, cells_SA = _prepare(table, step_degrees)
    rng = rng_for(seed, "geography tree")
    leaves = grow_tree(cells_SA, places.errors_S, places.words_S, settings, rng)
    rates = [_rate(places, leaf.members) for leaf in leaves]
    worst_first = np.argsort(rates, kind="stable")[::-1]
    found = [(grid.box(leaves[i].lows, leaves[i].highs), leaves[i]) for i in worst_first]
    return Regions(
        attribute="region",
        regions=tuple(
            Region(
                value=f"region {number:0{len(str(len(found)))}d}",
                box=box,
                speakers=len(leaf.members),
                p_value=leaf.p_value,
                states=states_around(
                    places.latitude_S[leaf.members], places.longitude_S[leaf.members]
                ),
            )
            for number, (box, leaf) in enumerate(found, start=1)
        ),
        grid=grid,
        extent=grid.extent(cells_SA, hidden=_HIDDEN),
        covers_all=True,
        how=f"A tree of cuts ({settings.criterion})",
        num_speakers=len(cells_SA),
        least_speakers=2 * settings.min_speakers,
    )


def find_hotspots(
    table: Table,
    settings: HotspotSettings | None = None,
    *,
    step_degrees: float | None = None,
    seed: int = 0,
) -> Regions:
    """Find rectangles on the map in which the recognizer errs too often.

    Args:
        table: Discovery speakers, with latitude and longitude, or zip.
        settings: How finely the map is scanned.
        step_degrees: Every border is a multiple of this; about a hundredth of the map if None.
        seed: Decides the permutations.

    Raises:
        CohortError: There are no coordinates, or fewer than two different ones.
    """
    settings = settings or HotspotSettings()
    places, grid, cells_SA = _prepare(table, step_degrees)
    rng = rng_for(seed, "geography scan")
    found = find_rectangles(cells_SA, places.errors_S, places.words_S, settings, rng)
    return Regions(
        attribute="hotspot",
        regions=tuple(
            Region(
                value=f"hotspot {number}",
                box=grid.box(spot.lows, spot.highs),
                speakers=len(spot.members),
                p_value=spot.p_value,
                states=states_around(
                    places.latitude_S[spot.members], places.longitude_S[spot.members]
                ),
            )
            for number, spot in enumerate(found, start=1)
        ),
        grid=grid,
        extent=grid.extent(cells_SA, hidden=_HIDDEN),
        covers_all=False,
        how="A scan of rectangles",
        num_speakers=len(cells_SA),
        least_speakers=2 * settings.min_speakers,
    )


def _prepare(table: Table, step_degrees: float | None) -> tuple[SpeakerPlaces, Grid, np.ndarray]:
    places = speaker_places(with_places_of_zips(table))
    if len(np.unique(np.stack([places.latitude_S, places.longitude_S]), axis=1).T) < 2:
        raise CohortError(
            f"Searching a map needs speakers in different places; {len(places.speakers)} speakers "
            "have a place, and they have at most one between them.",
            hint="Check the columns latitude and longitude.",
        )
    grid = Grid.around(places, step=step_degrees)
    return places, grid, grid.cells(places.latitude_S, places.longitude_S)


def _rate(places: SpeakerPlaces, members: np.ndarray) -> float:
    return float(places.errors_S[members].sum() / places.words_S[members].sum())
