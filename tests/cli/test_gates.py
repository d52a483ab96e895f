# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

from evenear.audit.report.gates.conditions import Condition, understand
from evenear.cli.gates import any_holds


def condition(text: str) -> Condition:
    return understand(text, ("size",), lambda call, found: found.sizes[str(call)], example="Try.")


def test_each_condition_is_told_with_its_values_and_how_close_they_came(capsys):
    found = SimpleNamespace(sizes={"size()": 0.095, "size(a)": 3.0})
    assert any_holds(found, [condition("size() > 10%"), condition("size(a) > 1")])
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "passed: size() > 10% (size() is 0.095; close: size())"
    assert lines[1] == "FAILED: size(a) > 1 (size(a) is 3)"
    assert not any_holds(found, [condition("size() > 10%")])
    assert not any_holds(found, [])
