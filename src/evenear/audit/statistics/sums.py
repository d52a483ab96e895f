# SPDX-License-Identifier: Apache-2.0
"""What each speaker contributes to each cohort: the only thing statistics need of a table.

Millions of utterances become, for every cohort, one row per speaker: errors, words, utterances.
Everything after that costs as much as there are speakers, not utterances. Utterances without
reference words are in no sum; they and what was recognized in them are counted beside.

Legend: S speakers, in the order of `Table.speakers`.
"""

import math
import re
from dataclasses import dataclass

import numpy as np
import polars as pl

from evenear.audit.statistics.results import Base
from evenear.audit.tables.cohorts import Assignment, Cohorts
from evenear.audit.tables.table import Table

__all__ = ["MIXED_SPEAKERS", "CohortSums", "KnownSums", "cohort_sums", "whole_sums"]

MIXED_SPEAKERS = 0.5
"""Of an attribute that changes within more of its speakers than this, speech is more telling than
speakers are."""


@dataclass(frozen=True, eq=False)
class KnownSums:
    """Sums of everyone whose value of one attribute is known."""

    attribute: str
    found_by: str
    by_speaker: bool
    """Whether most speakers have one value, so that speakers can be permuted."""
    errors_S: np.ndarray
    words_S: np.ndarray
    utterances_S: np.ndarray

    @property
    def members(self) -> np.ndarray:
        """Who is among them, as booleans."""
        return self.utterances_S > 0


@dataclass(frozen=True, eq=False)
class CohortSums:
    """Sums of one cohort."""

    value: str
    known: KnownSums
    speakers: int
    utterances: int
    errors_S: np.ndarray
    words_S: np.ndarray
    members: np.ndarray
    """Who is in the cohort with any speech, as booleans."""
    only_S: np.ndarray
    """Who is in it with all speech whose value is known, as booleans."""
    kinds: tuple[int | None, int | None, int | None] = (None, None, None)
    """Insertions, deletions and substitutions; None if the table does not tell them apart."""
    silent_utterances: int = 0
    """Utterances of the cohort whose reference has no words."""
    silent_errors: int = 0
    """Words that were recognized in them."""

    @property
    def attribute(self) -> str:
        """The attribute that this cohort shares a value of."""
        return self.known.attribute

    @property
    def name(self) -> tuple[str, str]:
        """Attribute and value."""
        return self.attribute, self.value

    @property
    def words(self) -> int:
        """Reference words of the cohort."""
        return int(self.words_S.sum())

    @property
    def errors(self) -> int:
        """Word errors of the cohort."""
        return int(self.errors_S.sum())

    @property
    def own(self) -> tuple[np.ndarray, np.ndarray]:
        """Each speaker's errors and words in the cohort."""
        return self.errors_S, self.words_S

    @property
    def wer(self) -> float | None:
        """Pooled word error rate of the cohort."""
        return self.errors / self.words if self.words else None

    def base(self, to: Base) -> tuple[np.ndarray, np.ndarray]:
        """Each speaker's errors and words in what the cohort is compared with."""
        return self.rest if to == "rest" else (self.known.errors_S, self.known.words_S)

    def base_wer(self, to: Base) -> float | None:
        """Pooled word error rate of what the cohort is compared with."""
        errors_S, words_S = self.base(to)
        words = words_S.sum()
        return float(errors_S.sum() / words) if words else None

    def gap(self, to: Base) -> float | None:
        """(WER - WER of the base) / WER of the base; None where there is nothing to divide by."""
        wer, base_wer = self.wer, self.base_wer(to)
        return None if wer is None or not base_wer else wer / base_wer - 1.0

    def is_large(self, min_speakers: int, min_words: int) -> bool:
        """Whether the cohort has so many speakers and words, and the rest too, if there is one.

        A small rest is no better known than a small cohort, and is often one cohort.
        """
        if self.speakers < min_speakers or self.words < min_words:
            return False
        words_S = self.rest[1]
        speakers, words = int((words_S > 0).sum()), int(words_S.sum())
        return words == 0 or (speakers >= min_speakers and words >= min_words)

    @property
    def rest(self) -> tuple[np.ndarray, np.ndarray]:
        """Each speaker's errors and words outside the cohort, where the value is known."""
        return self.known.errors_S - self.errors_S, self.known.words_S - self.words_S

    @property
    def rest_members(self) -> np.ndarray:
        """Who has speech in the rest, as booleans."""
        return self.known.members & ~self.only_S


