# SPDX-License-Identifier: Apache-2.0
"""`evenear transcribe`: files in, text or subtitles out."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from evenear.cli.console import need, note, progress_bar
from evenear.errors import ConfigError, EvenearError, nearest_names
from evenear.transcripts import FORMATS, Segment, format_transcript, write_transcript

__all__ = ["transcribe"]

_SUFFIXES = {"text": ".txt", "seglst": ".seglst.json"}


def transcribe(
    files: Annotated[list[Path], typer.Argument(help="Sound files: WAV, FLAC, OGG, MP3, Opus.")],
    model: Annotated[str, typer.Option(help="A model's folder or name.")] = "evenear-en-small",
    form: Annotated[str, typer.Option("--format", help="One of: " + ", ".join(FORMATS))] = "text",
    out: Annotated[
        Path | None, typer.Option(help="Write a file for each input into this folder.")
    ] = None,
    beam: Annotated[
        int | None, typer.Option(min=1, help="Width of the search; 1 is greedy.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads to compute with.")] = None,
) -> None:
    """Write down what is said in sound files."""
    if form not in FORMATS:
        raise ConfigError(f"There is no format {form!r}.", hint=nearest_names(form, FORMATS))
    need("torch", extra="asr", purpose="Recognizing speech")
    from evenear.streaming import Recognizer

    recognizer = Recognizer.load(model, beam=beam, threads=threads)
    failed = False
    with progress_bar("files") as bar:
        task = bar.add_task("Transcribing", total=len(files), status="")
        for path in files:
            bar.update(task, status=path.name)
            try:
                _give(recognizer.transcribe(path), path, form, out, alone=len(files) == 1)
            except EvenearError as error:
                failed = True
                note(f"error: {error.message}")
                if error.hint:
                    note(f"hint: {error.hint}")
            bar.advance(task)
    if failed:
        sys.exit(1)


def _give(segments: list[Segment], path: Path, form: str, out: Path | None, *, alone: bool) -> None:
    """Print one file's transcript, or write it beside the others."""
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        target = out / (path.stem + _SUFFIXES.get(form, f".{form}"))
        write_transcript(segments, target, form)
        note(f"{path} -> {target}")
    elif form == "text" and not alone:
        typer.echo(f"{path}\t{' '.join(segment.text for segment in segments)}")
    else:
        sys.stdout.write(format_transcript(segments, form))
        if not segments:
            note(f"{path}: no speech was recognized.")
