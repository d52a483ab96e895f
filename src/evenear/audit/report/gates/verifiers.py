# SPDX-License-Identifier: Apache-2.0
"""A condition on the audit of a speaker verifier: `eer_difference(gender) > 0.02`.

Conditions are written as `conditions` says. MEASURE is eer, min_dcf, false_reject or false_accept;
differences and changes are absolute, so that 0.02 is 2 points:

    MEASURE                              of a group; MEASURE() is that of everyone
    MEASURE_difference, … _low, … _high  group less others, and the bounds of its interval
    confirmed_difference                 the largest difference in EER, false rejects or false
                                         accepts that is confirmed, else 0
    worse                                number of groups confirmed to fare worse in one of them
    spread                               standard deviation of EER between the groups
    discrepancy                          1 - fairness discrepancy rate at the shared threshold
    MEASURE_after                        under the second verifier
    MEASURE_change, MEASURE_change_high  after less before; MEASURE_change() is everyone's
    MEASURE_gap_change, … _high          change of the group less that of the others
    lost, fell_behind                    number of groups confirmed to get worse, on their own or
                                         against the others

Of several groups the largest counts.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from evenear.audit.report.gates.conditions import (
    Call,
    Condition,
    asked_rows,
    check_names,
    known,
    understand,
)
from evenear.audit.verification.comparison import VerificationChanges
from evenear.audit.verification.grouperrors import GroupErrors, VerificationAudit
from evenear.errors import CohortError

__all__ = ["FUNCTIONS", "AuditedTrials", "parse_trial_condition"]

_MEASURES = ("eer", "min_dcf", "false_reject", "false_accept")
_TESTED = ("eer", "false_reject", "false_accept")
_OF_CHANGES = ("after", "change", "change_high", "gap_change", "gap_change_high")
_OF_GROUPS = ("difference", "difference_low", "difference_high")

FUNCTIONS = (
    *_MEASURES,
    *(f"{measure}_{part}" for measure in _MEASURES for part in (*_OF_GROUPS, *_OF_CHANGES)),
    "confirmed_difference",
    "discrepancy",
    "fell_behind",
    "lost",
    "spread",
    "worse",
)
"""What a condition may ask for."""

_EXAMPLE = "Write it like eer_difference(gender) > 0.02 or false_reject() > 5%."


class AuditedTrials(NamedTuple):
    """The audit of one verifier, and its comparison with a second if there is one."""

    audit: VerificationAudit
    changes: VerificationChanges | None = None


def parse_trial_condition(text: str) -> Condition:
    """Understand a condition on an `AuditedTrials`.

    Raises:
        ConfigError: It is not one; the message says where it stops making sense.
    """
    return understand(text, FUNCTIONS, _value, example=_EXAMPLE)


def _value(call: Call, found: AuditedTrials) -> float:
    measure, part = _parts(call.name)
    if call.name in ("lost", "fell_behind") or part in _OF_CHANGES:
        return _of_changes(call, found.changes, measure, part)
    audit = found.audit
    if call.name in ("spread", "discrepancy"):
        check_names(call, audit.rows, ())
        spreads = [one for one in audit.spreads if call.arguments[:1] in ((), (one.attribute,))]
        if call.name == "spread":
            return known(call, [one.eer_deviation for one in spreads])
        return known(call, [1.0 - one.discrepancy_rate for one in spreads])
    rows: Sequence[GroupErrors] = [audit.overall]
    if call.arguments or part or not measure:
        check_names(call, audit.rows, call.arguments[1:])
        rows = [row for row in asked_rows(call, audit.rows) if not row.suppressed]
    if call.name in ("worse", "confirmed_difference"):
        sure = [_confirmed(row, audit.level) for row in rows]
        known(call, sure)
        return float(sum(one > 0.0 for one in sure)) if call.name == "worse" else max(sure)
    return known(call, _fields(rows, measure, part or "value"))


def _of_changes(call: Call, changes: VerificationChanges | None, measure: str, part: str) -> float:
    if changes is None:
        raise CohortError(
            f"{call} needs the trials of a second verifier.", hint="Give them with --compare."
        )
    if not call.arguments and part in ("after", "change", "change_high"):
        return known(call, _fields([changes.overall], measure, part))
    check_names(call, changes.rows, call.arguments[1:])
    rows = [row for row in asked_rows(call, changes.rows) if not row.suppressed]
    if call.name in ("lost", "fell_behind"):
        name = "got_worse" if call.name == "lost" else "fell_behind"
        known(call, [0.0 for _ in rows])
        return float(sum(getattr(row, name) for row in rows))
    return known(call, _fields(rows, measure, part))


def _parts(name: str) -> tuple[str, str]:
    """A measure and what is asked of it; two empty names where none is."""
    for measure in _MEASURES:
        if name == measure or name.startswith(f"{measure}_"):
            return measure, name[len(measure) + 1 :]
    return "", ""


def _fields(rows: Sequence[Any], measure: str, part: str) -> list[float | None]:
    measured = [getattr(row, measure) for row in rows]
    return [None if one is None else getattr(one, part) for one in measured]


def _confirmed(row: GroupErrors, level: float) -> float:
    """The largest difference against a group that is confirmed; 0 if none is."""
    differences = [0.0]
    for name in _TESTED:
        one = getattr(row, name)
        if one is not None and one.p_adjusted is not None and one.p_adjusted <= 1.0 - level:
            differences.append(one.difference)
    return max(differences)
