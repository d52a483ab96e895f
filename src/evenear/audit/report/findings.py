# SPDX-License-Identifier: Apache-2.0
"""What a search for cohorts hands to the report: words for each cohort, and what to draw.

A `Finding` belongs to one attribute of an audit, such as the regions of a map or the clusters of
voices. Its numbers stand in `Gaps` like those of any other attribute; here is what they cannot say:
how it was found, what each cohort is in words, where it lies, what else was tried, and which
warning must stand beside it.

Maps carry no people and no points of people: only outlines, of places that enough of them share.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Candidate", "Cell", "Dot", "Finding", "Outline", "Shape", "is_named_by_number"]


Outline = tuple[tuple[float, float], ...]
"""Corners of a closed outline: (longitude, latitude) in degrees."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Where the people of a cohort live."""

    value: str
    outlines: tuple[Outline, ...]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A small place that several speakers share, whichever cohort they are in."""

    outline: Outline
    speakers: int
    wer: float


@dataclass(frozen=True, kw_only=True)
class Dot:
    """One speaker in the plane of voices, without a name."""

    x: float
    y: float
    value: str


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A way of dividing speakers that did well in a search among the discovery speakers."""

    name: str
    attribute: str | None
    """The attribute that it became; None if it was not kept."""
    speakers: int
    """Discovery speakers on its worse side."""
    gap: float | None
    p_adjusted: float | None
    """Adjusted for all that were tried, among discovery speakers."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """How the cohorts of one attribute were found, and what to show of them."""

    attribute: str
    kind: str
    """What searched: geography, census, voice, subgroups."""
    summary: str
    """How it searched, in a sentence or two."""
    descriptions: Mapping[str, str] = field(default_factory=dict)
    """Each cohort in words."""
    notes: tuple[str, ...] = ()
    """Warnings that must stand beside the numbers."""
    shapes: tuple[Shape, ...] = ()
    cells: tuple[Cell, ...] = ()
    """Error rates all over the map, to be drawn behind the shapes."""
    dots: tuple[Dot, ...] = ()
    candidates: tuple[Candidate, ...] = ()


def is_named_by_number(kind: str) -> bool:
    """Whether a search gives names such as region 1; the names of other searches say it all."""
    return kind in ("geography", "voice")
