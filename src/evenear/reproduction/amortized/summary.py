# SPDX-License-Identifier: Apache-2.0
"""What came of ways of hearing: error rates, what was spent, and whom it costs.

Legend: S speakers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evenear.reproduction.statistics import SpeakerErrors, Speakers, by_speaker
from evenear.units import Seconds

__all__ = ["GROUPS", "Heard", "by_group", "errors_of", "share_of", "summary"]


def _age(years: Any) -> str:
    return "adult" if float(years) >= 18 else "child"


GROUPS: dict[str, Callable[[dict[str, Any]], str | None]] = {
    "age": lambda row: None if row.get("age") is None else _age(row["age"]),
    "gender": lambda row: row.get("gender"),
}


@dataclass(frozen=True)
class Heard:
    """What came of one utterance."""

    speaker: str
    errors: int
    words: int
    spent: float
    dense: float
    age: str | None
    gender: str | None
    final_delays: tuple[Seconds, ...] = ()
    """For each word, how much sound was heard between its end and its becoming final."""


def share_of(rows: Sequence[Heard]) -> float:
    """The share of the dense work that was spent."""
    return sum(row.spent for row in rows) / sum(row.dense for row in rows)


def errors_of(rows: Sequence[Heard], speakers: Sequence[str]) -> SpeakerErrors:
    """Errors and words of each of these speakers."""
    errors_S, words_S = by_speaker(((r.speaker, r.errors, r.words) for r in rows), speakers)
    return SpeakerErrors((errors_S,), words_S)


def summary(heard: Mapping[str, list[Heard]], base: str = "dense") -> dict[str, Any]:
    """Each way's word error rate, what it spent, and how it compares with a base, which spends all.

    With delays, how long its words waited for being final, too, on average.
    """
    speakers = sorted({row.speaker for row in heard[base]})
    draws = Speakers(len(speakers))
    dense = errors_of(heard[base], speakers)
    whole = sum(row.dense for row in heard[base])
    found = {}
    for name, rows in heard.items():
        one = errors_of(rows, speakers)
        delays = [delay for row in rows for delay in row.final_delays]
        found[name] = {
            "compute": sum(row.spent for row in rows) / whole,
            "wer": asdict(draws.rate(one)),
            f"relative_to_{base}": asdict(draws.difference(one, dense).relative),
            **({"mean_final_delay_seconds": sum(delays) / len(delays)} if delays else {}),
        }
    return found


def by_group(
    heard: Mapping[str, list[Heard]], group: str, names: Sequence[str], base: str = "dense"
) -> dict[str, Any]:
    """What saving costs each group: of its own base rate, and of the computation it gets."""
    values = sorted({getattr(row, group) for row in heard[base]} - {None})
    found: dict[str, Any] = {}
    for value in values:
        own = {
            name: [row for row in heard[name] if getattr(row, group) == value]
            for name in (base, *names)
        }
        found[value] = {"speakers": len({r.speaker for r in own[base]}), **summary(own, base)}
    return found