def cohort_sums(table: Table, cohorts: Cohorts) -> list[CohortSums]:
    """Sums of every cohort, attribute by attribute; numbers and ranges ascend, names follow."""
    counts: dict[str, pl.DataFrame] = {"utterance_id": _counts(table)}
    counts["speaker"] = (
        counts["utterance_id"].group_by("speaker").agg(pl.exclude("utterance_id").sum())
    )
    speakers = table.speakers.select("speaker").with_row_index("speaker_row")
    return [
        one
        for assignment in cohorts.assignments
        for one in _of_attribute(counts[assignment.key], speakers, assignment)
    ]


def whole_sums(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Errors and words of each speaker in the whole table."""
    speakers = table.speakers
    return _floats(speakers["errors"]), _floats(speakers["words"])


_KINDS = ("insertions", "deletions", "substitutions")


def _counts(table: Table) -> pl.DataFrame:
    """What each utterance adds to a cohort; those without words add to counts of their own."""
    has_words = (pl.col("words") > 0).fill_null(False)
    spoken = ("words", "errors", *_KINDS)
    absent = [name for name in _KINDS if name not in table.frame.columns]
    frame = table.frame.with_columns(pl.lit(None, dtype=pl.Int64).alias(name) for name in absent)
    return frame.select(
        "utterance_id",
        "speaker",
        has_words.cast(pl.Int64).alias("utterances"),
        *(pl.when(has_words).then(name).otherwise(0).alias(name) for name in spoken),
        (has_words & pl.any_horizontal(pl.col(_KINDS).is_null())).alias("unsplit"),
        (~has_words).cast(pl.Int64).alias("silent_utterances"),
        pl.when(has_words).then(0).otherwise("errors").alias("silent_errors"),
    )


def _of_attribute(
    counts: pl.DataFrame, speakers: pl.DataFrame, assignment: Assignment
) -> list[CohortSums]:
    values = assignment.frame.drop_nulls("value")
    cells = counts.join(values, on=assignment.key, how="inner")
    if assignment.key == "utterance_id":
        cells = cells.group_by("speaker", "value").agg(pl.exclude("utterance_id").sum())
    cells = cells.join(speakers, on="speaker", how="left")
    heard = cells.filter(pl.col("utterances") > 0)
    known = KnownSums(
        assignment.attribute,
        assignment.found_by,
        _is_of_speakers(heard),
        _spread(heard, "errors", speakers.height),
        _spread(heard, "words", speakers.height),
        _spread(heard, "utterances", speakers.height),
    )
    if assignment.reported is not None:
        cells = cells.filter(pl.col("value").is_in(list(assignment.reported)))
    parts = cells.partition_by("value", as_dict=True)
    return [
        _cohort(str(value), known, cell, speakers.height)
        for (value,), cell in sorted(parts.items(), key=lambda part: _place(str(part[0][0])))
    ]


def _is_of_speakers(cells: pl.DataFrame) -> bool:
    """Whether an attribute is one of people: most have one value."""
    values = cells.group_by("speaker").agg(pl.len().alias("values"))
    mixed = int((values["values"] > 1).sum())
    return mixed <= MIXED_SPEAKERS * values.height


def _cohort(value: str, known: KnownSums, cells: pl.DataFrame, num_speakers: int) -> CohortSums:
    heard = cells.filter(pl.col("utterances") > 0)
    is_split = not cells["unsplit"].sum()
    insertions, deletions, substitutions = (
        int(heard[kind].sum()) if is_split else None for kind in _KINDS
    )
    return CohortSums(
        value=value,
        known=known,
        speakers=heard.height,
        utterances=int(heard["utterances"].sum()),
        errors_S=_spread(heard, "errors", num_speakers),
        words_S=_spread(heard, "words", num_speakers),
        members=_spread(heard, "utterances", num_speakers) > 0,
        only_S=(_spread(heard, "utterances", num_speakers) == known.utterances_S)
        & (known.utterances_S > 0),
        kinds=(insertions, deletions, substitutions),
        silent_utterances=int(cells["silent_utterances"].sum()),
        silent_errors=int(cells["silent_errors"].sum()),
    )


def _place(value: str) -> tuple[float, str]:
    """Where a value stands: by its number if it begins with one, else by its name."""
    if value.startswith("below "):
        return -math.inf, value
    number = re.match(r"-?\d+(\.\d+)?", value)
    return (float(number[0]) if number else math.inf), value


def _spread(cells: pl.DataFrame, column: str, num_speakers: int) -> np.ndarray:
    return np.bincount(
        cells["speaker_row"].to_numpy(), weights=_floats(cells[column]), minlength=num_speakers
    )


def _floats(column: pl.Series) -> np.ndarray:
    return column.cast(pl.Float64).to_numpy()
