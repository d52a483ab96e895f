# SPDX-License-Identifier: Apache-2.0
"""Recognize a corpus as it would be heard live: chunk by chunk, each one timed.

Legend: N audio samples.
"""

import functools
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evenear.audio import read_audio
from evenear.data.corpora.manifests import Utterance
from evenear.evaluation.conditions import Condition
from evenear.evaluation.results import Row
from evenear.metrics.latency import ComputeTime
from evenear.metrics.words import AlignedPair, WordErrors, align_words, normalize
from evenear.streaming import Final, Recognizer
from evenear.units import SAMPLE_RATE, Seconds

__all__ = ["recognize"]


def recognize(
    recognizer: Recognizer,
    utterances: Iterable[Utterance],
    *,
    chunk_seconds: Seconds = 0.16,
    normalizer: str = "basic",
    condition: Condition | None = None,
) -> Iterator[Row]:
    """Stream each utterance through the recognizer and count its word errors.

    Args:
        recognizer: The recognizer.
        utterances: What to hear.
        chunk_seconds: Sound in a chunk.
        normalizer: How texts are made comparable: a name in `metrics.words.NORMALIZERS`.
        condition: What happens to the sound before; None: nothing.
    """
    chunk = max(1, round(chunk_seconds * SAMPLE_RATE))
    sounds = ((u, _sound(u, condition)) for u in utterances)
    if condition is not None and condition.joins_seconds:
        yield from _joined(recognizer, sounds, chunk, normalizer, condition.joins_seconds)
        return
    for u, samples_N in sounds:
        heard = _stream(recognizer, samples_N, chunk)
        said = u if condition is None or condition.is_speech else replace(u, text="")
        yield Row.of(
            said, heard.text, heard.compute, normalizer=normalizer, final_delays=heard.delays
        )


class _Heard(NamedTuple):
    """What came of one stream."""

    text: str
    compute: ComputeTime
    delays: tuple[Seconds, ...]


@functools.lru_cache(maxsize=1)
def _read(path: str) -> NDArray[np.float32]:
    return read_audio(path)  # often the next utterance is of the same file


def _sound(u: Utterance, condition: Condition | None) -> NDArray[np.float32]:
    """The samples of an utterance, as the condition leaves them."""
    samples_N = _read(str(u.audio))
    if u.is_partial:
        first = round(u.start_seconds * SAMPLE_RATE)
        samples_N = samples_N[first : first + round(u.seconds * SAMPLE_RATE)]
    return samples_N if condition is None else condition.apply(samples_N, u.utterance_id)


def _stream(recognizer: Recognizer, samples_N: NDArray[np.float32], chunk: int) -> _Heard:
    """Hear a sound chunk by chunk."""
    stream = recognizer.stream()
    texts: list[str] = []
    took: list[Seconds] = []
    delays: list[Seconds] = []
    for start in range(0, len(samples_N) + chunk, chunk):
        piece_N = samples_N[start : start + chunk]
        began = time.perf_counter()
        events = stream.accept(piece_N) if len(piece_N) else stream.finish()
        took.append(time.perf_counter() - began)
        now_seconds = min(start + chunk, len(samples_N)) / SAMPLE_RATE
        for event in events:
            if isinstance(event, Final):
                texts.append(event.text)
                delays += [now_seconds - word.end_seconds for word in event.words]
        if not len(piece_N):
            break
    compute = ComputeTime(len(samples_N) / SAMPLE_RATE, tuple(took))
    return _Heard(" ".join(texts), compute, tuple(delays))


def _joined(
    recognizer: Recognizer,
    sounds: Iterator[tuple[Utterance, NDArray[np.float32]]],
    chunk: int,
    normalizer: str,
    joins_seconds: Seconds,
) -> Iterator[Row]:
    """Hear many utterances as one stream, and give each its share of what was heard."""
    group: list[tuple[Utterance, NDArray[np.float32]]] = []
    for one in sounds:
        group.append(one)
        if sum(len(samples_N) for _, samples_N in group) >= joins_seconds * SAMPLE_RATE:
            yield from _shares(recognizer, group, chunk, normalizer)
            group = []
    if group:
        yield from _shares(recognizer, group, chunk, normalizer)


def _shares(
    recognizer: Recognizer,
    group: list[tuple[Utterance, NDArray[np.float32]]],
    chunk: int,
    normalizer: str,
) -> Iterator[Row]:
    """Rows of the utterances of one stream; the first of them has its times."""
    heard = _stream(recognizer, np.concatenate([samples_N for _, samples_N in group]), chunk)
    references = [normalize(u.text, normalizer) for u, _ in group]
    pairs = align_words(" ".join(references), normalize(heard.text, normalizer))
    times = ComputeTime(0.0, heard.compute.chunk_seconds), heard.delays
    for (u, samples_N), own in zip(group, _parted(pairs, references), strict=True):
        seconds = len(samples_N) / SAMPLE_RATE
        yield Row(
            utterance_id=u.utterance_id,
            speaker=u.speaker,
            reference=" ".join(pair.reference for pair in own if pair.reference is not None),
            hypothesis=" ".join(pair.hypothesis for pair in own if pair.hypothesis is not None),
            words=_counted(own),
            seconds=seconds,
            compute=times[0] + ComputeTime(seconds),
            attributes=dict(u.attributes),
            final_delays=times[1],
        )
        times = ComputeTime(), ()


def _parted(pairs: tuple[AlignedPair, ...], references: list[str]) -> Iterator[list[AlignedPair]]:
    """The pairs of each reference; what was inserted goes to the one before."""
    rest = list(pairs)
    for place, reference in enumerate(references):
        num_words, end = len(reference.split()), 0
        while end < len(rest) and (num_words > 0 or rest[end].reference is None):
            num_words -= rest[end].reference is not None
            end += 1
        if place == len(references) - 1:
            end = len(rest)
        yield rest[:end]
        rest = rest[end:]


def _counted(pairs: list[AlignedPair]) -> WordErrors:
    """The errors of aligned words."""
    return WordErrors(
        insertions=sum(pair.reference is None for pair in pairs),
        deletions=sum(pair.hypothesis is None for pair in pairs),
        substitutions=sum(
            pair.is_error and pair.reference is not None and pair.hypothesis is not None
            for pair in pairs
        ),
        reference_words=sum(pair.reference is not None for pair in pairs),
    )
