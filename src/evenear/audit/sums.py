# SPDX-License-Identifier: Apache-2.0
"""What each speaker contributes to each cohort: the only thing statistics need of a table.

Millions of utterances become, for every cohort, one row per speaker: errors, words, utterances.
Everything after that costs as much as there are speakers, not utterances.

Legend: S speakers, in the order of `Table.speakers`.
"""

import math
import re
from dataclasses import dataclass

import numpy as np
import polars as pl

from evenear.audit.cohorts import Assignment, Cohorts
from evenear.audit.gap import Base
from evenear.audit.table import Table

__all__ = ["CohortSums", "KnownSums", "cohort_sums", "whole_sums"]


@dataclass(frozen=True, eq=False)
class KnownSums:
    """Sums of everyone whose value of one attribute is known."""

    attribute: str
    found_by: str
    by_speaker: bool
    """Whether each speaker has one value, so that speakers can be permuted."""
    errors_S: np.ndarray
    words_S: np.ndarray


@dataclass(frozen=True, eq=False)
class CohortSums:
    """Sums of one cohort."""

    value: str
    known: KnownSums
    speakers: int
    utterances: int
    errors_S: np.ndarray
    words_S: np.ndarray

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


def cohort_sums(table: Table, cohorts: Cohorts) -> list[CohortSums]:
    """Sums of every cohort, attribute by attribute; numbers and ranges ascend, names follow."""
    return [one for assignment in cohorts.assignments for one in _of_attribute(table, assignment)]


def whole_sums(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Errors and words of each speaker in the whole table."""
    speakers = table.speakers
    return _floats(speakers["errors"]), _floats(speakers["words"])


def _of_attribute(table: Table, assignment: Assignment) -> list[CohortSums]:
    speakers = table.speakers.with_row_index("speaker_row")
    by_speaker = assignment.key == "speaker"
    values = assignment.frame.drop_nulls("value")
    if by_speaker:
        cells = speakers.join(values, on="speaker", how="inner")
    else:
        cells = (
            table.frame.select("utterance_id", "speaker", "words", "errors")
            .join(values, on="utterance_id", how="inner")
            .group_by("speaker", "value")
            .agg(pl.len().cast(pl.Int64).alias("utterances"), pl.col("words", "errors").sum())
            .join(speakers.select("speaker", "speaker_row"), on="speaker", how="inner")
        )
    known = KnownSums(
        assignment.attribute,
        assignment.found_by,
        by_speaker,
        _spread(cells, "errors", speakers.height),
        _spread(cells, "words", speakers.height),
    )
    if assignment.reported is not None:
        cells = cells.filter(pl.col("value").is_in(list(assignment.reported)))
    found = []
    parts = cells.partition_by("value", as_dict=True)
    for (value,), cell in sorted(parts.items(), key=lambda part: _place(str(part[0][0]))):
        errors_S = _spread(cell, "errors", speakers.height)
        words_S = _spread(cell, "words", speakers.height)
        utterances = int(cell["utterances"].sum())
        found.append(CohortSums(str(value), known, cell.height, utterances, errors_S, words_S))
    return found


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
