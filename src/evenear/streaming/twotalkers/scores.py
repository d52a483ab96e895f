# SPDX-License-Identifier: Apache-2.0
"""How well conversations are heard: words, turns, delays and computing time, session by session.

A session's references are segments with times and channels; what was heard are the events of a
stream, of one channel or of two. Counts add over sessions, so any grouping of them can be scored.

Legend: N audio samples.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from evenear.audio import read_audio
from evenear.errors import ManifestError
from evenear.metrics.emission import (
    EmissionLatencies,
    EndpointCounts,
    TrueTurn,
    TurnMoments,
    emission_latencies,
    endpoint_counts,
)
from evenear.metrics.latency import ComputeTime
from evenear.metrics.turns import Leakage, TurnCounts, leakage, orc_assignment, orc_errors
from evenear.metrics.words import WordErrors, normalize
from evenear.streaming.events import Event, Final, TurnEnded, TurnStarted
from evenear.transcripts import Segment, read_transcript
from evenear.units import SAMPLE_RATE, Seconds

__all__ = [
    "ConversationScore",
    "Heard",
    "Listener",
    "Session",
    "hear",
    "hear_session",
    "load_sessions",
    "normalized",
    "score_session",
    "turn_moments",
]


class Listener(Protocol):
    """A stream of any recognizer."""

    def accept(self, samples: NDArray[np.float32]) -> list[Event]:
        """Hear a chunk."""
        ...

    def finish(self) -> list[Event]:
        """End the stream."""
        ...


@dataclass(frozen=True)
class Session:
    """A recorded conversation and what is said in it."""

    session_id: str
    audio: Path
    references: tuple[Segment, ...]
    """In order of their start; the texts are normalized."""


@dataclass(frozen=True)
class Heard:
    """What a stream told of a session."""

    events: tuple[Event, ...]
    compute: ComputeTime


@dataclass(frozen=True)
class ConversationScore:
    """Counts of any number of sessions. These add; their rates do not."""

    words: WordErrors = field(default_factory=WordErrors)
    turns: TurnCounts = field(default_factory=TurnCounts)
    leakage: Leakage = field(default_factory=Leakage)
    emission: EmissionLatencies = field(default_factory=EmissionLatencies)
    endpoints: EndpointCounts = field(default_factory=EndpointCounts)
    compute: ComputeTime = field(default_factory=ComputeTime)
    sessions: int = 0

    def __add__(self, other: "ConversationScore") -> "ConversationScore":
        return ConversationScore(
            self.words + other.words,
            self.turns + other.turns,
            self.leakage + other.leakage,
            self.emission + other.emission,
            self.endpoints + other.endpoints,
            self.compute + other.compute,
            self.sessions + other.sessions,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values; rates are None where there is nothing to divide by."""
        return {
            "sessions": self.sessions,
            "orc_wer": self.words.rate,
            "errors": self.words.errors,
            "insertions": self.words.insertions,
            "deletions": self.words.deletions,
            "substitutions": self.words.substitutions,
            "words": self.words.reference_words,
            "turn_accuracy": self.turns.accuracy(),
            "turn_accuracy_more_than_2": self.turns.accuracy(more_than=2),
            "turn_matrix": self.turns.matrix(),
            "leaked": self.leakage.leaked,
            "omitted": self.leakage.omitted,
            "latency_milliseconds": self.emission.milliseconds(),
            "false_cut_rate": self.endpoints.false_cut_rate,
            "missed_end_rate": self.endpoints.missed_rate,
            "end_delay_p50_milliseconds": self.endpoints.delay_milliseconds(50),
            "end_delay_p90_milliseconds": self.endpoints.delay_milliseconds(90),
            "real_time_factor": self.compute.real_time_factor,
            "chunk_p95_milliseconds": self.compute.percentile_milliseconds(95),
        }


def load_sessions(folder: Path, *, normalizer: str = "basic") -> list[Session]:
    """Sessions of a folder that `evenear data simulate` wrote.

    Raises:
        ManifestError: It has no references, or a recording is not there.
    """
    path = folder / "reference.seglst.json"
    if not path.is_file():
        raise ManifestError(
            f"{folder} must hold reference.seglst.json beside audio/.",
            hint="Make one: evenear data simulate DATA --out DIR",
        )
    by_session: dict[str, list[Segment]] = {}
    for segment in read_transcript(path):
        by_session.setdefault(segment.session_id, []).append(segment)
    sessions = []
    for name, segments in by_session.items():
        audio = folder / "audio" / f"{name}.wav"
        if not audio.is_file():
            raise ManifestError(f"The session {name!r} has no recording: {audio} is missing.")
        sessions.append(Session(name, audio, normalized(segments, normalizer)))
    return sessions


