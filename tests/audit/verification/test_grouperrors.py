# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json

import pytest

from evenear.audit.verification.grouperrors import (
    GroupErrors,
    Measured,
    VerificationAudit,
    VerificationSpread,
)


def made_up():
    one = Measured(
        value=0.1, low=0.08, high=0.12, difference=0.02, difference_low=-0.01, difference_high=0.05
    )
    row = GroupErrors(
        attribute="room", value="far", speakers=20, target_trials=90, nontarget_trials=800, eer=one
    )
    spread = VerificationSpread(
        attribute="room", groups=2, eer_deviation=0.01, eer_deviation_low=0.0,
        eer_deviation_high=0.02, discrepancy_rate=0.97, discrepancy_rate_low=0.95,
        discrepancy_rate_high=0.99,
    )  # fmt: skip
    return VerificationAudit(
        overall=row, rows=(row,), spreads=(spread,), threshold=0.5, threshold_from="given",
        p_target=0.01, level=0.95, seed=0, num_resamples=100, min_speakers=10,
    )  # fmt: skip


def test_plain_values_hold_everything_with_the_cohorts_first():
    values = json.loads(json.dumps(made_up().to_dict()))
    assert list(values)[:2] == ["overall", "cohorts"]
    names = {field.name for field in dataclasses.fields(VerificationAudit)} - {"rows"}
    assert set(values) == names | {"cohorts", "formula"}
    (row,) = values["cohorts"]
    assert row["eer"]["difference_high"] == 0.05
    assert row["false_reject"] is None
    assert not row["confirmed"]
    assert values["spreads"][0]["discrepancy_rate"] == 0.97


def test_the_formula_of_differences_is_said():
    assert made_up().formula.startswith("difference = rate(group) - rate(others)")


def test_an_audit_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        made_up().rows = ()  # pyright: ignore


def test_groups_are_a_frame_and_show_themselves_in_a_notebook():
    frame = made_up().to_frame()
    assert frame["eer"].to_list() == [0.1]
    assert frame["eer_difference_low"].to_list() == [-0.01]
    assert frame["false_reject"].to_list() == [None]
    assert "far" in made_up()._repr_html_()
    assert dataclasses.replace(made_up(), rows=())._repr_html_() == ""
