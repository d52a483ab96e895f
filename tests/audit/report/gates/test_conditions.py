# SPDX-License-Identifier: Apache-2.0
"""Conditions on whatever was audited: values come from outside, sense is made here."""

from types import SimpleNamespace

import pytest

from evenear.audit.report.gates.conditions import (
    Call,
    Condition,
    asked_rows,
    check_names,
    known,
    understand,
)
from evenear.errors import CohortError, ConfigError

ROWS = [
    SimpleNamespace(attribute="age×gender", value="teens×f"),
    SimpleNamespace(attribute="gender", value="f"),
]


def condition(text: str) -> Condition:
    return understand(text, ("size", "depth"), lambda call, found: found[str(call)], example="Try.")


def test_values_are_asked_for_by_name_and_only_where_they_are_needed():
    verdict = condition("size(a) > 10% and not depth() >= 3").judge({"size(a)": 0.5, "depth()": 2})
    assert verdict.holds
    assert verdict.values == (("size(a)", 0.5), ("depth()", 2))
    assert condition("size(a) > 1 or 2 > 1").judge({"size(a)": 0.95}).close == ("size(a)",)


@pytest.mark.parametrize(
    ("text", "said"),
    [("width() > 1", "no function 'width'"), ("size( > 1", "got >"), ("size()", "its end")],
)
def test_what_makes_no_sense_is_refused(text, said):
    with pytest.raises(ConfigError, match=said):
        condition(text)


def test_rows_are_chosen_by_attribute_and_value_and_crossings_may_be_typed_with_a_star():
    assert asked_rows(Call("size", ("age*gender", "teens*f")), ROWS) == ROWS[:1]
    assert asked_rows(Call("size", ()), ROWS) == ROWS
    with pytest.raises(CohortError, match="no value of gender"):
        check_names(Call("size", ("gender", "x")), ROWS, ("x",))
    with pytest.raises(CohortError, match="no cohorts were measured"):
        check_names(Call("size", ("region",)), ROWS, ())


def test_what_nobody_knows_is_an_error():
    assert known(Call("size", ()), [None, 1.0, 3.0]) == 3.0
    with pytest.raises(CohortError, match="cannot say size"):
        known(Call("size", ()), [None])
