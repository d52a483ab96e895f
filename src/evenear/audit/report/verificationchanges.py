# SPDX-License-Identifier: Apache-2.0
"""Two verifiers on the same trials, in words: what became of each group, and who lost."""

from collections.abc import Iterator

from evenear.audit.report.words import number_of, p_value, percent, points
from evenear.audit.verification.comparison import GroupChange, MeasuredChange, VerificationChanges

__all__ = ["change_lines", "change_rows", "change_summary"]

_MEASURES = {"eer": "EER", "false_reject": "false rejects", "false_accept": "false accepts"}


def change_summary(changes: VerificationChanges) -> tuple[str, ...]:
    """What the comparison found, in a few sentences."""
    whole = changes.overall.eer
    lines = []
    if whole is not None:
        bounds = f"{points(whole.change_low)} to {points(whole.change_high)}"
        lines.append(
            f"From {changes.before} to {changes.after}, the overall EER changes by "
            f"{points(whole.change)} points ({bounds}), from {percent(whole.before)} to "
            f"{percent(whole.after)}."
        )
    lost, behind = (
        [f"{row.attribute} “{row.value}”" for row in rows]
        for rows in (changes.got_worse, changes.fell_behind)
    )
    if lost:
        lines.append(f"Confirmed to get worse: {', '.join(lost)}.")
    elif any(not row.suppressed for row in changes.rows):
        lines.append("No group was confirmed to get worse.")
    if behind:
        lines.append(f"Confirmed to fall behind the others: {', '.join(behind)}.")
    return tuple(lines)


def change_lines(changes: VerificationChanges) -> list[str]:
    """A line for each group."""
    lines = [f"{changes.before} (before), {changes.after} (after):"]
    for row in (changes.overall, *changes.rows):
        if row.suppressed:
            continue
        parts = [
            f"{label} {percent(one.before)} to {percent(one.after)}, change {_bounds(one)} points, "
            f"p {p_value(one.p_adjusted, sign='= ')}"
            for label, one in change_rows(row)
        ]
        name = f"{row.attribute} “{row.value}”, {number_of(row.speakers, 'speaker')}"
        lines.append(f"{name}: {'; '.join(parts)}{_verdict(row)}")
    return [*lines, f"{changes.formula}."]


def change_rows(row: GroupChange) -> Iterator[tuple[str, MeasuredChange]]:
    """What a group has, by name; nothing if it is too small."""
    for name, label in _MEASURES.items():
        one = getattr(row, name)
        if one is not None:
            yield label, one


def _bounds(one: MeasuredChange) -> str:
    return f"{points(one.change)} ({points(one.change_low)} to {points(one.change_high)})"


def _verdict(row: GroupChange) -> str:
    said = [
        words
        for words, holds in (("got worse", row.got_worse), ("fell behind", row.fell_behind))
        if holds
    ]
    return f" — confirmed: {' and '.join(said)}" if said else ""
