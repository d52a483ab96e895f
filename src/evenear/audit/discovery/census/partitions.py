# SPDX-License-Identifier: Apache-2.0
"""Find the ZIP codes whose speakers a recognizer fails, by what the US census says of them.

ZIP codes are divided in two, by one condition (more than half of the people are Hispanic) or by two
at once (… and median income below $58,194). Every such partition with enough speakers on both sides
is tried, and those with the surest, or the largest, gap are kept. The p-value of each pays for all
that were tried: results change places between ZIP codes, and the best partition of every such
shuffle is what a partition must beat.

The census describes places, not people. Whoever speaks from a ZIP code may have none of the
properties of its majority; a gap between ZIP codes is not a gap between groups of people. This
warning is part of every result.

Legend: C conditions, K partitions, U ZIP codes with speakers.

Source: P. Dheram et al., "Toward fairness in speech recognition: discovery and mitigation of
performance disparities", 2022, https://arxiv.org/abs/2207.11345 (binary partitions of ZIP codes by
majority attributes that maximize the WER gap).
Departs from the paper: pairs of conditions, thresholds that are quartiles of the US population,
p-values.
"""

import itertools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from pydantic import Field

from evenear.audit.discovery.census.zipcodes import ATTRIBUTION
from evenear.audit.discovery.census.zipconditions import (
    ZipCondition,
    census_conditions,
    zip_members,
)
from evenear.audit.discovery.rules import CohortName, Rule
from evenear.audit.discovery.screening import Screened, residuals, screen
from evenear.audit.tables.cohorts import Assignment, Cohorts
from evenear.audit.tables.table import Table
from evenear.config import config
from evenear.errors import CohortError
from evenear.seeding import rng_for

__all__ = [
    "ECOLOGICAL_WARNING",
    "CensusPartitions",
    "CensusSettings",
    "Partition",
    "find_census_partitions",
]

ECOLOGICAL_WARNING = (
    "The census describes places, not people: a gap between ZIP codes is not a gap between groups "
    "of people, and nobody's ethnicity, income, education or age may be read from a ZIP code."
)

_OTHERS = "other ZIP codes"
_NUM_RUNNERS_UP = 9


@config
class CensusSettings:
    """Which partitions are tried, and which are kept."""

    max_conditions: Literal[1, 2] = 2
    rank_by: Literal["evidence", "gap"] = "evidence"
    """The surest gap, or the largest as in the paper."""
    num_partitions: int = Field(default=3, ge=1)
    """How many are kept; those that are nearly alike count once."""
    min_speakers: int = Field(default=30, ge=2)
    """On each side."""
    min_words: int = Field(default=500, ge=1)
    """On each side."""
    min_zips: int = Field(default=10, ge=2)
    """On each side."""
    num_permutations: int = Field(default=199, ge=0)
    pair_margin: float = Field(default=2.0, ge=0)
    """A pair must be surer than each of its conditions alone by so many standard deviations."""
    max_overlap: float = Field(default=0.5, gt=0, le=1)
    """Partitions that share more than this of their speakers are nearly alike."""


@config
class Partition:
    """ZIP codes that meet all of some conditions, as the discovery speakers saw them."""

    attribute: str | None
    """None if it was tried but not kept."""
    conditions: tuple[ZipCondition, ...]
    speakers: int
    zips: int
    words: int
    errors: int
    gap: float
    """(WER - WER of the other ZIP codes) / WER of the other ZIP codes, among discovery speakers."""
    statistic: float
    p_adjusted: float | None
    """Among all partitions tried, among discovery speakers."""

    @property
    def value(self) -> str:
        """What these ZIP codes have in common, in words."""
        return "ZIP codes: " + " and ".join(one.text for one in self.conditions)


