# SPDX-License-Identifier: Apache-2.0
"""The rule that picks a strength, and the gate that judges what it picked; both fixed in advance.

The rule looks at tuning speakers only: of the settings at which everyone's errors do not grow by
more than the margin, take the one at which the cohort errs least; if errors grow at all of them,
the one at which they grow least. The gate looks at test speakers only: no cohort, and not everyone
together, may have become worse beyond its interval.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from evenear.audit import Change, Changes, Table

__all__ = ["GATE", "RULE", "Gate", "Point", "choose", "gate", "point"]

RULE = (
    "Of the settings at which everyone's word errors on tuning speakers do not grow by more than "
    "the margin, the one at which the cohort errs least; if there is none, the one at which "
    "everyone's errors grow least."
)
GATE = "No cohort, and not everyone together, is worse beyond its interval on the test speakers."


class Point(NamedTuple):
    """A model on the tuning speakers: whole and by side."""

    setting: float | None
    """None is the model before."""
    overall: float
    cohort: float
    rest: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return self._asdict()


def point(
    setting: float | None, table: Table, members: Sequence[str], rest: Sequence[str]
) -> Point:
    """Measure a table of tuning speakers."""
    sides = [table.only_speakers(names).wer for names in (members, rest)]
    return Point(setting, table.wer or 0.0, sides[0] or 0.0, sides[1] or 0.0)


def choose(before: Point, points: Sequence[Point], margin: float) -> tuple[Point, bool]:
    """The point that the rule picks, and whether it kept within the margin."""
    limit = before.overall * (1.0 + margin)
    kept = [one for one in points if one.overall <= limit]
    if kept:
        return min(kept, key=lambda one: (one.cohort, one.overall)), True
    return min(points, key=lambda one: (one.overall, one.cohort)), False


class Gate(NamedTuple):
    """What the gate says of a comparison."""

    passed: bool
    worse: tuple[str, ...]
    """Who is certainly worse off."""
    unsure: tuple[str, ...]
    """Of whom a loss cannot be ruled out, though none is shown; the too small included."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with the rule in words."""
        return {**self._asdict(), "rule": GATE}


def gate(changes: Changes) -> Gate:
    """Judge a comparison of before and after."""
    rows = [changes.overall, *changes.rows]
    worse = [row for row in rows if (row.change_low or 0.0) > 0.0 or _is_confirmed_worse(row)]
    unsure = [row for row in changes.may_be_worse() if row not in worse]
    return Gate(not worse, tuple(map(_name, worse)), tuple(map(_name, unsure)))


def _is_confirmed_worse(row: Change) -> bool:
    return bool(row.confirmed) and row.size > 0.0


def _name(row: Change) -> str:
    return row.value if row.attribute in ("cohort", "everyone") else f"{row.attribute}={row.value}"
