# SPDX-License-Identifier: Apache-2.0
"""The command line as a whole: its help, its exit codes, and where it says what."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evenear import __version__, cli
from evenear.errors import AudioError, CohortError, ConfigError, MissingDependencyError

COMMANDS = ["demo", "transcribe", "listen", "train", "evaluate", "audit", "data", "doctor"]


def test_help_names_every_command(evenear):
    done = evenear("--help")
    assert (done.code, done.err) == (0, "")
    assert all(f"\n  {command} " in done.out for command in COMMANDS)


@pytest.mark.parametrize("command", [*COMMANDS, "data import", "data validate"])
def test_every_command_has_help(evenear, command):
    done = evenear(*command.split(), "--help")
    assert (done.code, done.err) == (0, "")
    assert f"Usage: evenear {command}" in done.out


def test_the_version_is_printed(evenear):
    assert evenear("--version").out == f"evenear {__version__}\n"


@pytest.mark.parametrize("arguments", [["transcrib"], ["--quiet"], ["audit"], ["train", "tiny"]])
def test_what_is_not_understood_exits_with_2_and_says_so_on_standard_error(evenear, arguments):
    done = evenear(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "Usage: " in done.err


@pytest.fixture
def failing(evenear, monkeypatch):
    """A command that ends in this error."""

    def call(error: BaseException):
        def fail() -> None:
            print("half a line")
            raise error

        app = cli.typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
        app.callback()(lambda: None)
        app.command("fail")(fail)
        monkeypatch.setattr(cli, "app", app)
        return evenear("fail")

    return call


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("No."), 2),
        (AudioError("No."), 1),
        (CohortError("No."), 1),
        (MissingDependencyError("No."), 1),
    ],
)
def test_mistakes_have_their_codes(failing, error, code):
    assert failing(error) == (code, "half a line\n", "error: No.\n")


def test_a_hint_has_a_line_of_its_own(failing):
    assert failing(AudioError("No.", hint="Do.")).err == "error: No.\nhint: Do.\n"


def test_ctrl_c_exits_with_1(failing):
    assert failing(KeyboardInterrupt()) == (1, "half a line\n", "Interrupted.\n")


def test_what_the_system_refuses_is_said_in_one_line(failing):
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "rows.jsonl")
    done = failing(error)
    assert done.code == 1
    assert done.err == "error: rows.jsonl cannot be read or written: No space left on device.\n"


def test_a_defect_of_ours_is_not_dressed_up_as_a_mistake_of_the_user(monkeypatch):
    def fail() -> None:
        raise ZeroDivisionError

    app = cli.typer.Typer(pretty_exceptions_enable=False)
    app.command()(fail)
    monkeypatch.setattr(cli, "app", app)
    monkeypatch.setattr(sys, "argv", ["evenear"])
    with pytest.raises(ZeroDivisionError):
        cli.main()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk that is always full")
def test_output_to_a_full_disk_is_an_error():
    command = [sys.executable, "-m", "evenear", "--help"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: The output cannot be read or written: No space left on device.\n"


def test_help_starts_no_torch():
    program = (
        "import sys\n"
        "from evenear.cli import main\n"
        "sys.argv = ['evenear', '--help']\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    heavy = {'torch', 'lhotse', 'polars', 'soundfile'} & set(sys.modules)\n"
        "    assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