def normalized(segments: Iterable[Segment], normalizer: str = "basic") -> tuple[Segment, ...]:
    """Segments in order of their start, their texts normalized."""
    ordered = sorted(segments, key=lambda s: s.start_seconds)
    return tuple(
        Segment(
            session_id=s.session_id,
            speaker=s.speaker,
            start_seconds=s.start_seconds,
            end_seconds=s.end_seconds,
            text=normalize(s.text, normalizer),
            channel=s.channel,
        )
        for s in ordered
    )


def hear(
    stream: Listener, samples_N: NDArray[np.float32], *, chunk_seconds: Seconds = 0.16
) -> Heard:
    """Let a stream hear a whole recording chunk by chunk, and take the time."""
    chunk = max(1, round(chunk_seconds * SAMPLE_RATE))
    events: list[Event] = []
    took = []
    for start in range(0, len(samples_N), chunk):
        began = time.perf_counter()
        events += stream.accept(samples_N[start : start + chunk])
        took.append(time.perf_counter() - began)
    began = time.perf_counter()
    events += stream.finish()
    took.append(time.perf_counter() - began)
    return Heard(tuple(events), ComputeTime(len(samples_N) / SAMPLE_RATE, tuple(took)))


def hear_session(stream: Listener, session: Session, *, chunk_seconds: Seconds = 0.16) -> Heard:
    """Let a stream hear a session's recording."""
    return hear(stream, read_audio(session.audio), chunk_seconds=chunk_seconds)


def score_session(
    references: Sequence[Segment], heard: Heard, *, normalizer: str = "basic"
) -> ConversationScore:
    """Counts of one session.

    Args:
        references: Its segments in order of their start, normalized.
        heard: What a stream told of it.
        normalizer: Brings what was heard into the same form.
    """
    channels = sorted({event.channel for event in heard.events}) or [0]
    texts = [
        normalize(
            " ".join(e.text for e in heard.events if isinstance(e, Final) and e.channel == c),
            normalizer,
        )
        for c in channels
    ]
    moments = [turn for c in channels for turn in turn_moments(heard.events, c)]
    truth = [TrueTurn(s.start_seconds, s.end_seconds) for s in references]
    said = [segment.text for segment in references]
    endpoints = EndpointCounts()
    places = [channels[place] for place in orc_assignment(said, texts)]
    for channel in sorted(set(places)):
        own = [t for t, place in zip(truth, places, strict=True) if place == channel]
        ends = [
            e.known_seconds
            for e in heard.events
            if isinstance(e, TurnEnded) and e.channel == channel
        ]
        endpoints += endpoint_counts(own, ends)
    return ConversationScore(
        words=orc_errors(said, texts),
        turns=TurnCounts.of(len(references), len(moments)),
        leakage=leakage(said, texts),
        emission=emission_latencies(truth, moments),
        endpoints=endpoints,
        compute=heard.compute,
        sessions=1,
    )


def turn_moments(events: Sequence[Event], channel: int) -> list[TurnMoments]:
    """When each turn of a channel, if it had words, was begun, spoken and ended.

    The words of a turn may become final behind its end: they are those of the nearest turn.
    """
    own = [event for event in events if event.channel == channel]
    begun = [event for event in own if isinstance(event, TurnStarted)]
    ended = [event for event in own if isinstance(event, TurnEnded)]
    words: list[list[Seconds]] = [[] for _ in ended]
    for event in own:
        if isinstance(event, Final) and ended:
            first, last = event.words[0].start_seconds, event.words[-1].end_seconds
            middle = 0.5 * (first + last)
            spans = [(s.seconds, e.seconds) for s, e in zip(begun, ended, strict=False)]
            away = [max(start - middle, middle - end, 0.0) for start, end in spans]
            words[away.index(min(away))] += [first, last]
    return [
        TurnMoments(start.known_seconds, min(said), max(said), end.known_seconds)
        for start, end, said in zip(begun, ended, words, strict=False)
        if said
    ]
