# SPDX-License-Identifier: Apache-2.0
"""What `evenear demo` shows: shipped speech, streamed through a model, as it is recognized.

Legend: N audio samples.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from evenear.metrics.latency import ComputeTime
from evenear.units import SAMPLE_RATE

__all__ = ["tour"]

_CHUNK_SECONDS = 0.16
_GAP = 2
_LABEL = len("       word") + _GAP


@dataclass(frozen=True)
class _Clip:
    """A shipped clip."""

    voice: str
    text: str
    samples_N: NDArray[np.float32]


def tour(model: str, speed: float) -> None:
    """Stream the shipped clips through a model, so many times faster than real time."""
    from evenear.streaming import Recognizer

    console = Console(highlight=False)
    recognizer = Recognizer.load(model, threads=1)
    rescorer = recognizer.bundle.rescorer
    parts = [recognizer.model] if rescorer is None else [recognizer.model, rescorer.model]
    parameters = sum(p.numel() for part in parts for p in part.parameters()) / 1e6
    console.print(
        f"[bold]evenear[/] listens with [bold]{escape(model)}[/] ({parameters:.1f} M parameters, "
        f"one CPU thread), {1000 * _CHUNK_SECONDS:.0f} ms at a time.\n"
        "The clips are synthesized speech that the model was not trained on.\n"
    )
    list(_stream(recognizer, _Clip("", "", np.zeros(SAMPLE_RATE, np.float32)), lambda *_: None))
    times = [_show(console, recognizer, clip, speed) for clip in _clips()]
    total = ComputeTime.total(times)
    p50, p95 = (total.percentile_milliseconds(percent) or 0.0 for percent in (50, 95))
    console.print(
        f"{total.heard_seconds:.1f} s of sound; real-time factor "
        f"[bold]{total.real_time_factor:.4f}[/]; "
        f"a chunk took {p50:.1f} ms (p50), {p95:.1f} ms (p95)"
    )
    console.print(
        "\nTry next:\n"
        "  evenear transcribe FILE --format srt     write down a sound file\n"
        "  evenear listen                           write down what the microphone hears\n"
        "  evenear evaluate evenear-en DATA         count its errors on your speech\n"
        "  evenear audit RESULTS --by gender        find whom a recognizer fails\n"
        "  evenear doctor                           what is installed here"
    )


def _clips() -> Iterator[_Clip]:
    """The shipped clips, in order."""
    from evenear.audio import read_audio

    folder = resources.files("evenear") / "shipped" / "clips"
    for row in json.loads((folder / "clips.json").read_text(encoding="utf-8")):
        with resources.as_file(folder / row["file"]) as path:
            yield _Clip(row["voice"], row["text"], read_audio(path))


def _show(console: Console, recognizer: Any, clip: _Clip, speed: float) -> ComputeTime:
    """Stream one clip, its open words shown as they change; then its words with their times."""
    console.print(Text(f"voice  {clip.voice}\nsaid   {clip.text}", style="dim"))
    words: list[Any] = []
    with Live(console=console, transient=True, refresh_per_second=25) as live:

        def see(heard_seconds: float, text: str, took_seconds: float) -> None:
            live.update(Text.assemble((f"{heard_seconds:4.1f} s  ", "dim"), (text, "cyan")))
            if console.is_terminal:
                time.sleep(max(0.0, _CHUNK_SECONDS / speed - took_seconds))

        chunk_seconds = []
        for final_words, took in _stream(recognizer, clip, see):
            words += final_words
            chunk_seconds.append(took)
    console.print(
        Text.assemble(("heard  ", "dim"), (" ".join(w.text for w in words), "bold green"))
    )
    for row in _rows_that_fit(words, console.width):
        console.print(_table(row))
    console.print()
    return ComputeTime(len(clip.samples_N) / SAMPLE_RATE, tuple(chunk_seconds))


def _rows_that_fit(words: list[Any], width: int) -> Iterator[list[Any]]:
    """Words in rows that no terminal cuts off, each with room for its times below it."""
    row: list[Any] = []
    taken = _LABEL
    for word in words:
        wide = max(len(word.text), len("00.00")) + _GAP
        if row and taken + wide > width:
            yield row
            row, taken = [], _LABEL
        row.append(word)
        taken += wide
    if row:
        yield row


def _table(words: list[Any]) -> Table:
    """Words, and below each when it began and how sure the model is."""
    table = Table.grid(padding=(0, _GAP))
    for _ in range(len(words) + 1):
        table.add_column(overflow="fold")
    sure = (f"{w.confidence:.2f}" if w.confidence is not None else "" for w in words)
    table.add_row(Text("       word", style="dim"), *(Text(w.text) for w in words))
    table.add_row(Text("       at s", style="dim"), *(f"{w.start_seconds:.2f}" for w in words))
    table.add_row(Text("       sure", style="dim"), *sure)
    return table


def _stream(recognizer: Any, clip: _Clip, see: Any) -> Iterator[tuple[list[Any], float]]:
    """Feed a clip chunk by chunk; yield the words that became final and the time it took."""
    from evenear.streaming import Final, Partial

    stream = recognizer.stream()
    chunk = round(_CHUNK_SECONDS * SAMPLE_RATE)
    pieces = [clip.samples_N[i : i + chunk] for i in range(0, len(clip.samples_N), chunk)]
    heard, final, still_open = 0, "", ""
    for piece_N in [*pieces, None]:
        began = time.perf_counter()
        events = stream.finish() if piece_N is None else stream.accept(piece_N)
        took = time.perf_counter() - began
        heard += 0 if piece_N is None else len(piece_N)
        final_words = []
        for event in events:
            if isinstance(event, Partial):
                still_open = event.text
            elif isinstance(event, Final):
                final, still_open = f"{final}{event.text} ", ""
                final_words += event.words
        see(heard / SAMPLE_RATE, final + still_open, took)
        yield final_words, took
