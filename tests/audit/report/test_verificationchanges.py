# SPDX-License-Identifier: Apache-2.0
"""A comparison of verifiers in words, in text, JSON and page."""

import json
from dataclasses import replace

import pytest

from audit.verifiedtrials import trials
from evenear.audit.report.verification import (
    render_verification_page,
    verification_json,
    verification_text,
)
from evenear.audit.report.verificationchanges import (
    change_lines,
    change_rows,
    change_summary,
    change_verdict,
)
from evenear.audit.verification.comparison import compare_verification
from evenear.audit.verification.groups import audit_verification


@pytest.fixture(scope="module")
def found():
    first, second = trials(0), trials(1, loss=1.0)
    audit = audit_verification(first, ["gender"], num_resamples=120)
    changes = compare_verification(
        first, second, ["gender"], thresholds=(1.0, 1.0), num_resamples=120
    )
    return audit, changes


def test_the_summary_names_who_lost_and_who_fell_behind(found):
    summary = " ".join(change_summary(found[1]))
    assert "Confirmed to get worse: gender “female” (EER, false rejects)." in summary
    assert "Confirmed to fall behind the others: gender “female” (EER, " in summary


def test_every_group_has_a_line_with_three_measures(found):
    lines = change_lines(found[1])
    assert len(lines) == 5
    assert all(line.count("change ") == 3 for line in lines[1:4])
    assert lines[2].endswith(", false rejects got worse and fell behind")
    assert [label for label, _ in change_rows(found[1].rows[0])] == [
        "EER", "false rejects", "false accepts",
    ]  # fmt: skip


def test_a_verdict_is_that_of_its_own_measure(found):
    rose = found[1].rows[0].false_reject
    assert change_verdict(rose, 0.95) == "got worse and fell behind"
    fell = replace(rose, change=-0.1, gap_change=-0.1)
    assert change_verdict(fell, 0.95) == "got better"
    unsure = replace(rose, p_adjusted=0.06, gap_p_adjusted=None)
    assert change_verdict(unsure, 0.95) == ""
    row = replace(found[1].rows[0], eer=fell, false_accept=unsure)
    changes = replace(found[1], rows=(row, found[1].rows[1]))
    assert "gender “female” (false rejects)." in " ".join(change_summary(changes))
    assert change_lines(changes)[2].endswith(
        "— confirmed: EER got better, false rejects got worse and fell behind"
    )
    assert render_verification_page(found[0], changes).count("got worse and fell behind") == 1


def test_text_json_and_page_tell_of_the_comparison_only_if_there_is_one(found):
    audit, changes = found
    assert "gender “female”" in verification_text(audit, changes).split("(after):")[1]
    assert "(after):" not in verification_text(audit)
    assert json.loads(verification_json(audit, changes))["comparison"]["after"] == "scores"
    assert json.loads(verification_json(audit))["comparison"] is None
    assert 'id="changes"' in render_verification_page(audit, changes)
    assert 'id="changes"' not in render_verification_page(audit)
