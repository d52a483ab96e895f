# SPDX-License-Identifier: Apache-2.0
"""What an evaluation finds: a row for each utterance, and a corpus in numbers.

Each utterance gives a row with its words, its counts and what is known of its speaker: the table
that an audit reads. The whole gives a pooled word error rate with an interval that resamples
speakers (the same as that of an audit of these rows), the real-time factor, how long chunks took
and how long words waited to become final. Utterances without reference words are in no rate: what
was heard in them is counted beside it.

Legend: S speakers, K cohorts.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evenear.atomic import write_bytes
from evenear.errors import EvenearError
from evenear.metrics.intervals import Interval, cohort_wer_intervals, pooled_wer_interval
from evenear.metrics.latency import ComputeTime
from evenear.metrics.words import WordErrors, normalize, normalizer_version, word_errors
from evenear.units import Seconds

if TYPE_CHECKING:
    from evenear.data.batching.store import StoredUtterance
    from evenear.data.corpora.manifests import Utterance

__all__ = ["Evaluation", "Row", "cohort_intervals", "summarize", "write_rows"]


@dataclass(frozen=True)
class Row:
    """What was said, what was heard, and how long that took."""

    utterance_id: str
    speaker: str
    reference: str
    hypothesis: str
    words: WordErrors
    seconds: Seconds
    compute: ComputeTime
    attributes: dict[str, Any] = field(default_factory=dict)
    final_delays: tuple[Seconds, ...] = ()
    """For each word, how much sound was heard between its end and its becoming final."""

    @classmethod
    def of(
        cls,
        said: "Utterance | StoredUtterance",
        heard: str,
        compute: ComputeTime,
        *,
        normalizer: str,
        final_delays: tuple[Seconds, ...] = (),
    ) -> "Row":
        """What was said beside what was heard, both normalized, with the errors counted.

        Args:
            said: The utterance, as its corpus says it.
            heard: What the recognizer wrote.
            compute: How long the sound was, and how long hearing it took.
            normalizer: How texts are made comparable: a name in `metrics.words.NORMALIZERS`.
            final_delays: As the row has them.
        """
        reference, hypothesis = normalize(said.text, normalizer), normalize(heard, normalizer)
        return cls(
            utterance_id=said.utterance_id,
            speaker=said.speaker,
            reference=reference,
            hypothesis=hypothesis,
            words=word_errors(reference, hypothesis),
            seconds=compute.heard_seconds,
            compute=compute,
            attributes=dict(said.attributes),
            final_delays=final_delays,
        )

    @property
    def characters(self) -> WordErrors:
        """Errors of characters, without spaces and apostrophes."""
        said, heard = (normalize(text, "characters") for text in (self.reference, self.hypothesis))
        return word_errors(said, heard)

    def to_dict(self) -> dict[str, Any]:
        """The row of the results table.

        What the corpus says stands beside what was measured, never in its place: an attribute with
        the name of a column becomes `corpus_NAME`.
        """
        measured = {
            "utterance_id": self.utterance_id,
            "speaker": self.speaker,
            "reference": self.reference,
            "hypothesis": self.hypothesis,
            "errors": self.words.errors,
            "words": self.words.reference_words,
            "insertions": self.words.insertions,
            "deletions": self.words.deletions,
            "substitutions": self.words.substitutions,
            "seconds": round(self.seconds, 3),
        }
        own = {f"corpus_{n}" if n in measured else n: v for n, v in self.attributes.items()}
        return {**measured, **own}


@dataclass(frozen=True)
class Evaluation:
    """A corpus in numbers."""

    words: WordErrors
    """Of utterances with reference words."""
    interval: Interval
    compute: ComputeTime
    num_utterances: int
    num_speakers: int
    chunk_seconds: Seconds
    normalizer: str
    characters: WordErrors = field(default_factory=WordErrors)
    final_delays: tuple[Seconds, ...] = ()
    silent_utterances: int = 0
    """Utterances whose reference has no words."""
    silent_errors: int = 0
    """Words that were recognized in them."""

    @property
    def heard_words_per_minute(self) -> float | None:
        """Words that were heard, right or wrong, in a minute of sound; None without sound."""
        minutes = self.compute.heard_seconds / 60
        words = self.words.reference_words - self.words.deletions + self.words.insertions
        words += self.silent_errors
        return words / minutes if minutes > 0 else None

    def final_delay_seconds(self, percent: float) -> Seconds | None:
        """The delay that `percent` of words do not exceed; None without words."""
        return float(np.percentile(self.final_delays, percent)) if self.final_delays else None

    def to_dict(self) -> dict[str, Any]:
        """The numbers that `--json` prints."""
        return {
            "wer": self.words.rate,
            "low": self.interval.low,
            "high": self.interval.high,
            "errors": self.words.errors,
            "words": self.words.reference_words,
            "insertions": self.words.insertions,
            "deletions": self.words.deletions,
            "substitutions": self.words.substitutions,
            "silent_utterances": self.silent_utterances,
            "silent_errors": self.silent_errors,
            "utterances": self.num_utterances,
            "speakers": self.num_speakers,
            "seconds": round(self.compute.heard_seconds, 3),
            "rtf": self.compute.real_time_factor,
            "chunk_seconds": self.chunk_seconds,
            "chunk_p50_milliseconds": self.compute.percentile_milliseconds(50),
            "chunk_p95_milliseconds": self.compute.percentile_milliseconds(95),
            "chunk_max_milliseconds": self.compute.percentile_milliseconds(100),
            "final_delay_p50_seconds": self.final_delay_seconds(50),
            "final_delay_max_seconds": self.final_delay_seconds(100),
            "cer": self.characters.rate,
            "heard_words_per_minute": self.heard_words_per_minute,
            "normalizer": self.normalizer,
        }


def summarize(
    rows: list[Row], *, chunk_seconds: Seconds = 0.16, normalizer: str = "basic", seed: int = 0
) -> Evaluation:
    """Pool rows: counts, an interval that resamples speakers, computing time."""
    spoken = [row for row in rows if row.words.reference_words]
    silent = [row for row in rows if not row.words.reference_words]
    by_speaker: dict[str, WordErrors] = {}
    for row in spoken:
        by_speaker[row.speaker] = by_speaker.get(row.speaker, WordErrors()) + row.words
    in_order = [by_speaker[name] for name in sorted(by_speaker)]
    interval = pooled_wer_interval(
        [one.errors for one in in_order], [one.reference_words for one in in_order], seed=seed
    )
    return Evaluation(
        words=sum(in_order, WordErrors()),
        interval=interval,
        compute=ComputeTime.total(row.compute for row in rows),
        num_utterances=len(rows),
        num_speakers=len({row.speaker for row in rows}),
        chunk_seconds=chunk_seconds,
        normalizer=normalizer_version(normalizer),
        characters=sum((row.characters for row in spoken), WordErrors()),
        final_delays=tuple(delay for row in rows for delay in row.final_delays),
        silent_utterances=len(silent),
        silent_errors=sum(row.words.errors for row in silent),
    )


def cohort_intervals(cohorts: Sequence[Sequence[Row]], *, seed: int = 0) -> list[Interval]:
    """The rate of each cohort with its interval, as an audit of all these rows shows them.

    Args:
        cohorts: The rows of each; together, all rows whose cohort is known.
        seed: Decides the draws.
    """
    spoken = [[row for row in rows if row.words.reference_words] for rows in cohorts]
    places = {
        name: s for s, name in enumerate(sorted({row.speaker for rows in spoken for row in rows}))
    }
    errors_SK, words_SK = np.zeros((2, len(places), len(cohorts)))
    for k, rows in enumerate(spoken):
        for row in rows:
            errors_SK[places[row.speaker], k] += row.words.errors
            words_SK[places[row.speaker], k] += row.words.reference_words
    return cohort_wer_intervals(errors_SK, words_SK, seed=seed)


def write_rows(rows: Iterable[Row], path: Path) -> None:
    """Write the results table as JSON lines, whole or not at all.

    Raises:
        EvenearError: It cannot be written; what was there before is unharmed.
    """
    lines = "".join(json.dumps(row.to_dict(), ensure_ascii=False) + "\n" for row in rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, lines.encode())
    except OSError as error:
        raise EvenearError(
            f"{path} cannot be written: {error.strerror or error}.",
            hint="Free some space, or write it elsewhere.",
        ) from error
