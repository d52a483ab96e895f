# SPDX-License-Identifier: Apache-2.0
"""`evenear transcribe`: files in, text or subtitles out."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evenear.cli.console import (
    complain,
    expect_file_to_write,
    expect_folder_to_write,
    need,
    note,
    progress_bar,
)
from evenear.cli.recognition.inputs import Input, find_inputs
from evenear.cli.recognition.searching import NAMES_HELP, SEARCH_HELP, load_recognizer
from evenear.errors import ConfigError, EvenearError, nearest_names
from evenear.shipped import DEFAULT_RECOGNIZER
from evenear.transcripts import FORMATS, Segment, format_transcript, write_transcript

if TYPE_CHECKING:
    from evenear.streaming import Recognizer

__all__ = ["transcribe"]

_SUFFIXES = {"text": ".txt", "seglst": ".seglst.json"}
_ONE_RECORDING = ("srt", "vtt")
"""Formats that do not say which recording a line belongs to."""


def transcribe(
    files: Annotated[
        list[Path],
        typer.Argument(help="WAV, FLAC, OGG, MP3, Opus, …; folders of them; - is standard input."),
    ],
    model: Annotated[str, typer.Option(help="A model's folder or name.")] = DEFAULT_RECOGNIZER,
    form: Annotated[str, typer.Option("--format", help="One of: " + ", ".join(FORMATS))] = "text",
    out: Annotated[
        Path | None, typer.Option(help="Write a file for each input into this folder.")
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Look into folders within folders.")
    ] = False,
    channel: Annotated[
        str | None,
        typer.Option(help="Hear one channel, from 1, or 'each': a transcript of each channel."),
    ] = None,
    raw_rate: Annotated[
        int | None,
        typer.Option(min=1000, help="Standard input is raw 16-bit mono samples of this rate."),
    ] = None,
    search: Annotated[str | None, typer.Option(help=SEARCH_HELP)] = None,
    beam: Annotated[
        int | None, typer.Option(min=1, help="Width of the search; 1 alone is greedy.")
    ] = None,
    names: Annotated[Path | None, typer.Option(help=NAMES_HELP)] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads to compute with.")] = None,
    two_talkers: Annotated[
        bool, typer.Option("--two-talkers", help="Hear two people who may talk at once.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(help="With --two-talkers: also write a page of the turns.")
    ] = None,
    compute: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of the encoder's computation to ask for; 1 makes words final soonest. "
            "Default: for files the longest windows, for standard input 1.",
        ),
    ] = None,
    explain: Annotated[
        Path | None,
        typer.Option(help="Of one file: also write a page of what of the encoder ran when."),
    ] = None,
) -> None:
    """Write down what is said in sound files."""
    inputs = find_inputs(files, recursive=recursive, channel=channel, raw_rate=raw_rate)
    _check(inputs, form, out)
    if explain is not None:
        _check_explained(inputs, explain, two_talkers=two_talkers)
    if two_talkers and names is not None:
        raise ConfigError(
            "More words are for one talker.", hint="Leave --names or --two-talkers out."
        )
    if two_talkers:
        from evenear.cli.recognition.duo import DEFAULT_DUO, transcribe_two_talkers

        chosen = DEFAULT_DUO if model == DEFAULT_RECOGNIZER else model
        paths = [one.path for one in inputs]
        transcribe_two_talkers(paths, chosen, form, out, html=html, threads=threads)
        return
    if html is not None:
        raise ConfigError("A page is made of two channels.", hint="Add --two-talkers.")
    need("torch", extra="asr", purpose="Recognizing speech")
    from evenear.streaming.dial import unhurried_share

    share = 1.0 if compute is None else compute
    recognizer = load_recognizer(
        model, search=search, beam=beam, threads=threads, compute=share, names=names
    )
    if compute is None and not any(one.is_standard_input for one in inputs):
        # Nobody waits for the words of a recording.
        recognizer.compute = unhurried_share(recognizer.model.encoder)
    given: list[list[Segment]] = []
    failed = False
    with progress_bar("files") as bar:
        task = bar.add_task("Transcribing", total=len(inputs), status="")
        live = form == "text" and out is None and len(inputs) == 1
        for one in inputs:
            segments, error = _hear(
                recognizer, one, live=live, say=lambda where: bar.update(task, status=where)
            )
            if segments or error is None:
                given.append(segments)
                _give(segments, one, form, out, live=live)
                if out is None and form == "json" and len(inputs) > 1:
                    _print(_one_line(format_transcript(segments, form)))
            if error is not None:
                failed = True
                complain(error)
            bar.advance(task)
    if explain is not None and given:
        _explain(recognizer, inputs[0], given[0], explain)
    is_printed = form == "text" or (form == "json" and len(inputs) > 1)
    if given and out is None and not is_printed:
        text = format_transcript([segment for each in given for segment in each], form)
        is_told = form == "json" and compute is not None
        _print(_with_compute(text, recognizer.meter.share) if is_told else text)
    if failed:
        sys.exit(1)


def _check(inputs: Sequence[Input], form: str, out: Path | None) -> None:
    """Refuse what could not be given in the end."""
    if form not in FORMATS:
        raise ConfigError(f"There is no format {form!r}.", hint=nearest_names(form, FORMATS))
    if out is None and form in _ONE_RECORDING and len(inputs) > 1:
        raise ConfigError(
            f"{form} holds one recording, got {len(inputs)} files.",
            hint="Give --out FOLDER for a transcript of each, or --format seglst for one of all.",
        )
    by_name: dict[str, Input] = {}
    for one in inputs if out is not None or form != "text" else ():
        other = by_name.setdefault(one.stem, one)
        if other is not one:
            raise ConfigError(
                f"Transcripts are named after their files, but {other.name} and {one.name} are "
                f"both {one.stem!r}.",
                hint="Rename one, or transcribe them apart.",
            )
    if out is not None:
        expect_folder_to_write(out)


def _check_explained(inputs: Sequence[Input], page: Path, *, two_talkers: bool) -> None:
    """Refuse what no page could be made of."""
    if two_talkers or len(inputs) != 1 or inputs[0].is_standard_input:
        raise ConfigError(
            "--explain is about one file that is heard by one recognizer.",
            hint="Give one file, and neither --two-talkers nor standard input.",
        )
    expect_file_to_write(page)


def _explain(recognizer: "Recognizer", one: Input, segments: Sequence[Segment], page: Path) -> None:
    """Write the page of what ran."""
    from evenear.audio import read_audio
    from evenear.streaming.explain import explain
    from evenear.streaming.explainpage import explanation_page

    seen = explain(recognizer, read_audio(one.path, channel=one.channel))
    page.write_text(explanation_page(one.path.stem, seen, segments), encoding="utf-8")
    note(f"{one.name} -> {page}")


def _hear(
    recognizer: "Recognizer", one: Input, *, live: bool, say: Callable[[str], None]
) -> tuple[list[Segment], EvenearError | None]:
    """What can be heard of a file, and what kept the rest from being heard."""
    say(one.path.name)
    segments: list[Segment] = []
    try:
        for segment in one.segments(recognizer):
            segments.append(segment)
            say(f"{one.path.name}, {segment.end_seconds:.0f} s")
            if live:
                _print(format_transcript([segment], "text"))
    except EvenearError as error:
        return segments, error
    return segments, None


def _give(segments: list[Segment], one: Input, form: str, out: Path | None, *, live: bool) -> None:
    """Write one file's transcript, or print it, unless that is done already or comes in the end."""
    if out is not None:
        target = out / (one.stem + _SUFFIXES.get(form, f".{form}"))
        write_transcript(segments, target, form)
        note(f"{one.name} -> {target}")
    elif form == "text" and not live:
        _print(f"{one.name}\t{' '.join(segment.text for segment in segments)}\n")
    if not segments:
        note(f"{one.name}: no speech was recognized.")


def _one_line(text: str) -> str:
    """A JSON document on a line of its own."""
    return json.dumps(json.loads(text), ensure_ascii=False) + "\n"


def _with_compute(text: str, share: float) -> str:
    """A json transcript that says, too, what share of the encoder's computation was spent."""
    return f'{{\n  "compute": {share:.6g},{text.removeprefix("{")}'


def _print(text: str) -> None:
    """Print at once, as if someone were reading along."""
    sys.stdout.write(text)
    sys.stdout.flush()
