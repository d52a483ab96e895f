# SPDX-License-Identifier: Apache-2.0
"""What an audit found, as a page that works offline and as JSON for machines.

    report = audit(table, cohorts_by(table, ["age", "gender"]))
    write_report(report, "report.html")

`AuditSettings` says how to measure, `Finding` what a search for cohorts adds, and
`parse_condition` turns `gap(gender) > 0.1` into a gate.
"""

from evenear.audit.report.auditing import AuditSettings, audit
from evenear.audit.report.contents import Report
from evenear.audit.report.findings import Candidate, Cell, Dot, Finding, Shape
from evenear.audit.report.gates.conditions import Condition, Verdict
from evenear.audit.report.gates.recognizers import parse_condition
from evenear.audit.report.rendering.markdown import to_markdown
from evenear.audit.report.rendering.page import render_page
from evenear.audit.report.rendering.text import to_text
from evenear.audit.report.rendering.writing import write_report
from evenear.audit.report.schema import (
    SCHEMA_VERSION,
    AuditDocument,
    json_schema,
    parse_document,
    to_document,
    to_json,
)
from evenear.audit.report.utterances import WorstUtterance
from evenear.audit.report.words import Headline

__all__ = [
    "SCHEMA_VERSION",
    "AuditDocument",
    "AuditSettings",
    "Candidate",
    "Cell",
    "Condition",
    "Dot",
    "Finding",
    "Headline",
    "Report",
    "Shape",
    "Verdict",
    "WorstUtterance",
    "audit",
    "json_schema",
    "parse_condition",
    "parse_document",
    "render_page",
    "to_document",
    "to_json",
    "to_markdown",
    "to_text",
    "write_report",
]
