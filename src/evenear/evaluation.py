# SPDX-License-Identifier: Apache-2.0
"""How well and how fast a recognizer hears a corpus, streamed chunk by chunk as it would be live.

Each utterance gives a row with its words, its counts and what is known of its speaker: the table
that an audit reads. The whole gives a pooled word error rate with an interval that resamples
speakers, the real-time factor and the latency of chunks.

Legend: N audio samples.
"""

import functools
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from evenear.atomic import write_bytes
from evenear.audio import read_audio
from evenear.data.manifests import Utterance, load_cuts, utterance
from evenear.errors import EvenearError, ManifestError
from evenear.metrics.intervals import Interval, pooled_wer_interval
from evenear.metrics.latency import ComputeTime
from evenear.metrics.words import WordErrors, normalize, normalizer_version, word_errors
from evenear.seeding import rng_for
from evenear.streaming import Final, Recognizer
from evenear.units import SAMPLE_RATE, Seconds

__all__ = ["Evaluation", "Row", "load_utterances", "recognize", "summarize", "write_rows"]


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
    interval: Interval
    compute: ComputeTime
    num_utterances: int
    num_speakers: int
    chunk_seconds: Seconds
    normalizer: str

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
            "utterances": self.num_utterances,
            "speakers": self.num_speakers,
            "seconds": round(self.compute.heard_seconds, 3),
            "rtf": self.compute.real_time_factor,
            "chunk_seconds": self.chunk_seconds,
            "chunk_p50_milliseconds": self.compute.percentile_milliseconds(50),
            "chunk_p95_milliseconds": self.compute.percentile_milliseconds(95),
            "normalizer": self.normalizer,
        }


def load_utterances(manifest: Path, *, split: str | None = None) -> list[Utterance]:
    """The utterances of a manifest, or those of one split of it.

    Raises:
        ManifestError: There are none, two have the same id, or audio files are missing.
    """
    found = [utterance(cut) for cut in iter(load_cuts(manifest))]
    if split is not None:
        splits = sorted({str(u.attributes.get("split")) for u in found})
        found = [u for u in found if u.attributes.get("split") == split]
        if not found:
            raise ManifestError(
                f"{manifest} has no utterance in split {split!r}.",
                hint=f"It has: {', '.join(splits)}.",
            )
    _check(found, manifest)
    return found


def recognize(
    recognizer: Recognizer,
    utterances: Iterable[Utterance],
    *,
    chunk_seconds: Seconds = 0.16,
    normalizer: str = "basic",
) -> Iterator[Row]:
    """Stream each utterance through the recognizer and count its word errors."""
    chunk = max(1, round(chunk_seconds * SAMPLE_RATE))
    read = functools.lru_cache(maxsize=1)(read_audio)  # often the next is of the same file
    for u in utterances:
        samples_N = read(u.audio)
        if u.is_partial:
            first = round(u.start_seconds * SAMPLE_RATE)
            samples_N = samples_N[first : first + round(u.seconds * SAMPLE_RATE)]
        stream = recognizer.stream()
        texts, took = [], []
        for start in range(0, len(samples_N) + chunk, chunk):
            piece_N = samples_N[start : start + chunk]
            began = time.perf_counter()
            events = stream.accept(piece_N) if len(piece_N) else stream.finish()
            took.append(time.perf_counter() - began)
            texts += [event.text for event in events if isinstance(event, Final)]
            if not len(piece_N):
                break
        reference = normalize(u.text, normalizer)
        hypothesis = normalize(" ".join(texts), normalizer)
        seconds = len(samples_N) / SAMPLE_RATE
        yield Row(
            utterance_id=u.utterance_id,
            speaker=u.speaker,
            reference=reference,
            hypothesis=hypothesis,
            words=word_errors(reference, hypothesis),
            seconds=seconds,
            compute=ComputeTime(seconds, tuple(took)),
            attributes=dict(u.attributes),
        )


def summarize(
    rows: list[Row], *, chunk_seconds: Seconds = 0.16, normalizer: str = "basic", seed: int = 0
) -> Evaluation:
    """Pool rows: counts, an interval that resamples speakers, computing time."""
    errors: dict[str, int] = {}
    words: dict[str, int] = {}
    for row in rows:
        errors[row.speaker] = errors.get(row.speaker, 0) + row.words.errors
        words[row.speaker] = words.get(row.speaker, 0) + row.words.reference_words
    rng = rng_for(seed, "evaluation")
    interval = pooled_wer_interval(
        np.array(list(errors.values())), np.array(list(words.values())), rng=rng
    )
    return Evaluation(
        words=sum((row.words for row in rows), WordErrors()),
        interval=interval,
        compute=ComputeTime.total(row.compute for row in rows),
        num_utterances=len(rows),
        num_speakers=len(words),
        chunk_seconds=chunk_seconds,
        normalizer=normalizer_version(normalizer),
    )


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


def _check(utterances: list[Utterance], manifest: Path) -> None:
    """Refuse at once what would stop an evaluation hours later, or count double."""
    missing = [u for u in utterances if not u.audio.is_file()]
    if missing:
        first = missing[0]
        raise ManifestError(
            f"{len(missing)} of {len(utterances)} utterances of {manifest} have no audio file; the "
            f"first is {first.utterance_id!r}: {first.audio}.",
            hint=f"evenear data validate {manifest} names them all.",
        )
    ids: set[str] = set()
    for u in utterances:
        if u.utterance_id in ids:
            raise ManifestError(
                f"Each utterance needs an id of its own; {u.utterance_id!r} is in {manifest} more "
                "than once.",
                hint=f"evenear data validate {manifest} names them all.",
            )
        ids.add(u.utterance_id)