@config
class CensusPartitions(Rule):
    """Partitions of ZIP codes, the worst first."""

    partitions: tuple[Partition, ...]
    runners_up: tuple[Partition, ...]
    """The best of those that were tried and not kept."""
    num_tried: int
    num_speakers: int
    """Discovery speakers whose ZIP code the census knows."""
    num_zips: int

    @property
    def found_by(self) -> Literal["census"]:
        """ZIP codes and the census."""
        return "census"

    @property
    def summary(self) -> str:
        """One sentence: what was searched, and what came of it."""
        searched = (
            f"{self.num_tried:,} partitions of {self.num_zips:,} ZIP codes with "
            f"{self.num_speakers:,} discovery speakers were tried"
        )
        if not self.partitions:
            return f"{searched}; none had enough speakers on both sides and more errors."
        best = self.partitions[0]
        said = "" if best.p_adjusted is None else f" (max-T p = {best.p_adjusted:.2g} among them)"
        return f"{searched}; the worst served: {best.value}{said}."

    @property
    def warnings(self) -> tuple[str, ...]:
        """That places are not people, and where the data comes from."""
        return ECOLOGICAL_WARNING, ATTRIBUTION

    def assign(self, table: Table) -> Cohorts:
        """For each partition kept, who speaks from its ZIP codes, as far as the census knows."""
        zips = _speaker_zips(table)
        found = []
        for one in self.partitions:
            members = zip_members(one.conditions)
            holds = pl.all_horizontal(pl.exclude("speaker", "zip"))
            value = pl.when(holds).then(pl.lit(one.value)).when(~holds).then(pl.lit(_OTHERS))
            frame = zips.join(members, on="zip", how="inner", maintain_order="left")
            frame = frame.select("speaker", value.alias("value")).drop_nulls("value")
            name = _name(one)
            found.append(Assignment(name, frame, self.found_by, (one.value,)))
        return Cohorts(tuple(found))

    def describe(self) -> dict[CohortName, str]:
        """One line in words for each partition, with the warning."""
        return {
            CohortName(_name(one), one.value): "speakers in ZIP codes where "
            + " and ".join(condition.text for condition in one.conditions)
            + "; a property of the places, not of the speakers"
            for one in self.partitions
        }


def find_census_partitions(
    table: Table, settings: CensusSettings | None = None, *, seed: int = 0
) -> CensusPartitions:
    """Find the partitions of ZIP codes that a recognizer serves worst.

    Args:
        table: Discovery speakers, with zip.
        settings: Which partitions are tried and kept.
        seed: Decides the permutations.

    Raises:
        CohortError: The table has no ZIP codes, or none that the census knows.
    """
    settings = settings or CensusSettings()
    units = _units(table, census_conditions())
    candidates = _candidates(units, settings)
    members_KU = np.array([units.meets(one) for one in candidates]).reshape(-1, units.num_zips)
    rng = rng_for(seed, "census")
    values_U = residuals(units.errors_U, units.words_U)
    screened = screen(members_KU, values_U, rng, num_permutations=settings.num_permutations)
    chosen = _choose(units, candidates, screened, settings)
    next_best = [k for k in np.argsort(-screened.statistics_K) if k not in chosen][:_NUM_RUNNERS_UP]
    return CensusPartitions(
        partitions=tuple(
            _partition(units, candidates[k], f"census {number}", screened, k)
            for number, k in enumerate(chosen, start=1)
        ),
        runners_up=tuple(
            _partition(units, candidates[k], None, screened, int(k)) for k in next_best
        ),
        num_tried=len(candidates),
        num_speakers=int(units.speakers_U.sum()),
        num_zips=units.num_zips,
    )


def _speaker_zips(table: Table) -> pl.DataFrame:
    """The ZIP code of each speaker, where most of the speaker's words were said: speaker, zip.

    Raises:
        CohortError: The table has no ZIP codes.
    """
    if "zip" not in table.frame.columns:
        raise CohortError(
            "The census needs a column zip with US ZIP codes; this table has none.",
            hint="Add it, or name yours with columns={'zip': '…'}.",
        )
    return (
        table.frame.drop_nulls("zip")
        .group_by("speaker", "zip")
        .agg(pl.col("words").sum().alias("said"))
        .sort("speaker", "said", "zip", descending=[False, True, False])
        .unique("speaker", keep="first", maintain_order=True)
        .select("speaker", "zip")
    )


def _name(kept: Partition) -> str:
    assert kept.attribute is not None
    return kept.attribute


