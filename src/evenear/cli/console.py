# SPDX-License-Identifier: Apache-2.0
"""What all commands say to a person: notes, errors with a hint, progress. All on standard error.

And what they check before long work begins: that what is to be read is there, and that what is to
be written can be.
"""

import difflib
import gc
import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, NoReturn

from evenear.errors import EvenearError, ManifestError, MissingDependencyError

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = [
    "complain",
    "expect_file_to_write",
    "expect_folder_to_write",
    "expect_to_read",
    "fail",
    "interrupts",
    "need",
    "note",
    "progress_bar",
]


def note(text: str) -> None:
    """Say something on standard error, letter for letter."""
    from rich.console import Console

    Console(stderr=True, highlight=False, soft_wrap=True, emoji=False).print(text, markup=False)


def complain(error: EvenearError) -> None:
    """Say what went wrong and what to do."""
    note(f"error: {error.message}")
    if error.hint:
        note(f"hint: {error.hint}")


def fail(error: EvenearError, *, code: int) -> NoReturn:
    """Say what went wrong and what to do, then exit."""
    complain(error)
    sys.exit(code)


def expect_to_read(path: Path) -> None:
    """Refuse a manifest or corpus that is not there, naming the nearest one that is.

    Raises:
        ManifestError: Nothing has this path.
    """
    if path.exists():
        return
    missing = path
    while not missing.parent.exists():
        missing = missing.parent
    place = missing.parent
    if not place.is_dir():
        raise ManifestError(f"There is no {path}: {place} is a file, not a folder.")
    names = sorted(child.name for child in place.iterdir() if not child.name.startswith("."))
    near = difflib.get_close_matches(missing.name, names, n=1, cutoff=0.0)
    known = f"The nearest that is there: {place / near[0]}" if near else f"{place} is empty."
    raise ManifestError(f"There is no {path}.", hint=known)


def expect_file_to_write(path: Path) -> None:
    """Refuse a file that could not be written, before the work and not after it.

    Raises:
        EvenearError: It is a folder, or its folder cannot be made or written to.
    """
    if path.is_dir():
        raise EvenearError(
            f"{path} must be a file to write, but it is a folder.",
            hint=f"Name a file in it: {path / 'results.jsonl'}",
        )
    expect_folder_to_write(path.parent)


def expect_folder_to_write(folder: Path) -> None:
    """Make a folder if need be; refuse one that could not be written to.

    Raises:
        EvenearError: It is a file, or cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise EvenearError(
            f"{folder} must be a folder to write to, but it is a file.", hint="Choose another name."
        ) from None
    except OSError as error:
        raise EvenearError(
            f"The folder {folder} cannot be made: {error.strerror}.", hint="Choose another place."
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise EvenearError(
            f"The folder {folder} must be one that you may write to.",
            hint="Change its permissions, or choose another.",
        )


def need(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional library, or say how to install it.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        return _imported(module)
    except ImportError as error:
        missing = error.name or module
        raise MissingDependencyError(
            f"{purpose} needs {missing}, which is not installed.",
            hint=f"pip install 'evenear[{extra}]'",
        ) from error


def _imported(module: str) -> ModuleType:
    """A module, imported without looking for garbage meanwhile: a large library makes none.

    What it made stays until the end, and is not looked through again. That saves `import torch` a
    fifth of its time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        found = importlib.import_module(module)
        gc.freeze()
    finally:
        if was_on:
            gc.enable()
    return found


@contextmanager
def interrupts(said: str) -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C, or a polite kill, only be noticed: such work is not cut off anywhere.

    Args:
        said: What is said when that happens. A second one ends everything at once.

    Yields:
        Whether it has happened.
    """
    noticed: list[int] = []

    def notice(number: int, frame: FrameType | None) -> None:
        if noticed:
            signal.default_int_handler(number, frame)
        noticed.append(number)
        note(said)

    before = [(number, signal.signal(number, notice)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield lambda: bool(noticed)
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def progress_bar(unit: str) -> "Progress":
    """A bar with a count and the time left; it disappears where standard error is no terminal.

    What is printed meanwhile goes where it should: above the bar if that is the same terminal.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[status]}", markup=False),
        console=console,
        disable=not console.is_terminal,
        redirect_stdout=sys.stdout.isatty(),
        transient=True,
    )
