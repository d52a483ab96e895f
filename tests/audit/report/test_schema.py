# SPDX-License-Identifier: Apache-2.0
import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from audit.reports import report, rich_report
from evenear.audit.report.schema import (
    SCHEMA_VERSION,
    json_schema,
    parse_document,
    to_document,
    to_json,
)
from evenear.errors import TableError

DOCS = Path(__file__).parents[3] / "docs" / "reference"
PROMISED = {
    "attribute", "value", "speakers", "utterances", "words", "errors", "wer", "low", "high", "gap",
    "gap_low", "gap_high", "p_adjusted", "confirmed",
}  # fmt: skip


def _names(value) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {name for one in value.values() for name in _names(one)}
    return {name for one in value for name in _names(one)} if isinstance(value, list) else set()


def test_what_was_promised_is_there():
    values = json.loads(to_json(report()))
    assert values["schema"] == "evenear.audit"
    assert values["schema_version"] == SCHEMA_VERSION
    assert values["overall"]["words"] == report().gaps.overall.words
    assert all(set(row) >= PROMISED for row in values["cohorts"])


@pytest.mark.parametrize("one", [report, rich_report])
def test_a_report_reads_back_as_itself(one):
    assert parse_document(to_json(one())) == to_document(one())


def test_gaps_are_there_with_all_they_have():
    values = json.loads(to_json(rich_report()))
    expected = json.loads(json.dumps(rich_report().gaps.to_dict()))
    expected.pop("rows", None)
    expected["warnings"] = values["warnings"]
    assert {name: values[name] for name in expected} == expected


def test_the_same_report_is_the_same_text():
    assert to_json(report()) == to_json(report())


def test_numbers_that_json_lacks_become_null():
    first, *others = report().gaps.rows
    rows = (replace(first, gap_high=float("inf"), gap_low=float("nan")), *others)
    one = replace(report(), gaps=replace(report().gaps, rows=rows))
    row = json.loads(to_json(one))["cohorts"][0]
    assert row["gap_high"] is None
    assert row["gap_low"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "must be JSON; line 1"),
        ("[]", "Expected a report"),
        ("{}", "Expected a report"),
        ('{"schema": "evenear.audit", "schema_version": "2.0"}', "version '2.0'"),
        ('{"schema": "evenear.audit", "schema_version": "1.7"}', "'name' is broken"),
    ],
)
def test_what_is_no_report_of_this_version_is_refused(text, message):
    with pytest.raises(TableError) as caught:
        parse_document(text)
    assert message in caught.value.message


def test_a_later_minor_version_with_more_fields_can_be_read():
    values = json.loads(to_json(report()))
    values["schema_version"] = "1.9"
    values["new_field"] = 1
    assert parse_document(json.dumps(values)).cohorts == report().gaps.rows


def test_the_reference_describes_every_field():
    page = (DOCS / "audit-json.md").read_text(encoding="utf-8")
    described = set(re.findall(r"`([a-z_0-9]+)`", page))
    assert _names(json.loads(to_json(rich_report()))) - {"region 1"} - described == set()
    assert f"version {SCHEMA_VERSION}" in page


def test_the_published_json_schema_has_every_field():
    published = json.loads((DOCS / "audit.schema.json").read_text(encoding="utf-8"))
    assert _fields(published) == _fields(json_schema())
    assert set(published["properties"]) == set(asdict(to_document(report())))


def _fields(schema) -> dict[str, list[str]]:
    parts = {"": schema, **schema["$defs"]}
    return {name: sorted(part["properties"]) for name, part in parts.items()}
