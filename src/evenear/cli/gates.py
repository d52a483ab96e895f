# SPDX-License-Identifier: Apache-2.0
"""Judge the conditions of `--fail-if`, say how close they came, and put it all on a job's page."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenear.cli.console import note
from evenear.errors import ConfigError, TableError

if TYPE_CHECKING:
    from evenear.audit.report import Condition

__all__ = ["any_holds", "append_summary", "summary_file"]

_VARIABLE = "GITHUB_STEP_SUMMARY"


def any_holds(report: Any, conditions: Sequence["Condition"]) -> bool:
    """Say of each condition whether it holds for an audit; return whether any does."""
    judged = [_judged(report, condition) for condition in conditions]
    for _, line in judged:
        note(line)
    return any(holds for holds, _ in judged)


def summary_file() -> Path:
    """The file that a job's page is made of.

    Raises:
        ConfigError: The environment names none.
    """
    path = os.environ.get(_VARIABLE)
    if not path:
        raise ConfigError(
            f"--job-summary needs a job that names its summary in {_VARIABLE}; it is not set.",
            hint="Elsewhere, write --out report.md.",
        )
    return Path(path)


def append_summary(
    markdown: str, report: Any, conditions: Sequence["Condition"], path: Path
) -> None:
    """Append a report's Markdown, and what became of each condition.

    Raises:
        TableError: The file cannot be written.
    """
    lines = [f"- `{line}`" for _, line in (_judged(report, one) for one in conditions)]
    gate = "\n".join(["", "### Gate", "", *lines, ""]) if lines else ""
    try:
        with path.open("a", encoding="utf-8", errors="replace") as file:
            file.write(markdown + gate)
    except OSError as error:
        raise TableError(
            f"The summary could not be written to {str(path)!r}: {error.strerror or error}."
        ) from None


def _judged(report: Any, condition: "Condition") -> tuple[bool, str]:
    """Whether a condition holds, and a line that says so."""
    verdict = condition.judge(report)
    values = ", ".join(f"{name} is {value:.4g}" for name, value in verdict.values)
    close = "; close: " + ", ".join(verdict.close) if verdict.close else ""
    word = "FAILED" if verdict.holds else "passed"
    return verdict.holds, f"{word}: {condition.text} ({values}{close})"
