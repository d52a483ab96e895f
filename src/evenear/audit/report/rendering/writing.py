# SPDX-License-Identifier: Apache-2.0
"""Write a report to a file, whole or not at all: page, JSON, Markdown or CSV, as its name says."""

from collections.abc import Callable
from pathlib import Path

from evenear.atomic import write_bytes
from evenear.audit.report.contents import Report
from evenear.audit.report.rendering.markdown import to_markdown
from evenear.audit.report.rendering.page import render_page
from evenear.audit.report.schema import to_json
from evenear.errors import ConfigError, TableError

__all__ = ["check_report_path", "write_report", "write_text"]

_WRITERS: dict[str, Callable[[Report], str]] = {
    ".html": render_page,
    ".htm": render_page,
    ".json": to_json,
    ".md": to_markdown,
    ".csv": lambda report: report.gaps.to_frame().write_csv(),
}

_KINDS = (".html", ".json", ".md", ".csv")
"""What a report can be written as."""


def write_report(report: Report, path: str | Path) -> None:
    """Write a page to `.html`, JSON to `.json`, Markdown to `.md`, the cohorts' rows to `.csv`.

    Raises:
        ConfigError: The name has another suffix, or its folder does not exist.
        TableError: The file cannot be written.
    """
    target = check_report_path(path)
    write_text(target, _WRITERS[target.suffix.lower()](report))


def write_text(target: Path, text: str) -> None:
    """Write a report's text to a file that was checked.

    Raises:
        TableError: The file cannot be written.
    """
    try:
        write_bytes(target, text.encode("utf-8", errors="replace"))
    except OSError as error:
        raise TableError(
            f"The report could not be written to {str(target)!r}: {error.strerror or error}.",
            hint="Nothing was left behind. Choose another place.",
        ) from None


def check_report_path(path: str | Path) -> Path:
    """Check the name of a report before the work is done.

    Raises:
        ConfigError: The name has an unknown suffix, has no folder, or is one.
    """
    target = Path(path)
    if target.suffix.lower() not in _WRITERS:
        raise ConfigError(
            f"A report must be named {', '.join(_KINDS[:-1])} or {_KINDS[-1]}, "
            f"got {target.name!r}.",
            hint=f"Name it {target.stem or 'report'}.html.",
        )
    if not target.parent.is_dir():
        raise ConfigError(
            f"There is no folder {str(target.parent)!r} to write the report to.",
            hint="Create it first.",
        )
    if target.is_dir():
        raise ConfigError(
            f"{str(target)!r} is a folder; the report needs the name of a file.",
            hint="Give it another name.",
        )
    return target
