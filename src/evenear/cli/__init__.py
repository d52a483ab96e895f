# SPDX-License-Identifier: Apache-2.0
"""The command line: parse, call one function, print.

Data go to standard output, everything else to standard error. Exit codes: 0 done, 1 it could not be
done, 2 the command was not understood. Each command imports what it needs when it runs, so `--help`
is quick and `audit` needs no torch.
"""

import io
import logging
import os
import sys

import typer

from evenear import __version__
from evenear.cli.console import fail, note
from evenear.errors import ConfigError, EvenearError

__all__ = ["app", "main"]

_INTERRUPTED = 130
"""What typer makes of Ctrl-C."""

app = typer.Typer(
    name="evenear",
    help="Streaming speech recognition that hears everyone evenly.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"evenear {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Streaming speech recognition that hears everyone evenly."""
    del version


def _register() -> None:
    from evenear.cli import audit, card, corpora, doctor
    from evenear.cli.recognition import demo, evaluate, listen, transcribe
    from evenear.cli.reproduction import amortized, arw, repairs, reproduce, sts
    from evenear.cli.training import average, mitigate, train
    from evenear.cli.verification import verify

    app.command("demo")(demo.demo)
    app.command("transcribe")(transcribe.transcribe)
    app.command("listen")(listen.listen)
    app.command("train")(train.train)
    app.command("average")(average.average)
    app.command("mitigate")(mitigate.mitigate)
    app.command("evaluate")(evaluate.evaluate)
    app.command("card")(card.card)
    app.command("audit")(audit.audit)
    app.command("verify")(verify.verify)
    app.command("enroll")(verify.enroll)
    app.command("calibrate")(verify.calibrate)
    app.command("embed")(verify.embed)
    app.add_typer(corpora.app, name="data")
    reproduce.app.command("amortized")(amortized.amortized)
    reproduce.app.command("arw")(arw.arw)
    reproduce.app.command("sts")(sts.sts)
    reproduce.app.command("geography")(repairs.geography)
    reproduce.app.command("cohorts")(repairs.cohorts)
    app.add_typer(reproduce.app, name="reproduce")
    app.command("doctor")(doctor.doctor)


_register()


def main() -> None:
    """Run the command line and exit with 0, 1 or 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what the terminal cannot show is spelled out
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        try:
            app(prog_name="evenear")
        finally:
            sys.stdout.flush()  # here, where what goes wrong can still be said
    except ConfigError as error:
        fail(error, code=2)
    except EvenearError as error:
        fail(error, code=1)
    except KeyboardInterrupt:  # while nothing of the command ran that would have caught it
        note("Interrupted.")
        sys.exit(1)
    except SystemExit as done:
        if done.code == _INTERRUPTED:
            note("Interrupted.")
            sys.exit(1)
        raise
    except BrokenPipeError:  # whoever read the output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        what = error.filename or "The output"
        note(f"error: {what} cannot be read or written: {error.strerror or error}.")
        sys.exit(1)