class _Units(NamedTuple):
    """ZIP codes with discovery speakers in them, and which conditions each meets."""

    meets_CU: np.ndarray
    rows: dict[ZipCondition, int]
    speakers_U: np.ndarray
    errors_U: np.ndarray
    words_U: np.ndarray

    @property
    def num_zips(self) -> int:
        return len(self.speakers_U)

    def meets(self, conditions: Sequence[ZipCondition]) -> np.ndarray:
        return np.logical_and.reduce(self.meets_CU[[self.rows[one] for one in conditions]])

    def sides(self, is_member_U: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Speakers, words, errors and ZIP codes inside and outside."""
        counts_4U = np.stack([self.speakers_U, self.words_U, self.errors_U, np.ones(self.num_zips)])
        inside = counts_4U[:, is_member_U].sum(axis=1)
        return inside, counts_4U.sum(axis=1) - inside


def _units(table: Table, conditions: tuple[ZipCondition, ...]) -> _Units:
    zips = (
        _speaker_zips(table)
        .join(table.speakers.filter(pl.col("words") > 0), on="speaker", how="inner")
        .group_by("zip")
        .agg(pl.len().alias("speakers"), pl.col("errors", "words").sum())
        .join(zip_members(conditions).drop_nulls(), on="zip", how="inner")
        .sort("zip")
    )
    if zips.height == 0:
        raise CohortError(
            "Searching by census needs US ZIP codes; the census knows none of those in this table.",
            hint="Are these US ZIP codes, as five digits?",
        )
    counts = {
        name: zips[name].cast(pl.Float64).to_numpy() for name in ("speakers", "errors", "words")
    }
    meets_CU = zips.select(str(k) for k in range(len(conditions))).to_numpy().T.astype(bool)
    rows = {one: row for row, one in enumerate(conditions)}
    return _Units(meets_CU, rows, counts["speakers"], counts["errors"], counts["words"])


def _candidates(units: _Units, settings: CensusSettings) -> list[tuple[ZipCondition, ...]]:
    """Single conditions and pairs with enough of everything on both sides."""

    def is_large(conditions: tuple[ZipCondition, ...]) -> bool:
        least = np.array([settings.min_speakers, settings.min_words, 1, settings.min_zips])
        return all((side >= least).all() for side in units.sides(units.meets(conditions)))

    singles = [(one,) for one in units.rows if is_large((one,))]
    if settings.max_conditions == 1:
        return singles
    pairs = [
        (first, second)
        for (first,), (second,) in itertools.combinations(singles, 2)
        if first.column != second.column and is_large((first, second))
    ]
    return singles + pairs


def _gap(units: _Units, conditions: tuple[ZipCondition, ...]) -> float:
    inside, outside = units.sides(units.meets(conditions))
    return float(inside[2] / inside[1] / (outside[2] / outside[1]) - 1.0)


def _choose(
    units: _Units,
    candidates: Sequence[tuple[ZipCondition, ...]],
    screened: Screened,
    settings: CensusSettings,
) -> list[int]:
    """The worst served partitions, skipping those that are nearly one already chosen."""
    sureness = dict(zip(candidates, screened.statistics_K, strict=True))
    worse = [
        k
        for k, conditions in enumerate(candidates)
        if sureness[conditions] > 0.0
        and (
            len(conditions) == 1
            or sureness[conditions]
            > max(sureness[(one,)] for one in conditions) + settings.pair_margin
        )
    ]
    if settings.rank_by == "gap":
        worse.sort(key=lambda k: -_gap(units, candidates[k]))
    else:
        worse.sort(key=lambda k: -screened.statistics_K[k])
    chosen: list[int] = []
    for k in worse:
        if len(chosen) == settings.num_partitions:
            break
        shared = (_overlap(units, candidates[k], candidates[other]) for other in chosen)
        if all(one <= settings.max_overlap for one in shared):
            chosen.append(k)
    return chosen


def _overlap(
    units: _Units, first: tuple[ZipCondition, ...], second: tuple[ZipCondition, ...]
) -> float:
    """Share of the speakers of either that are in both."""
    in_first_U, in_second_U = units.meets(first), units.meets(second)
    both = units.speakers_U[in_first_U & in_second_U].sum()
    return float(both / max(units.speakers_U[in_first_U | in_second_U].sum(), 1.0))


def _partition(
    units: _Units,
    conditions: tuple[ZipCondition, ...],
    attribute: str | None,
    screened: Screened,
    k: int,
) -> Partition:
    speakers, words, errors, zips = (int(n) for n in units.sides(units.meets(conditions))[0])
    p_adjusted = float(screened.p_adjusted_K[k])
    return Partition(
        attribute=attribute,
        conditions=conditions,
        speakers=speakers,
        zips=zips,
        words=words,
        errors=errors,
        gap=_gap(units, conditions),
        statistic=float(screened.statistics_K[k]),
        p_adjusted=p_adjusted if np.isfinite(p_adjusted) else None,
    )
