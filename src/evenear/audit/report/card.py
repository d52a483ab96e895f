# SPDX-License-Identifier: Apache-2.0
"""The section of a model's card that says whom the model serves, and how well.

    section = who_it_serves(gaps(table, cohorts), on="speechocean762, test split")
    card = with_section(card, section)

Every cohort that was measured is in it, the better and the worse; cohorts too small to measure are
named as such. It promises nothing: it says what was heard, of whom, and what is not known.
"""

from collections.abc import Sequence

from evenear.audit.statistics.comparison import Change, Changes
from evenear.audit.statistics.results import Gap, Gaps, Overall

__all__ = ["TITLE", "who_it_serves", "with_section"]

TITLE = "## Who this model serves"


def who_it_serves(found: Gaps, changes: Changes | None = None, *, on: str) -> str:
    """Markdown of an audit of this model.

    Args:
        found: The audit of this model's results.
        changes: What became of another model's results, if this one was made from it.
        on: What speech it was heard on, in words.
    """
    overall = found.overall
    lines = [
        TITLE,
        "",
        f"Measured on {on}: {overall.speakers:,} speakers, {overall.utterances:,} utterances, "
        f"{overall.words:,} words; word errors of everyone {_rate(overall)}. Intervals hold with "
        f"{100 * found.level:.0f} % and resample speakers. {_formula(found)}",
        "",
    ]
    lines += _table(found.rows, changes)
    small = [f"{row.attribute} {row.value}" for row in found.rows if row.suppressed]
    if small:
        lines += [
            "",
            f"Too few speakers to say anything of: {', '.join(small)} (numbers need "
            f"{found.min_speakers} speakers and {found.min_words} words on both sides).",
        ]
    lines += ["", _worst(found), *(_lost(changes) if changes is not None else ())]
    lines += [
        "",
        "Speakers of whom nothing is listed here were not measured. A gap between cohorts says "
        "that errors differ, not why: rooms, microphones and sentences may differ with them.",
    ]
    return "\n".join(lines) + "\n"


def with_section(card: str, section: str) -> str:
    """A card with this section in the place of an older one, or at its end."""
    title = section.split("\n", 1)[0]
    kept: list[str] = []
    is_old = False
    for line in card.split("\n"):
        if line.startswith(("## ", "# ")):
            is_old = line.strip() == title.strip()
        if not is_old:
            kept.append(line)
    body = "\n".join(kept).rstrip("\n")
    return f"{body}\n\n{section}" if body else section


def _table(rows: Sequence[Gap], changes: Changes | None) -> list[str]:
    shown = [row for row in rows if not row.suppressed]
    if not shown:
        return ["No cohort was large enough to be measured."]
    before = {(row.attribute, row.value): row for row in changes.rows} if changes else {}
    head = ["cohort", "speakers", "words", "WER, %", "gap, %", "confirmed"]
    if changes is not None:
        head += ["WER before, %", "change, %"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in shown:
        cells = [
            f"{row.attribute} {row.value}",
            f"{row.speakers:,}",
            f"{row.words or 0:,}",
            _rate(row),
            _signed(row.gap, row.gap_low, row.gap_high),
            "not testable" if row.confirmed is None else "yes" if row.confirmed else "no",
        ]
        if changes is not None:
            cells += _before(before.get((row.attribute, row.value)))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _before(row: Change | None) -> list[str]:
    if row is None or row.wer_before is None:
        return ["unknown", "unknown"]
    return [f"{100 * row.wer_before:.1f}", _signed(row.change, row.change_low, row.change_high)]


def _worst(found: Gaps) -> str:
    worst = found.worst
    if worst is None:
        return "No cohort is confirmed to fare worse than the rest; smaller gaps may go unseen."
    return (
        f"It fails {worst.attribute} {worst.value} most: "
        f"{_signed(worst.gap, worst.gap_low, worst.gap_high)} % more errors than the rest."
    )


def _lost(changes: Changes) -> list[str]:
    everyone = changes.overall
    change = _signed(everyone.change, everyone.change_low, everyone.change_high)
    lost = ", ".join(f"{row.attribute} {row.value}" for row in changes.got_worse)
    said = (
        f"Confirmed to have got worse: {lost}." if lost else "No cohort is confirmed to be worse."
    )
    return [
        "",
        f"Against the model before ({changes.before}): errors of everyone {change} %. {said}",
    ]


def _formula(found: Gaps) -> str:
    return found.formula[0].upper() + found.formula[1:] + "."


def _rate(one: Gap | Overall) -> str:
    if one.wer is None:
        return "unknown"
    if one.low is None or one.high is None:
        return f"{100 * one.wer:.1f}"
    return f"{100 * one.wer:.1f} [{100 * one.low:.1f}, {100 * one.high:.1f}]"


def _signed(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "unknown"
    if low is None or high is None:
        return f"{100 * value:+.1f}"
    return f"{100 * value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
