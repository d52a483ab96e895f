# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import pytest

from audit.reports import report
from evenear.audit.report import parse_condition
from evenear.audit.report.gates.conditions import Condition, understand
from evenear.cli.gates import any_holds, append_summary, summary_file
from evenear.errors import ConfigError, TableError


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


def test_a_jobs_page_gets_the_report_and_the_gate_behind_what_is_there(tmp_path, monkeypatch):
    page = tmp_path / "summary"
    page.write_text("# Build\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    conditions = [parse_condition("worse(gender) > 0")]
    append_summary("## A report\n", report(), conditions, summary_file())
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Build\n## A report\n")
    assert text.endswith("- `FAILED: worse(gender) > 0 (worse(gender) is 1)`\n")


def test_without_a_job_there_is_no_page(tmp_path, monkeypatch):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    with pytest.raises(ConfigError, match="GITHUB_STEP_SUMMARY"):
        summary_file()
    with pytest.raises(TableError, match="could not be written"):
        append_summary("", report(), [], tmp_path / "no" / "where")
