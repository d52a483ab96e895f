# SPDX-License-Identifier: Apache-2.0
"""How well two channels say who said what: words, turns, and what leaks between channels.

ORC-WER asks which assignment of reference utterances to output channels has the fewest word errors,
each channel's references in order of time. All assignments together are one dynamic program: after
each utterance it knows the least cost of having read so much of each channel, and an utterance is
read from one of them by edit distance. cpWER and tcpWER judge speakers, too, and come from meeteval
(extra "meeting").

Dimensions: C channels; cost arrays have one axis for each.

Source: Sklyar et al. 2022, MT-RNN-T, arXiv:2112.10200, section 4.2 (all assignments, tried); von
Neumann et al. 2023, arXiv:2211.16112 (the dynamic program); Raj et al. 2023, SURT 2.0,
arXiv:2306.10559 (leakage and omission).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evenear.errors import MissingDependencyError
from evenear.metrics.words import WordErrors, word_errors
from evenear.transcripts import Segment
from evenear.units import Seconds

__all__ = [
    "Leakage",
    "TurnCounts",
    "leakage",
    "orc_assignment",
    "orc_errors",
    "speaker_errors",
]


def orc_errors(references: Sequence[str], channels: Sequence[str]) -> WordErrors:
    """The fewest word errors of any assignment of utterances to channels.

    Args:
        references: Normalized texts of all utterances of a session, in order of their start.
        channels: The normalized text of each output channel.

    Example:
        >>> orc_errors(["A B", "C"], ["C", "A B"]).errors
        0
    """
    if not channels:
        channels = [""]
    assigned = orc_assignment(references, channels)
    total = WordErrors()
    for channel, heard in enumerate(channels):
        own = [text for text, c in zip(references, assigned, strict=True) if c == channel]
        total += word_errors(" ".join(own), heard)
    return total


def orc_assignment(references: Sequence[str], channels: Sequence[str]) -> tuple[int, ...]:
    """The channel of each utterance in one assignment of fewest errors."""
    heard = [text.split() for text in channels]
    said = [text.split() for text in references]
    cost = np.zeros([len(words) + 1 for words in heard], np.int64)
    for axis, size in enumerate(cost.shape):  # what is read before anything was said is inserted
        shape = [1] * cost.ndim
        shape[axis] = size
        cost = cost + np.arange(size).reshape(shape)
    costs = [cost]
    for words in said:
        ways = [_read(cost, words, heard[c], c) for c in range(len(heard))]
        cost = np.minimum.reduce(ways)
        costs.append(cost)
    place = tuple(size - 1 for size in cost.shape)
    assigned = []
    for number in range(len(said) - 1, -1, -1):
        channel, place = _step_back(costs[number], costs[number + 1], said[number], heard, place)
        assigned.append(channel)
    return tuple(reversed(assigned))


def _read(cost: NDArray[Any], said: list[str], heard: list[str], axis: int) -> NDArray[Any]:
    """Least costs after an utterance was read from one channel, wherever that began."""
    places = np.arange(len(heard) + 1).reshape(-1, *[1] * (cost.ndim - 1))
    row = np.moveaxis(cost, axis, 0)
    for word in said:
        differs = np.array([word != other for other in heard], np.int64)
        differs = differs.reshape(-1, *[1] * (cost.ndim - 1))
        after = row + 1  # the word is missing
        after[1:] = np.minimum(after[1:], row[:-1] + differs)
        # words that nobody said, in one sweep: after[i] = min over k <= i of after[k] + i - k
        row = np.minimum.accumulate(after - places, axis=0) + places
    return np.moveaxis(row, 0, axis)


def _step_back(
    before: NDArray[Any],
    after: NDArray[Any],
    said: list[str],
    heard: list[list[str]],
    place: tuple[int, ...],
) -> tuple[int, tuple[int, ...]]:
    """The channel that an utterance was read from, and where the channels were before it."""
    for channel, words in enumerate(heard):
        end = place[channel]
        distances = _suffix_distances(said, words[:end])
        for start in range(end, -1, -1):
            earlier = (*place[:channel], start, *place[channel + 1 :])
            if before[earlier] + distances[start] == after[place]:
                return channel, earlier
    raise AssertionError("a least cost comes from somewhere")


def _suffix_distances(said: list[str], heard: list[str]) -> list[int]:
    """Edit distance of an utterance to the words from each place to the end."""
    backwards = heard[::-1]
    row = list(range(len(backwards) + 1))
    for number, word in enumerate(reversed(said), start=1):
        new = [number]
        for i, other in enumerate(backwards):
            new.append(min(row[i] + (word != other), row[i + 1] + 1, new[i] + 1))
        row = new
    return row[::-1]


def speaker_errors(
    references: Sequence[Segment],
    hypotheses: Sequence[Segment],
    *,
    kind: Literal["cpwer", "tcpwer"] = "cpwer",
    collar_seconds: Seconds = 5.0,
) -> WordErrors:
    """Word errors after the best permutation of speakers, over all sessions.

    Args:
        references: Who said what; texts normalized.
        hypotheses: What was recognized; texts normalized.
        kind: "tcpwer" lets words match only within a collar of their time.
        collar_seconds: That collar.

    Raises:
        MissingDependencyError: meeteval is not installed.
    """
    try:
        meeteval: Any = import_module("meeteval")
    except ImportError:
        raise MissingDependencyError(
            "cpWER and tcpWER need meeteval, which is not installed.",
            hint="pip install 'evenear[meeting]' (it is compiled: a C++ compiler is needed)",
        ) from None
    extra = {"collar": collar_seconds} if kind == "tcpwer" else {}
    score = getattr(meeteval.wer, kind)
    sessions = {segment.session_id for segment in references}
    known = [segment for segment in hypotheses if segment.session_id in sessions]
    total = WordErrors()
    for session in sorted(sessions):
        said, heard = (
            meeteval.io.SegLST([_seglst(s) for s in each if s.session_id == session])
            for each in (references, known)
        )
        if not len(heard):
            words = sum(len(s.text.split()) for s in references if s.session_id == session)
            total += WordErrors(deletions=words, reference_words=words)
            continue
        for found in score(said, heard, **extra).values():
            total += WordErrors(
                insertions=found.insertions,
                deletions=found.deletions,
                substitutions=found.substitutions,
                reference_words=found.length,
            )
    return total


def _seglst(segment: Segment) -> dict[str, Any]:
    return {
        "session_id": segment.session_id,
        "speaker": segment.speaker or str(segment.channel),
        "start_time": segment.start_seconds,
        "end_time": segment.end_seconds,
        "words": segment.text,
    }


@dataclass(frozen=True)
class TurnCounts:
    """How many turns sessions had, and how many were counted. These add."""

    counts: Mapping[tuple[int, int], int] = field(default_factory=dict)
    """Sessions by (turns there were, turns counted)."""

    @classmethod
    def of(cls, actual: int, counted: int) -> "TurnCounts":
        """The counts of one session."""
        return cls({(actual, counted): 1})

    def __add__(self, other: "TurnCounts") -> "TurnCounts":
        return TurnCounts(dict(Counter(self.counts) + Counter(other.counts)))

    def accuracy(self, *, more_than: int = 0) -> float | None:
        """Sessions counted right, of those with more turns than this; None without such."""
        kept = {pair: n for pair, n in self.counts.items() if pair[0] > more_than}
        right = sum(n for (actual, counted), n in kept.items() if actual == counted)
        return right / sum(kept.values()) if kept else None

    def matrix(self) -> dict[int, dict[int, int]]:
        """Sessions by turns there were, then by turns counted."""
        rows: dict[int, dict[int, int]] = {}
        for (actual, counted), number in sorted(self.counts.items()):
            rows.setdefault(actual, {})[counted] = number
        return rows


@dataclass(frozen=True)
class Leakage:
    """Reference n-grams that come out of several channels, or of none. These add."""

    several: int = 0
    none: int = 0
    ngrams: int = 0
    """Different n-grams of the references of each session."""

    def __add__(self, other: "Leakage") -> "Leakage":
        return Leakage(
            self.several + other.several, self.none + other.none, self.ngrams + other.ngrams
        )

    @property
    def leaked(self) -> float | None:
        """Part of the n-grams that came out of several channels."""
        return self.several / self.ngrams if self.ngrams else None

    @property
    def omitted(self) -> float | None:
        """Part of the n-grams that came out of no channel."""
        return self.none / self.ngrams if self.ngrams else None


def leakage(references: Sequence[str], channels: Sequence[str], *, order: int = 2) -> Leakage:
    """Leakage and omission of one session, from n-grams of this order that were said only once.

    Our reading: what is said twice may rightly come out of two channels, so it is left out.
    """
    said = Counter(gram for text in references for gram in _ngrams(text, order))
    once = {gram for gram, number in said.items() if number == 1}
    heard = [set(_ngrams(text, order)) for text in channels]
    found = [sum(gram in own for own in heard) for gram in once]
    return Leakage(sum(n > 1 for n in found), sum(n == 0 for n in found), len(once))


def _ngrams(text: str, order: int) -> list[tuple[str, ...]]:
    words = text.split()
    return [tuple(words[i : i + order]) for i in range(len(words) - order + 1)]
