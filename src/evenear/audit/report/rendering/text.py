# SPDX-License-Identifier: Apache-2.0
"""A report as plain text, for a terminal or a log: the headline, then a line for each cohort."""

from collections.abc import Sequence

from evenear.audit.report.beside import (
    confound_sentence,
    confusion_sentence,
    strata_sentence,
)
from evenear.audit.report.contents import Report
from evenear.audit.report.findings import is_named_by_number
from evenear.audit.report.words import (
    count,
    gap_verdict,
    interval,
    number_of,
    p_value,
    percent,
    signed,
    verdict,
)
from evenear.audit.statistics.comparison import Changes
from evenear.audit.statistics.results import Gaps

__all__ = ["change_cells", "cohort_cells", "kind_cells", "to_text"]

_LEFT = "<"
_RIGHT = ">"


def to_text(report: Report) -> str:
    """The report as lines of text, without colors, ending in a line break."""
    found = report.gaps
    whole = found.overall
    bounds = interval(whole.low, whole.high)
    blocks = [
        [f"{report.headline.title}.", *report.headline.lines],
        [
            f"Overall WER {percent(whole.wer)}{f' ({bounds})' if bounds else ''}: "
            f"{number_of(whole.errors, 'error')} in {number_of(whole.words, 'word')}, "
            f"{number_of(whole.speakers, 'speaker')}.",
            *_split(found),
        ],
        _cohorts(found),
        _kinds(found),
        _small(found),
        _confounds(report),
        _confusions(report),
    ]
    for changes in report.comparisons:
        blocks += [[f"{changes.before} (before), {changes.after} (after):", *_changes(changes)]]
    said: set[str] = set()
    listed = {(row.attribute, row.value) for row in found.rows}
    for finding in report.findings:
        described = finding.descriptions.items() if is_named_by_number(finding.kind) else ()
        lines = [
            f"{name}: {text}." for name, text in described if (finding.attribute, name) in listed
        ]
        fresh = [line for line in (finding.summary, *finding.notes) if line not in said]
        blocks.append([*fresh, *lines])
        said.update(fresh)
    blocks.append([f"{found.formula}."])
    return "\n\n".join("\n".join(lines) for lines in blocks if lines) + "\n"


def _split(found: Gaps) -> list[str]:
    """That these are not all speakers, if they are not."""
    if not found.confirm_fraction:
        return []
    return [
        f"These are {percent(found.confirm_fraction, 0)} of the speakers; cohorts and directions "
        "come from the others."
    ]


def _cohorts(found: Gaps) -> list[str]:
    head, rows, sides = cohort_cells(found)
    lines = _columns(head, rows, sides)
    if any(row.detectable_gap is not None for row in found.rows):
        lines.append("A gap as large as “would show” would be confirmed four times out of five.")
    return lines


def cohort_cells(found: Gaps) -> tuple[list[str], list[list[str]], str]:
    """The measured cohorts as a table of texts: head, rows, and the side that each column keeps."""
    adjusted = any(row.adjusted_ratio is not None for row in found.rows)
    head = ["attribute", "cohort", "speakers", "words", "WER", "interval", "gap", "interval"]
    head += ["would show"]
    sides = _LEFT * 2 + _RIGHT * 7
    if adjusted:
        head += ["adjusted ratio"]
        sides += _RIGHT
    rows = []
    for attribute in found.attributes:
        measured = [row for row in found.of(attribute) if not row.suppressed]
        for row in sorted(measured, key=lambda one: -one.size):
            cells = [
                attribute,
                row.value,
                count(row.speakers),
                count(row.words),
                percent(row.wer),
                interval(row.low, row.high),
                signed(row.gap),
                interval(row.gap_low, row.gap_high, with_sign=True),
                signed(row.detectable_gap, 0),
            ]
            if adjusted:
                ratio = row.adjusted_ratio
                cells.append("–" if ratio is None else f"{ratio:.2f}")
            rows.append([*cells, p_value(row.p_adjusted), verdict(row)])
    return [*head, "p adjusted", "verdict"], rows, sides + _RIGHT + _LEFT


