# SPDX-License-Identifier: Apache-2.0
"""Search for cohorts by name, and hand over what was found, ready to be measured and drawn.

    found = discover(table, ["geography", "census"], settings)
    report = audit(found.table, found.cohorts, settings, findings=found.findings)

Searches look at discovery speakers only. `audit` splits the same table by the same seed, so its
numbers come from the speakers that no search has seen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from evenear.audit.discovery.census.partitions import CensusPartitions, find_census_partitions
from evenear.audit.discovery.geography.mapcells import MapCell, map_cells
from evenear.audit.discovery.geography.regions import (
    Rectangle,
    Regions,
    find_hotspots,
    find_regions,
)
from evenear.audit.discovery.rules import Rule
from evenear.audit.discovery.subgroups.find import Subgroups, find_subgroups
from evenear.audit.discovery.voice.embeddings import with_embeddings
from evenear.audit.discovery.voice.voices import Voices, find_voices
from evenear.audit.report.auditing import AuditSettings
from evenear.audit.report.findings import Candidate, Cell, Dot, Finding, Shape
from evenear.audit.tables.cohorts import Cohorts
from evenear.audit.tables.splits import Split, split_speakers
from evenear.audit.tables.table import Table
from evenear.errors import CohortError, nearest_names

__all__ = ["SEARCHES", "Found", "discover"]


@dataclass(frozen=True)
class Found:
    """What searches brought: who belongs where, and what there is to say about it."""

    table: Table
    """The table that was searched, with whatever was joined to it."""
    cohorts: Cohorts
    findings: tuple[Finding, ...]


def discover(
    table: Table,
    searches: Sequence[str],
    settings: AuditSettings,
    *,
    embeddings: str | Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> Found:
    """Search among the discovery speakers; say where everybody belongs.

    Args:
        table: Results of a recognizer, all speakers.
        searches: Names in `SEARCHES`.
        settings: Those of the audit: its confirm_fraction and seed divide the speakers.
        embeddings: A file of voices or a folder of sound, for "voice"; None if the table has them.
        progress: Called with the number of sound files that were heard.

    Raises:
        CohortError: A search is unknown, lacks what it needs, or nobody is left to confirm.
        TableError: The embeddings cannot be read, or are of nobody in the table.
    """
    for name in searches:
        if name not in SEARCHES:
            raise CohortError(
                f"There is no search called {name!r}.", hint=nearest_names(name, SEARCHES)
            )
    if embeddings is not None:
        table = with_embeddings(table, embeddings, progress=progress)
    split = split_speakers(table, confirm_fraction=settings.confirm_fraction, seed=settings.seed)
    cohorts, findings = Cohorts(), []
    for name in dict.fromkeys(searches):
        for rule in SEARCHES[name](split.discover, settings.seed):
            cohorts += rule.assign(table)
            findings.extend(_findings(rule, split, settings))
    return Found(table, cohorts, tuple(findings))


def _geography(table: Table, seed: int) -> list[Rule]:
    return [find_regions(table, seed=seed), find_hotspots(table, seed=seed)]


def _census(table: Table, seed: int) -> list[Rule]:
    return [find_census_partitions(table, seed=seed)]


def _voice(table: Table, seed: int) -> list[Rule]:
    return [find_voices(table, seed=seed)]


def _subgroups(table: Table, seed: int) -> list[Rule]:
    return [find_subgroups(table, seed=seed)]


SEARCHES: dict[str, Callable[[Table, int], list[Rule]]] = {
    "geography": _geography,
    "census": _census,
    "voice": _voice,
    "subgroups": _subgroups,
}
"""Searches by the names that the command line knows."""


def _findings(rule: Rule, split: Split, settings: AuditSettings) -> list[Finding]:
    """One finding for each attribute of a rule; one that says so if it has none."""
    described = list(rule.describe().items())
    if not described:
        return [Finding(attribute=rule.found_by, kind=rule.found_by, summary=rule.summary)]
    found = []
    for attribute, items in groupby(described, key=lambda item: item[0].attribute):
        finding = Finding(
            attribute=attribute,
            kind=rule.found_by,
            summary=rule.summary,
            descriptions={name.value: text for name, text in items},
            notes=rule.warnings,
        )
        found.append(_drawn(finding, rule, split, settings))
    return [replace(found[0], candidates=_candidates(rule)), *found[1:]]


def _drawn(finding: Finding, rule: Rule, split: Split, settings: AuditSettings) -> Finding:
    """The finding with what a page draws of this kind of rule."""
    if isinstance(rule, Regions):
        cells = map_cells(split.confirm, min_speakers=settings.min_speakers)
        shapes = tuple(_shape(rectangle) for rectangle in rule.rectangles())
        return replace(finding, shapes=shapes, cells=tuple(_cell(one) for one in cells))
    if isinstance(rule, Voices):
        points = rule.project(split.confirm)
        dots = [Dot(x=x, y=y, value=value) for x, y, value in points.iter_rows()]
        known = finding.descriptions
        return replace(finding, dots=tuple(one for one in dots if one.value in known))
    return finding


def _candidates(rule: Rule) -> tuple[Candidate, ...]:
    """What a search of divisions ranked highest."""
    if isinstance(rule, CensusPartitions):
        ranked = rule.partitions
    elif isinstance(rule, Subgroups):
        ranked = rule.subgroups
    else:
        return ()
    return tuple(
        Candidate(
            name=one.value,
            attribute=one.attribute,
            speakers=one.speakers,
            gap=one.gap,
            p_adjusted=one.p_adjusted,
        )
        for one in ranked
    )


def _shape(box: Rectangle) -> Shape:
    corners = (
        (box.west, box.south),
        (box.east, box.south),
        (box.east, box.north),
        (box.west, box.north),
    )
    return Shape(value=box.value, outlines=(corners,))


def _cell(cell: MapCell) -> Cell:
    outline = tuple((longitude, latitude) for latitude, longitude in cell.corners)
    return Cell(outline=outline, speakers=cell.speakers, wer=cell.wer)
