# SPDX-License-Identifier: Apache-2.0
"""What all commands say to a person: notes, errors with a hint, progress. All on standard error."""

import importlib
import sys
from types import ModuleType
from typing import NoReturn

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from evenear.errors import EvenearError, MissingDependencyError

__all__ = ["fail", "need", "note", "progress_bar"]


def note(text: str) -> None:
    """Say something on standard error."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(text, markup=False)


def fail(error: EvenearError, *, code: int) -> NoReturn:
    """Say what went wrong and what to do, then exit."""
    note(f"error: {error.message}")
    if error.hint:
        note(f"hint: {error.hint}")
    sys.exit(code)


def need(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional library, or say how to install it.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = error.name or module
        raise MissingDependencyError(
            f"{purpose} needs {missing}, which is not installed.",
            hint=f"pip install 'evenear[{extra}]'",
        ) from error


def progress_bar(unit: str) -> Progress:
    """A bar with a count and the time left; it disappears where standard error is no terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[status]}"),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
