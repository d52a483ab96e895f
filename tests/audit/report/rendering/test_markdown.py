# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

from audit.reports import report, rich_report
from evenear.audit.report.rendering.markdown import to_markdown


def tables(text: str) -> list[list[list[str]]]:
    """Cells of each table; every row must have as many as its head."""
    found, inside = [], False
    for line in text.split("\n"):
        if line.startswith("|"):
            if not inside:
                found.append([])
            found[-1].append([cell.strip() for cell in line.strip("|").split(" | ")])
        inside = line.startswith("|")
    assert all(len({len(row) for row in rows}) == 1 for rows in found)
    return found


def test_the_finding_and_every_measured_cohort_are_there():
    text = to_markdown(report())
    assert text.startswith(f"## {report().headline.title}.")
    (rows,) = tables(text)
    assert len(rows) == 2 + report().gaps.num_tried
    assert {row[1] for row in rows[2:]} == {row.value for row in report().gaps.rows}


def test_comparisons_have_tables_of_their_own():
    text = to_markdown(rich_report())
    assert "### first (before), second (after)" in text
    assert len(tables(text)) == 2


def test_names_from_the_table_cannot_become_markup():
    rows = tuple(replace(row, value="<b>|[x](y)|*") for row in report().gaps.rows)
    text = to_markdown(replace(report(), gaps=replace(report().gaps, rows=rows)))
    assert "<b>" not in text.replace("\\<b\\>", "")
    assert "[x](y)" not in text
