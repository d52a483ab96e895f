# SPDX-License-Identifier: Apache-2.0
"""Two talkers on the command line: `transcribe --two-talkers`, and `evaluate` of such a model.

Legend: N audio samples.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from evenear.cli.console import complain, expect_to_read, need, note, progress_bar
from evenear.errors import EvenearError
from evenear.transcripts import Segment, format_transcript, write_transcript

if TYPE_CHECKING:
    from evenear.streaming.twotalkers.recognizer import TwoTalkerRecognizer

__all__ = ["DEFAULT_DUO", "evaluate_two_talkers", "is_two_talkers", "transcribe_two_talkers"]

DEFAULT_DUO = "evenear-en-duo"
_SUFFIXES = {"text": ".txt", "seglst": ".seglst.json"}


def is_two_talkers(model: str) -> bool:
    """Whether this is the folder or the name of a two-channel model."""
    from evenear.checkpoint.folders import read_kind, shipped_models
    from evenear.checkpoint.twotalkers import TWO_TALKERS

    if Path(model).is_dir():
        return read_kind(Path(model)) == TWO_TALKERS
    return model in shipped_models(TWO_TALKERS)


def transcribe_two_talkers(
    files: Sequence[Path],
    model: str,
    form: str,
    out: Path | None,
    *,
    html: Path | None = None,
    threads: int | None = None,
) -> None:
    """Write down what two people say who may talk at once, and who said what."""
    need("torch", extra="asr", purpose="Recognizing speech")
    from evenear.audio import read_audio
    from evenear.streaming.twotalkers.labels import LabelConfig, SpeakerLabels, label_segments
    from evenear.streaming.twotalkers.page import conversation_page
    from evenear.streaming.twotalkers.recognizer import TwoTalkerRecognizer
    from evenear.verification.turns import LEAST_LIKENESS, TurnVoice

    recognizer = TwoTalkerRecognizer.load(model, threads=threads)
    voice = None if recognizer.channels_are_talkers else TurnVoice.load()
    when_new = LabelConfig(least_likeness=LEAST_LIKENESS, most_speakers=2)
    live = form == "text" and out is None and len(files) == 1 and sys.stdout.isatty()
    given: list[Segment] = []
    failed = False
    for path in files:
        try:
            samples_N = read_audio(path)
            segments = _watched(recognizer, path) if live else list(recognizer.segments(path))
            if voice is None:
                segments = [replace(s, speaker=f"speaker-{s.channel + 1}") for s in segments]
            else:
                segments = label_segments(segments, samples_N, SpeakerLabels(voice, when_new))
        except EvenearError as error:
            failed = True
            complain(error)
            continue
        segments.sort(key=lambda s: s.start_seconds)
        given += segments
        if html is not None:
            html.write_text(conversation_page(path.stem, samples_N, segments), encoding="utf-8")
            note(f"{path} -> {html}")
        if out is not None:
            target = out / (path.stem + _SUFFIXES.get(form, f".{form}"))
            write_transcript(segments, target, form)
            note(f"{path} -> {target}")
        elif form == "text":
            for s in segments:
                typer.echo(f"{s.start_seconds:8.2f} {s.end_seconds:8.2f} {s.speaker}: {s.text}")
    if out is None and form != "text":
        sys.stdout.write(format_transcript(given, form))
    if failed:
        sys.exit(1)


def _watched(recognizer: "TwoTalkerRecognizer", path: Path) -> list[Segment]:
    """Recognize a file while two columns on the terminal show what is known."""
    from evenear.audio import stream_audio
    from evenear.streaming.events import Partial
    from evenear.streaming.twotalkers.recognizer import segments_of

    said: tuple[list[str], list[str]] = ([], [])
    open_words = ["", ""]
    segments: list[Segment] = []
    stream = recognizer.stream()

    def view() -> Table:
        table = Table("channel 1", "channel 2", expand=True)
        table.add_row(*("\n".join([*said[c][-8:], f"… {open_words[c]}"]) for c in range(2)))
        return table

    with Live(view(), console=Console(stderr=True), transient=True) as screen:
        chunks = stream_audio(path, chunk_seconds=0.24)
        for events in (*(stream.accept(c) for c in chunks), stream.finish()):
            for event in events:
                if isinstance(event, Partial):
                    open_words[event.channel] = event.text
            for segment in segments_of(events, path.stem):
                said[segment.channel].append(segment.text)
                open_words[segment.channel] = ""
                segments.append(segment)
            screen.update(view())
    return segments


def evaluate_two_talkers(
    model: str,
    data: Path,
    *,
    limit: int | None = None,
    chunk_milliseconds: int = 160,
    threads: int = 1,
    as_json: bool = False,
) -> None:
    """Score a two-channel model on a folder that `evenear data simulate` wrote."""
    need("torch", extra="asr", purpose="Recognizing speech")
    from evenear.streaming.twotalkers.recognizer import TwoTalkerRecognizer
    from evenear.streaming.twotalkers.scores import (
        ConversationScore,
        hear_session,
        load_sessions,
        score_session,
    )

    expect_to_read(data)
    sessions = load_sessions(data)[:limit]
    recognizer = TwoTalkerRecognizer.load(model, threads=threads)
    total = ConversationScore()
    with progress_bar("conversations") as bar:
        task = bar.add_task("Recognizing", total=len(sessions), status="")
        for session in sessions:
            chunk = chunk_milliseconds / 1000
            heard = hear_session(recognizer.stream(), session, chunk_seconds=chunk)
            total += score_session(session.references, heard)
            bar.advance(task)
    values = {"model": model, "chunk_seconds": chunk_milliseconds / 1000, **total.to_dict()}
    if as_json:
        typer.echo(json.dumps(values, indent=2))
        return
    latency = values["latency_milliseconds"]
    typer.echo(
        f"ORC-WER {_percent(values['orc_wer'])}: {values['errors']} errors in {values['words']} "
        f"words of {values['sessions']} conversations"
    )
    typer.echo(
        f"turns counted right: {_percent(values['turn_accuracy'])}; leaked "
        f"{_percent(values['leaked'])}, omitted {_percent(values['omitted'])}"
    )
    for name, one in latency.items():
        if one["turns"]:
            typer.echo(
                f"{name.replace('_', ' ')}: p50 {one['p50']:.0f} ms, p90 {one['p90']:.0f} ms "
                f"({one['turns']} turns)"
            )
    typer.echo(f"real-time factor {values['real_time_factor'] or 0:.3f}")


def _percent(rate: float | None) -> str:
    return "unknown" if rate is None else f"{100 * rate:.1f} %"
