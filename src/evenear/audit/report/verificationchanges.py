# SPDX-License-Identifier: Apache-2.0
"""Two verifiers on the same trials, in words: what became of each group, and who lost."""

from collections.abc import Iterator

from evenear.audit.report.words import number_of, p_value, percent, points
from evenear.audit.verification.comparison import GroupChange, MeasuredChange, VerificationChanges

__all__ = ["change_lines", "change_rows", "change_summary", "change_verdict"]

_MEASURES = {"eer": "EER", "false_reject": "false rejects", "false_accept": "false accepts"}
_WORSE, _BEHIND = "got worse", "fell behind"


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
    lost = [_in_what(row, _WORSE, changes.level) for row in changes.got_worse]
    behind = [_in_what(row, _BEHIND, changes.level) for row in changes.fell_behind]
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
        lines.append(f"{name}: {'; '.join(parts)}{_verdict(row, changes.level)}")
    return [*lines, f"{changes.formula}."]


def change_rows(row: GroupChange) -> Iterator[tuple[str, MeasuredChange]]:
    """What a group has, by name; nothing if it is too small."""
    for name, label in _MEASURES.items():
        one = getattr(row, name)
        if one is not None:
            yield label, one


def _bounds(one: MeasuredChange) -> str:
    return f"{points(one.change)} ({points(one.change_low)} to {points(one.change_high)})"


def change_verdict(one: MeasuredChange, level: float) -> str:
    """What is confirmed of one measure of a group, in a few words; empty if nothing is."""
    said = []
    if _is_sure(one.p_adjusted, level) and one.change:
        said.append(_WORSE if one.change > 0.0 else "got better")
    if _is_sure(one.gap_p_adjusted, level) and (one.gap_change or 0.0) > 0.0:
        said.append(_BEHIND)
    return " and ".join(said)


def _is_sure(p_value: float | None, level: float) -> bool:
    return p_value is not None and p_value <= 1.0 - level


def _in_what(row: GroupChange, word: str, level: float) -> str:
    """A group, and the measures of which a word is confirmed."""
    named = [label for label, one in change_rows(row) if word in change_verdict(one, level)]
    return f"{row.attribute} “{row.value}” ({', '.join(named)})"


def _verdict(row: GroupChange, level: float) -> str:
    said = [(label, change_verdict(one, level)) for label, one in change_rows(row)]
    parts = [f"{label} {words}" for label, words in said if words]
    return f" — confirmed: {', '.join(parts)}" if parts else ""
