# SPDX-License-Identifier: Apache-2.0
"""A report as Markdown: for the summary of a job, a pull request, a notebook.

    cat report.md >> "$GITHUB_STEP_SUMMARY"

The finding, a table of the cohorts, a table for each comparison, and what it does not say. Names
from the table are escaped, so that they cannot become markup.
"""

from collections.abc import Sequence

from evenear.audit.report.beside import (
    confound_sentence,
    confusion_sentence,
    strata_sentence,
)
from evenear.audit.report.contents import Report
from evenear.audit.report.rendering.text import change_cells, cohort_cells, kind_cells

__all__ = ["markdown_table", "plain_text", "to_markdown"]

_SPECIAL = "\\`*_{}[]<>|#"


def to_markdown(report: Report) -> str:
    """The report as Markdown, ending in a line break."""
    blocks = [
        f"## {plain_text(report.headline.title)}.",
        *(plain_text(line) for line in report.headline.lines),
        markdown_table(*cohort_cells(report.gaps)),
        "\n".join(f"- {plain_text(line)}" for line in _beside(report)),
    ]
    if kinds := markdown_table(*kind_cells(report.gaps)):
        blocks += ["### Errors per word, by kind", kinds]
    for one in report.comparisons:
        blocks += [f"### {plain_text(one.before)} (before), {plain_text(one.after)} (after)"]
        blocks += [markdown_table(*change_cells(one))]
    notes = [
        f"- {plain_text(line)}" for line in (*report.warnings, report.gaps.formula, *report.limits)
    ]
    blocks.append("\n".join(notes))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _beside(report: Report) -> list[str]:
    """What goes with cohorts, and what is misheard for them."""
    lines = []
    for one in report.confounds:
        strata = strata_sentence(one)
        lines.append(confound_sentence(one) + (f" {strata}." if strata else ""))
    return lines + [confusion_sentence(one) for one in report.confusions]


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], sides: str) -> str:
    """A table; `sides` has a letter for each column, ">" where it stands to the right."""
    if not rows:
        return ""
    rule = ["---:" if side == ">" else "---" for side in sides]
    lines = [head, rule, *([plain_text(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain_text(text: str) -> str:
    """Text that Markdown shows as it stands."""
    escaped = "".join("\\" + letter if letter in _SPECIAL else letter for letter in text)
    return " ".join(escaped.split())
