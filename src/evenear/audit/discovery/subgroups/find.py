# SPDX-License-Identifier: Apache-2.0
"""Find the conjunctions of attributes (age × gender × device …) that a recognizer fails.

Who is looked at one attribute at a time may be missed: women and teens may each be served well, and
teenage women badly. So conjunctions are searched (see `search` for how, and for the methods
of the literature behind the same interface). What nearly repeats a better finding is left out, and
so is what would not stand without the speech of better findings.

With many conjunctions some are bad by chance. The whole search is repeated on results dealt out to
the speakers at random, and each subgroup's p-value says how often the best find of such a search
is as good. Where attributes vary within a speaker, speakers cannot be dealt out; then what each
speaker erred more or less than average changes its sign at random.

Legend: C cells, R random deals, S speakers.

Source: see `search`; P. Westfall and S. Young, "Resampling-Based Multiple Testing", 1993.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from evenear.audit.discovery.rules import CohortName, Rule, extreme_p_value, overdispersion
from evenear.audit.discovery.subgroups.conditions import (
    Cells,
    Condition,
    SearchColumn,
    assign_conditions,
    search_cells,
    search_columns,
)
from evenear.audit.discovery.subgroups.search import (
    Found,
    Outcome,
    SubgroupSettings,
    poisson_score,
    search_subgroups,
)
from evenear.audit.tables.cohorts import MAX_NUMBERS, Cohorts
from evenear.audit.tables.table import Table
from evenear.config import config
from evenear.errors import CohortError
from evenear.seeding import rng_for

__all__ = ["Subgroup", "Subgroups", "find_subgroups"]

_EVERYONE_ELSE = "everyone else"

_NOT_WHY = (
    "A subgroup says for whom errors are more frequent, not why; attributes that the table lacks "
    "may lie behind it."
)


@config
class Subgroup:
    """Speech that meets all of some conditions, as the discovery speakers saw it."""

    attribute: str
    conditions: tuple[Condition, ...]
    speakers: int
    words: int
    errors: int
    gap: float | None
    """(WER - WER of everyone else) / WER of everyone else, among discovery speakers."""
    score: float
    p_adjusted: float | None
    """Of the whole search, among discovery speakers."""

    @property
    def value(self) -> str:
        """The conditions in words."""
        return " and ".join(one.text for one in self.conditions)


@config
class Subgroups(Rule):
    """Subgroups, the best find first."""

    subgroups: tuple[Subgroup, ...]
    columns: tuple[str, ...]
    """The attributes that were searched."""
    how: str
    num_speakers: int
    left_out: tuple[str, ...] = ()
    """Attributes that were not searched: each of their kinds has too few speakers."""

    @property
    def found_by(self) -> Literal["subgroups"]:
        """Conjunctions of attributes."""
        return "subgroups"

    @property
    def summary(self) -> str:
        """One sentence: what was searched, and what came of it."""
        searched = (
            f"{self.how} over {', '.join(self.columns)} of {self.num_speakers:,} discovery speakers"
        )
        if self.left_out:
            left_out = ", ".join(self.left_out)
            searched += f" (not over {left_out}, whose kinds have too few speakers each)"
        if not self.subgroups:
            return f"{searched} found no subgroup with enough speakers and more errors."
        best = self.subgroups[0]
        said = "" if best.p_adjusted is None else f" (p = {best.p_adjusted:.2g} for the search)"
        return f"{searched} found first: {best.value}{said}."

    @property
    def warnings(self) -> tuple[str, ...]:
        """That a subgroup is not a cause."""
        return (_NOT_WHY,) if self.subgroups else ()

    def assign(self, table: Table) -> Cohorts:
        """For each subgroup, who or what belongs to it; unknown where an attribute is unknown.

        Raises:
            TableError: The table lacks an attribute that the subgroups name.
        """
        for one in self.subgroups:
            for condition in one.conditions:
                table.require_attribute(condition.column.name)
        return Cohorts(
            tuple(
                assign_conditions(
                    table,
                    one.conditions,
                    (one.attribute, one.value, _EVERYONE_ELSE),
                    self.found_by,
                )
                for one in self.subgroups
            )
        )

    def describe(self) -> dict[CohortName, str]:
        """One line in words for each subgroup."""
        return {
            CohortName(one.attribute, one.value): "everyone with "
            + " and ".join(condition.text for condition in one.conditions)
            for one in self.subgroups
        }


def find_subgroups(
    table: Table,
    attributes: Sequence[str] | None = None,
    settings: SubgroupSettings | None = None,
    *,
    seed: int = 0,
) -> Subgroups:
    """Find the subgroups that a recognizer serves worst.

    Args:
        table: Discovery speakers.
        attributes: What to search; every attribute with a few kinds, or of numbers, if None.
        settings: How to search and what to keep.
        seed: Decides the random deals (and starts of `scan`).

    Raises:
        TableError: There is no such attribute.
        CohortError: There is nothing to search.
    """
    settings = settings or SubgroupSettings()
    columns = search_columns(table, attributes, min_speakers=settings.min_speakers)
    cells = search_cells(table, columns)
    if cells.errors_C.sum() == 0:
        raise CohortError(
            f"Searching subgroups needs speech with errors; {table.num_utterances:,} utterances "
            "have none.",
            hint="Check the columns of references and hypotheses.",
        )
    outcome = Outcome(cells.errors_C, cells.words_C)
    found = search_subgroups(cells, outcome, settings, rng_for(seed, "subgroups"))
    chosen = _choose(cells, found, settings)
    null = [
        max((one.score for one in search_subgroups(cells, dealt, settings, rng)), default=0.0)
        for dealt, rng in _deals(cells, settings.num_permutations if chosen else 0, seed)
    ]
    method = {"beam": "A beam search", "scan": "A Poisson scan", "single": "A search"}
    return Subgroups(
        subgroups=tuple(
            _subgroup(cells, one, f"subgroup {number}", np.array(null))
            for number, one in enumerate(chosen, start=1)
        ),
        columns=tuple(one.name for one in cells.columns),
        how=method[settings.method],
        num_speakers=len(np.unique(cells.speakers_C)),
        left_out=_left_out(table, columns) if attributes is None else (),
    )


def _left_out(table: Table, columns: Sequence[SearchColumn]) -> tuple[str, ...]:
    """Attributes of many kinds none of which has enough speakers."""
    searched = {one.name for one in columns}
    rest = [name for name in table.attributes if name not in searched]
    rest = [name for name in rest if not table.frame.schema[name].is_nested()]
    return tuple(name for name in rest if table.frame[name].n_unique() > MAX_NUMBERS)


def _deals(cells: Cells, number: int, seed: int) -> Iterator[tuple[Outcome, np.random.Generator]]:
    """Worlds in which who one is does not matter, each with a generator for its search."""
    for deal in range(number):
        rng = rng_for(seed, "subgroup deals", deal)
        if cells.is_by_speaker:
            order_C = rng.permutation(len(cells.errors_C))
            yield Outcome(cells.errors_C[order_C], cells.words_C[order_C]), rng
        else:
            expected_C = cells.words_C * (cells.errors_C.sum() / cells.words_C.sum())
            signs_S = rng.choice([-1.0, 1.0], int(cells.speakers_C.max()) + 1)
            excess_C = (cells.errors_C - expected_C) * signs_S[cells.speakers_C]
            yield Outcome(np.maximum(expected_C + excess_C, 0.0), cells.words_C), rng


def _members(cells: Cells, conditions: Sequence[Condition]) -> np.ndarray:
    return np.logical_and.reduce([cells.members(one) for one in conditions])


def _choose(cells: Cells, found: Sequence[Found], settings: SubgroupSettings) -> list[Found]:
    """The best finds, skipping those that repeat a better one or live on its errors."""
    num_speakers = int(cells.speakers_C.max()) + 1
    errors_S = np.bincount(cells.speakers_C, cells.errors_C, num_speakers)
    words_S = np.bincount(cells.speakers_C, cells.words_C, num_speakers)
    rate, dispersion = errors_S.sum() / words_S.sum(), overdispersion(errors_S, words_S)
    chosen: list[Found] = []
    taken: list[np.ndarray] = []
    for one in found:
        if len(chosen) == settings.num_subgroups:
            break
        members_C = _members(cells, one.conditions)
        shared = (
            cells.words_C[members_C & other].sum() / cells.words_C[members_C | other].sum()
            for other in taken
        )
        new_C = members_C & ~np.logical_or.reduce([np.zeros_like(members_C), *taken])
        own = poisson_score(cells.errors_C[new_C].sum(), rate * cells.words_C[new_C].sum())
        is_new = own / dispersion >= settings.margin
        if is_new and all(overlap <= settings.max_overlap for overlap in shared):
            chosen.append(one)
            taken.append(members_C)
    return chosen


def _subgroup(cells: Cells, found: Found, attribute: str, null_R: np.ndarray) -> Subgroup:
    members_C = _members(cells, found.conditions)
    errors, words = cells.errors_C[members_C].sum(), cells.words_C[members_C].sum()
    rest_errors, rest_words = cells.errors_C.sum() - errors, cells.words_C.sum() - words
    has_rest = rest_errors > 0 and rest_words > 0
    return Subgroup(
        attribute=attribute,
        conditions=found.conditions,
        speakers=len(np.unique(cells.speakers_C[members_C])),
        words=int(words),
        errors=int(errors),
        gap=float(errors / words / (rest_errors / rest_words) - 1.0) if has_rest else None,
        score=found.score,
        p_adjusted=extreme_p_value(found.score, null_R) if len(null_R) else None,
    )
