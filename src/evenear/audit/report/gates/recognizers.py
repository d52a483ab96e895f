# SPDX-License-Identifier: Apache-2.0
"""A condition on an audit, for a continuous-integration gate: `gap(gender) > 0.1`.

Conditions are written as `conditions` says. Of a recognizer's audit they may ask for:

    gap, gap_low, gap_high       relative gap, and the bounds of its interval
    confirmed_gap                relative gap where confirmed, else 0
    wer                          word error rate; wer() is that of everyone
    ratio                        adjusted ratio
    spread                       standard deviation of WER between cohorts, noise taken out
    worse                        number of cohorts confirmed to fare worse
    wer_after, gap_after         under the second recognizer
    change, change_high          relative change of errors, its upper bound; change() is everyone's
    lost                         number of cohorts confirmed to get worse
    gap_change, gap_change_high  relative change of a gap, its upper bound
    fell_behind                  number of cohorts whose gap is confirmed to grow

A gap to no errors, and a change from none, is infinite, and so is an upper bound of a change that
is not known. With more than two recognizers, the largest over all that are compared with the first
counts.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from evenear.audit.report.contents import Report
from evenear.audit.report.gates.conditions import (
    Call,
    Condition,
    asked_rows,
    check_names,
    is_asked,
    known,
    understand,
)
from evenear.audit.statistics.comparison import Change
from evenear.audit.statistics.results import Gap
from evenear.errors import CohortError

__all__ = ["FUNCTIONS", "parse_condition"]

FUNCTIONS = (
    "change", "change_high", "confirmed_gap", "fell_behind", "gap", "gap_after", "gap_change",
    "gap_change_high", "gap_high", "gap_low", "lost", "ratio", "spread", "wer", "wer_after",
    "worse",
)  # fmt: skip
"""What a condition may ask for."""

_OF_CHANGES = (
    "wer_after", "gap_after", "change", "change_high", "lost", "gap_change", "gap_change_high",
    "fell_behind",
)  # fmt: skip

_EXAMPLE = "Write it like gap(gender) > 0.1 or confirmed_gap() > 10%."


def parse_condition(text: str) -> Condition:
    """Understand a condition on the audit of a recognizer.

    Raises:
        ConfigError: It is not one; the message says where it stops making sense.
    """
    return understand(text, FUNCTIONS, _value, example=_EXAMPLE)


def _value(call: Call, report: Report) -> float:
    name = call.name
    if name == "wer" and not call.arguments:
        return known(call, [report.gaps.overall.wer])
    if name == "spread":
        check_names(call, report.gaps.rows, ())
        spreads = [row for row in report.gaps.spreads if is_asked(call, 0, row.attribute)]
        return known(call, [row.standard_deviation for row in spreads])
    if name in _OF_CHANGES:
        return _of_changes(call, report)
    rows = [row for row in _chosen(call, report.gaps.rows) if not row.suppressed]
    if name == "gap":
        return known(call, [row.size if row.base_wer is not None else None for row in rows])
    if name in ("worse", "confirmed_gap"):
        _check_tested(call, rows)
    if name == "gap_low":
        _check_tested(call, [replace(row, confirmed=None) for row in rows if row.gap_low is None])
    if name == "gap_high":
        return known(call, [_gap_high(row) for row in rows])
    if name == "worse":
        known(call, [row.wer for row in rows])
        return float(sum(bool(row.confirmed) and row.size > 0.0 for row in rows))
    if name == "confirmed_gap":
        return known(call, [row.size if row.confirmed else 0.0 for row in rows])
    field = "adjusted_ratio" if name == "ratio" else name
    return known(call, [getattr(row, field) for row in rows])


def _of_changes(call: Call, report: Report) -> float:
    if not report.comparisons:
        raise CohortError(
            f"{call} needs the results of a second recognizer.", hint="Give it with --compare."
        )
    if not call.arguments and call.name in ("change", "change_high", "wer_after"):
        rows = [one.overall for one in report.comparisons]
    else:
        every = [row for one in report.comparisons for row in one.rows]
        rows = [row for row in _chosen(call, every) if not row.suppressed]
    if call.name == "change":
        return known(call, [row.size for row in rows])
    if call.name == "gap_after":
        return known(call, [_gap_after(row) for row in rows])
    if call.name == "change_high":
        highs = [row.change_high for row in rows]
        return known(call, [math.inf if high is None else high for high in highs])
    if call.name == "lost":
        known(call, [row.wer_after for row in rows])
        return float(sum(bool(row.confirmed) and row.size > 0.0 for row in rows))
    if call.name == "fell_behind":
        known(call, [None if row.gap_confirmed is None else 0.0 for row in rows])
        return float(sum(bool(row.gap_confirmed) and row.gap_size > 0.0 for row in rows))
    if call.name == "gap_change":
        return known(call, [row.gap_size if row.wer_after is not None else None for row in rows])
    if call.name == "gap_change_high":
        highs = [row.gap_change_high for row in rows]
        return known(call, [math.inf if high is None else high for high in highs])
    return known(call, [getattr(row, call.name) for row in rows])


def _gap_high(row: Gap) -> float | None:
    """The upper bound of a gap; infinite where only this cohort has errors."""
    return math.inf if math.isinf(row.size) else row.gap_high


def _gap_after(row: Change) -> float | None:
    """The gap under the second recognizer; infinite where its rest lost its last error."""
    is_alone = row.gap_after is None and row.gap_before is not None and row.wer_after
    return math.inf if is_alone else row.gap_after


def _chosen(call: Call, rows: Sequence[Gap] | Sequence[Change]) -> list:
    check_names(call, rows, call.arguments[1:])
    return asked_rows(call, rows)


def _check_tested(call: Call, rows: Sequence[Gap]) -> None:
    for row in rows:
        if row.confirmed is None and row.size > 0.0:
            raise CohortError(
                f"This audit cannot say {call}: {row.attribute} {row.value!r} has a WER of "
                f"{100.0 * (row.wer or 0.0):.1f} %, and its gap cannot be tested: it takes two "
                "speakers on either side.",
                hint="Ask for wer() or gap() of it instead; a gap to no errors is infinite.",
            )
