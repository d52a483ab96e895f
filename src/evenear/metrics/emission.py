# SPDX-License-Identifier: Apache-2.0
"""How late turns and words come, and what a quick end of turn costs in false ones.

Four emission latencies, from the moments that a recognizer gives and those that are true:

    EP   end of turn said       - end of the speech
    LS   last word's last token - end of the speech
    SP   start of turn said     - start of the speech
    FS   first word's token     - start of the speech

They are known only where turns can be told apart, so sessions count whose number of turns is right.
LS is the least that EP can be, FS the most that SP may be.

End-pointers of every kind (silence rules, end-of-turn tokens, models of turns) are compared on two
axes: how often a turn is cut before its speech is over, and how long after it an end is said. Both
are anchored at the true end of the speech.

Source: Sklyar, Piunova, Osendorfer 2022, arXiv:2205.05199, section 3.3; the axes of eot-bench.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evenear.units import Seconds

__all__ = [
    "EmissionLatencies",
    "EndpointCounts",
    "TrueTurn",
    "TurnMoments",
    "emission_latencies",
    "endpoint_counts",
]

_PERCENTS = (50, 90)


@dataclass(frozen=True)
class TrueTurn:
    """When a turn's speech begins and ends."""

    start_seconds: Seconds
    end_seconds: Seconds


@dataclass(frozen=True)
class TurnMoments:
    """When a recognizer said what of a turn; None where it did not."""

    start_seconds: Seconds | None
    first_word_seconds: Seconds | None
    last_word_seconds: Seconds | None
    end_seconds: Seconds | None


@dataclass(frozen=True)
class EmissionLatencies:
    """Latencies of many turns, in seconds. These add."""

    end_of_turn: tuple[Seconds, ...] = ()
    last_word: tuple[Seconds, ...] = ()
    start_of_turn: tuple[Seconds, ...] = ()
    first_word: tuple[Seconds, ...] = ()

    def __add__(self, other: "EmissionLatencies") -> "EmissionLatencies":
        return EmissionLatencies(
            self.end_of_turn + other.end_of_turn,
            self.last_word + other.last_word,
            self.start_of_turn + other.start_of_turn,
            self.first_word + other.first_word,
        )

    def milliseconds(self) -> dict[str, dict[str, float | int | None]]:
        """Number, mean, p50 and p90 of each; None where there is nothing."""
        named = {
            "end_of_turn": self.end_of_turn,
            "last_word": self.last_word,
            "start_of_turn": self.start_of_turn,
            "first_word": self.first_word,
        }
        return {name: _summary(values) for name, values in named.items()}


def emission_latencies(
    truth: Sequence[TrueTurn], heard: Sequence[TurnMoments]
) -> EmissionLatencies:
    """Latencies of one session; none if its number of turns is not right.

    Our reading: turns are matched in the order in which they begin.
    """
    if len(truth) != len(heard):
        return EmissionLatencies()
    actual = sorted(truth, key=lambda turn: turn.start_seconds)
    pairs = list(zip(actual, sorted(heard, key=_first_moment), strict=True))
    return EmissionLatencies(
        tuple(h.end_seconds - t.end_seconds for t, h in pairs if h.end_seconds is not None),
        tuple(
            h.last_word_seconds - t.end_seconds for t, h in pairs if h.last_word_seconds is not None
        ),
        tuple(h.start_seconds - t.start_seconds for t, h in pairs if h.start_seconds is not None),
        tuple(
            h.first_word_seconds - t.start_seconds
            for t, h in pairs
            if h.first_word_seconds is not None
        ),
    )


@dataclass(frozen=True)
class EndpointCounts:
    """Turns that were cut, and the delays of those that were ended. These add."""

    turns: int = 0
    cut: int = 0
    """Turns with an end before their speech was over."""
    missed: int = 0
    """Turns without an end after their speech."""
    delays: tuple[Seconds, ...] = ()
    """From the true end to the first end that was said at or after it."""

    def __add__(self, other: "EndpointCounts") -> "EndpointCounts":
        return EndpointCounts(
            self.turns + other.turns,
            self.cut + other.cut,
            self.missed + other.missed,
            self.delays + other.delays,
        )

    @property
    def false_cut_rate(self) -> float | None:
        """Part of the turns that were cut; None without turns."""
        return self.cut / self.turns if self.turns else None

    @property
    def missed_rate(self) -> float | None:
        """Part of the turns whose end was never said; None without turns."""
        return self.missed / self.turns if self.turns else None

    def delay_milliseconds(self, percent: float) -> float | None:
        """The delay that `percent` of ended turns do not exceed; None without such."""
        return 1000 * float(np.percentile(self.delays, percent)) if self.delays else None


def endpoint_counts(
    truth: Sequence[TrueTurn],
    ends: Sequence[Seconds],
    *,
    patience_seconds: Seconds = 3.0,
) -> EndpointCounts:
    """Judge the ends that were said on one channel.

    Args:
        truth: The turns of the channel.
        ends: The moments at which an end became known.
        patience_seconds: An end that comes later than this after its speech, or after the next
            turn has begun, is missed.
    """
    ordered = sorted(truth, key=lambda turn: turn.start_seconds)
    total = EndpointCounts()
    for number, turn in enumerate(ordered):
        limit = turn.end_seconds + patience_seconds
        if number + 1 < len(ordered):
            limit = min(limit, ordered[number + 1].start_seconds)
        is_cut = any(turn.start_seconds < end < turn.end_seconds for end in ends)
        after = [end for end in ends if turn.end_seconds <= end <= limit]
        delays = (min(after) - turn.end_seconds,) if after else ()
        total += EndpointCounts(1, int(is_cut), int(not after), delays)
    return total


def _first_moment(turn: TurnMoments) -> Seconds:
    moments = (turn.start_seconds, turn.first_word_seconds, turn.last_word_seconds)
    return min((m for m in (*moments, turn.end_seconds) if m is not None), default=0.0)


def _summary(values: Sequence[Seconds]) -> dict[str, float | int | None]:
    if not values:
        return {"turns": 0, "mean": None, "p50": None, "p90": None}
    p50, p90 = (1000 * float(p) for p in np.percentile(values, _PERCENTS))
    mean = 1000 * float(np.mean(values))
    return {"turns": len(values), "mean": mean, "p50": p50, "p90": p90}
