# SPDX-License-Identifier: Apache-2.0
"""An audit of a speaker verifier as a file: page, JSON, Markdown or CSV, as its name says.

    found = audit_verification(read_trials("scores.csv"), ["gender"])
    write_verification_report(found, "report.html")

Markdown is for the summary of a job or a pull request: the finding, a table with a row for each
group and measure, the same for the changes under a second verifier, and what it does not say.
Names from the table are escaped. CSV has a row for each group.
"""

from pathlib import Path

from evenear.audit.report.rendering.markdown import markdown_table, plain_text
from evenear.audit.report.rendering.writing import check_report_path, write_text
from evenear.audit.report.verification import (
    VERIFICATION_LIMITS,
    measures_of,
    render_verification_page,
    threshold_text,
    verification_headline,
    verification_json,
)
from evenear.audit.report.verificationchanges import change_rows, change_verdict
from evenear.audit.report.words import interval, p_value, percent, points
from evenear.audit.verification.comparison import VerificationChanges
from evenear.audit.verification.grouperrors import VerificationAudit

__all__ = ["verification_markdown", "write_verification_report"]

_GROUP = ("attribute", "group", "speakers", "measure")
_DIFFERENCES = (*_GROUP, "value", "interval", "beside others", "interval", "p adjusted")
_CHANGES = (*_GROUP, "before", "after", "change", "interval", "p adjusted", "confirmed")


def write_verification_report(
    found: VerificationAudit, path: str | Path, changes: VerificationChanges | None = None
) -> None:
    """Write a page to `.html`, JSON to `.json`, Markdown to `.md`, the groups' rows to `.csv`.

    Raises:
        ConfigError: The name has another suffix, or its folder does not exist.
        TableError: The file cannot be written.
    """
    target = check_report_path(path)
    suffix = target.suffix.lower()
    if suffix == ".csv":
        text = found.to_frame().write_csv()
    elif suffix == ".json":
        text = verification_json(found, changes)
    elif suffix == ".md":
        text = verification_markdown(found, changes)
    else:
        text = render_verification_page(found, changes)
    write_text(target, text)


def verification_markdown(
    found: VerificationAudit, changes: VerificationChanges | None = None
) -> str:
    """The audit as Markdown, ending in a line break."""
    said = verification_headline(found, changes)
    small = [f"{row.attribute} “{row.value}”" for row in found.rows if row.suppressed]
    blocks = [
        f"## {plain_text(said.title)}.",
        *(plain_text(line) for line in said.lines),
        markdown_table(_DIFFERENCES, _difference_cells(found), "<<><>>>>>"),
        plain_text(f"Too small to measure: {', '.join(small)}.") if small else "",
    ]
    if changes is not None:
        blocks.append(f"### {plain_text(f'{changes.before} (before), {changes.after} (after)')}")
        blocks.append(markdown_table(_CHANGES, _change_cells(changes), "<<><>>>>><"))
    notes = [*found.warnings, found.formula, f"Shared threshold: {threshold_text(found)}"]
    if changes is not None:
        notes += [line for line in changes.warnings if line not in found.warnings]
        notes.append(changes.formula)
    notes += VERIFICATION_LIMITS
    blocks.append("\n".join(f"- {plain_text(line)}" for line in notes))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _difference_cells(found: VerificationAudit) -> list[list[str]]:
    return [
        [
            row.attribute,
            row.value,
            f"{row.speakers:,}",
            label,
            percent(one.value),
            interval(one.low, one.high),
            points(one.difference),
            f"{points(one.difference_low)} to {points(one.difference_high)}",
            p_value(one.p_adjusted),
        ]
        for row in found.rows
        for label, one in measures_of(row)
    ]


def _change_cells(changes: VerificationChanges) -> list[list[str]]:
    return [
        [
            row.attribute,
            row.value,
            f"{row.speakers:,}",
            label,
            percent(one.before),
            percent(one.after),
            points(one.change),
            f"{points(one.change_low)} to {points(one.change_high)}",
            p_value(one.p_adjusted),
            change_verdict(one, changes.level),
        ]
        for row in (changes.overall, *changes.rows)
        for label, one in change_rows(row)
    ]