def _kinds(found: Gaps) -> list[str]:
    """Which kinds of errors, cohort by cohort, and what was heard where nobody spoke."""
    head, rows, sides = kind_cells(found)
    lines = _columns(head, rows, sides)
    return ["Errors per word, by kind:", *lines] if lines else []


def kind_cells(found: Gaps) -> tuple[list[str], list[list[str]], str]:
    """Kinds of errors of the measured cohorts, as a table of texts."""
    measured = [row for row in found.rows if not row.suppressed and row.substitutions is not None]
    is_silent = any(row.silent_utterances for row in measured)
    head = ["attribute", "cohort", "substituted", "deleted", "inserted"]
    head += ["heard in speech without words"] if is_silent else []
    rows = []
    for row in measured:
        parts = (row.substitutions, row.deletions, row.insertions)
        cells = [percent((part or 0) / row.words if row.words else None) for part in parts]
        if is_silent:
            utterances = number_of(row.silent_utterances, "utterance")
            cells.append(f"{number_of(row.silent_errors, 'word')} in {utterances}")
        rows.append([row.attribute, row.value, *cells])
    return head, rows, _LEFT * 2 + _RIGHT * (len(head) - 2)


def _small(found: Gaps) -> list[str]:
    lines = [f"No value is known of {name}: nothing can be said." for name in found.without_values]
    for attribute in found.attributes:
        small = [row for row in found.of(attribute) if row.suppressed]
        if small:
            names = ", ".join(f"{row.value} ({row.speakers:,})" for row in small)
            lines.append(f"Too small to measure, {attribute} (speakers): {names}.")
    return lines


def _confounds(report: Report) -> list[str]:
    """What goes with cohorts, beside their gaps, and the gaps within it."""
    lines = []
    for one in report.confounds:
        lines.append(confound_sentence(one))
        strata = strata_sentence(one)
        lines += [f"  {strata}"] if strata else []
    return lines


def _confusions(report: Report) -> list[str]:
    """What is misheard for the cohorts that are confirmed to fare worse."""
    worse = {
        (row.attribute, row.value) for row in report.gaps.rows if row.confirmed and row.size > 0
    }
    return [
        confusion_sentence(one) for one in report.confusions if (one.attribute, one.value) in worse
    ]


def _changes(changes: Changes) -> list[str]:
    return _columns(*change_cells(changes))


def change_cells(changes: Changes) -> tuple[list[str], list[list[str]], str]:
    """Everyone and the measured cohorts under two recognizers, as a table of texts."""
    head = ["attribute", "cohort", "WER before", "WER after", "change", "interval", "gap before"]
    rows = [
        [
            row.attribute,
            row.value,
            percent(row.wer_before),
            percent(row.wer_after),
            signed(row.change),
            interval(row.change_low, row.change_high, with_sign=True),
            signed(row.gap_before),
            signed(row.gap_after),
            p_value(row.p_adjusted),
            verdict(row),
            interval(row.gap_change_low, row.gap_change_high, with_sign=True),
            p_value(row.gap_p_adjusted),
            gap_verdict(row),
        ]
        for row in (changes.overall, *changes.rows)
        if not row.suppressed
    ]
    head += ["gap after", "p adjusted", "verdict", "gap changes by", "p adjusted", "gap verdict"]
    return head, rows, _LEFT * 2 + _RIGHT * 7 + _LEFT + _RIGHT * 2 + _LEFT


def _columns(head: Sequence[str], rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Cells in columns, each aligned to its side; nothing if there are no rows."""
    if not rows:
        return []
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
    return [
        "  ".join(
            f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)
        ).rstrip()
        for row in [head, *rows]
    ]
