# SPDX-License-Identifier: Apache-2.0
"""What a search for cohorts hands to the report: words for each cohort, and what to draw.

A `Finding` belongs to one attribute of an audit, such as the regions of a map or the clusters of
voices. Its numbers stand in `Gaps` like those of any other attribute; here is what they cannot say:
how it was found, what each cohort is in words, where it lies, what else was tried, and which
warning must stand beside it.

Regions carry no people and no points of people: outlines only, of cohorts large enough to be shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Candidate", "Dot", "Finding", "Region"]


@dataclass(frozen=True, kw_only=True)
class Region:
    """Where a cohort lives: closed outlines of (longitude, latitude) in degrees."""

    value: str
    outlines: tuple[tuple[tuple[float, float], ...], ...]


@dataclass(frozen=True, kw_only=True)
class Dot:
    """One speaker in the plane of voices, without a name."""

    x: float
    y: float
    value: str


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A way of dividing speakers that was tried among the discovery speakers."""

    name: str
    speakers: int
    """Discovery speakers on its worse side."""
    gap: float | None
    p_adjusted: float | None
    """Adjusted for all candidates that were tried."""
    chosen: bool


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
    regions: tuple[Region, ...] = ()
    dots: tuple[Dot, ...] = ()
    candidates: tuple[Candidate, ...] = ()
