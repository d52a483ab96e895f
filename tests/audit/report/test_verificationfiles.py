# SPDX-License-Identifier: Apache-2.0
"""Reports on verifiers as files: each kind says what the audit found."""

import json
from dataclasses import replace

import polars as pl
import pytest

from audit.verifiedtrials import trials
from evenear.audit.report.verification import (
    measures_of,
    render_verification_page,
    verification_headline,
    verification_json,
)
from evenear.audit.report.verificationfiles import (
    verification_markdown,
    write_verification_report,
)
from evenear.audit.verification.comparison import compare_verification
from evenear.audit.verification.groups import audit_verification
from evenear.errors import ConfigError


@pytest.fixture(scope="module")
def found():
    first, second = trials(0), trials(1, loss=1.0)
    audit = audit_verification(first, ["gender"], num_resamples=120)
    changes = compare_verification(
        first, second, ["gender"], thresholds=(1.0, 1.0), num_resamples=120
    )
    return audit, changes


def test_the_suffix_decides_what_is_written(found, tmp_path):
    texts = {"html": render_verification_page, "json": verification_json}
    for kind, text in {**texts, "md": verification_markdown}.items():
        write_verification_report(found[0], tmp_path / f"r.{kind}", found[1])
        assert (tmp_path / f"r.{kind}").read_text(encoding="utf-8") == text(*found)
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["comparison"] is not None
    write_verification_report(found[0], tmp_path / "r.csv")
    rows = pl.read_csv(tmp_path / "r.csv")
    assert rows["eer"].to_list() == pytest.approx([row.eer.value for row in found[0].rows])
    with pytest.raises(ConfigError, match=r"\.html, .* or \.csv"):
        write_verification_report(found[0], tmp_path / "r.txt")


def test_markdown_has_a_row_for_each_group_and_measure(found):
    text = verification_markdown(found[0])
    assert text.startswith(f"## {verification_headline(found[0]).title}.")
    rows = [line.split(" | ") for line in text.split("\n") if line.startswith("|")]
    assert len(rows) == 2 + sum(len(measures_of(row)) for row in found[0].rows)
    assert {len(row) for row in rows} == {9}


def test_markdown_tells_who_lost_under_the_second_verifier(found):
    text = verification_markdown(*found)
    assert "scores (before), scores (after)" in text
    lost = [line for line in text.split("\n") if line.endswith("got worse and fell behind |")]
    assert [line.split(" | ")[3] for line in lost] == ["EER", "false rejects"]
    assert all("| gender | female |" in line for line in lost)


def test_names_of_groups_cannot_become_markup(found):
    rows = tuple(replace(row, value="<b>|[x](y)") for row in found[0].rows)
    text = verification_markdown(replace(found[0], rows=rows))
    assert "<b>" not in text.replace("\\<b\\>", "")
    assert "[x](y)" not in text


def test_groups_without_numbers_are_named(found):
    small = replace(found[0].rows[0], suppressed=True, eer=None, false_reject=None)
    small = replace(small, false_accept=None, min_dcf=None)
    text = verification_markdown(replace(found[0], rows=(small, *found[0].rows[1:])))
    assert f"Too small to measure: {small.attribute} “{small.value}”." in text
