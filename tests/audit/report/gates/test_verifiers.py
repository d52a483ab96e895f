# SPDX-License-Identifier: Apache-2.0
"""Gates of verifiers: every function against the audit it was asked of."""

import pytest

from evenear.audit.report.gates.verifiers import FUNCTIONS, AuditedTrials, parse_trial_condition
from evenear.audit.verification.comparison import (
    GroupChange,
    MeasuredChange,
    VerificationChanges,
)
from evenear.audit.verification.grouperrors import (
    GroupErrors,
    Measured,
    VerificationAudit,
    VerificationSpread,
)
from evenear.errors import CohortError, ConfigError

SIZES = {"speakers": 20, "target_trials": 100, "nontarget_trials": 100}


def measured(value: float, difference: float, p_adjusted: float | None = 0.5) -> Measured:
    low, high = difference - 0.01, difference + 0.01
    return Measured(
        value=value, low=value - 0.01, high=value + 0.01, difference=difference,
        difference_low=low, difference_high=high, p_adjusted=p_adjusted,
    )  # fmt: skip


def group(value: str, eer: float, difference: float, p_adjusted: float = 0.5) -> GroupErrors:
    one = measured(eer, difference, p_adjusted)
    return GroupErrors(
        attribute="gender", value=value, **SIZES, eer=one, min_dcf=measured(0.4, 0.0, None),
        false_reject=measured(0.02, 0.0), false_accept=measured(0.03, 0.0),
        confirmed=p_adjusted <= 0.05,
    )  # fmt: skip


def moved(before: float, after: float) -> MeasuredChange:
    change = after - before
    return MeasuredChange(
        before=before, after=after, change=change, change_low=change - 0.01,
        change_high=change + 0.01, gap_change=change / 2, gap_change_low=0.0, gap_change_high=0.5,
    )  # fmt: skip


def changed(value: str, after: float, *, got_worse: bool = False) -> GroupChange:
    return GroupChange(
        attribute="gender", value=value, **SIZES, eer=moved(0.05, after), min_dcf=moved(0.4, 0.4),
        false_reject=moved(0.02, 0.02), false_accept=moved(0.03, 0.03), got_worse=got_worse,
    )  # fmt: skip


HOW = {"p_target": 0.01, "level": 0.95, "seed": 0, "num_resamples": 500, "min_speakers": 10}
SPREAD = VerificationSpread(
    attribute="gender", groups=2, eer_deviation=0.02, eer_deviation_low=0.0,
    eer_deviation_high=0.04, discrepancy_rate=0.98, discrepancy_rate_low=0.9,
    discrepancy_rate_high=1.0,
)  # fmt: skip
AUDIT = VerificationAudit(
    overall=group("all", 0.05, 0.0), threshold=0.3, threshold_from="given", spreads=(SPREAD,),
    **HOW,
    rows=(group("f", 0.08, 0.04, 0.01), group("m", 0.04, -0.04, 0.01), group("x", 0.09, 0.05)),
)  # fmt: skip
CHANGES = VerificationChanges(
    overall=changed("all", 0.05), rows=(changed("f", 0.09, got_worse=True), changed("m", 0.04)),
    before="a", after="b", threshold_before=0.3, threshold_after=0.3, threshold_from="given", **HOW,
)  # fmt: skip


@pytest.mark.parametrize(
    ("call", "value"),
    [
        ("eer()", 0.05),
        ("eer(gender)", 0.09),
        ("eer(gender, m)", 0.04),
        ("false_reject()", 0.02),
        ("min_dcf(gender)", 0.4),
        ("eer_difference(gender)", 0.05),
        ("eer_difference_low(gender, f)", 0.03),
        ("false_accept_difference_high()", 0.01),
        ("confirmed_difference(gender)", 0.04),
        ("worse(gender)", 1),
        ("worse(gender, m)", 0),
        ("spread(gender)", 0.02),
        ("discrepancy()", 0.02),
        ("eer_after()", 0.05),
        ("eer_after(gender)", 0.09),
        ("eer_change()", 0.0),
        ("eer_change(gender)", 0.04),
        ("eer_change_high(gender, m)", 0.0),
        ("eer_gap_change(gender)", 0.02),
        ("lost()", 1),
        ("lost(gender, m)", 0),
        ("fell_behind(gender)", 0),
    ],
)
def test_a_function_gives_what_the_audit_says(call, value):
    condition = parse_trial_condition(f"{call} > {value - 0.001} and {call} < {value + 0.001}")
    verdict = condition.judge(AuditedTrials(AUDIT, CHANGES))
    assert verdict.values[0][1] == pytest.approx(value)
    assert verdict.holds


def test_a_comparison_that_was_not_made_fails_the_gate():
    with pytest.raises(CohortError, match="second verifier"):
        parse_trial_condition("eer_change() > 0").judge(AuditedTrials(AUDIT))


def test_groups_that_are_not_there_fail_the_gate():
    with pytest.raises(CohortError, match="no cohorts were measured"):
        parse_trial_condition("eer(region) > 0.1").judge(AuditedTrials(AUDIT))
    with pytest.raises(CohortError, match="no value of gender"):
        parse_trial_condition("worse(gender, y) > 0").judge(AuditedTrials(AUDIT))


def test_functions_of_recognizers_are_refused_with_the_nearest_of_verifiers():
    with pytest.raises(ConfigError, match="no function 'wer'") as error:
        parse_trial_condition("wer(gender) > 0.1")
    assert "eer" in (error.value.hint or "")
    assert len(set(FUNCTIONS)) == len(FUNCTIONS)
