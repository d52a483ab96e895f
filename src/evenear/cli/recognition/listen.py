# SPDX-License-Identifier: Apache-2.0
"""`evenear listen`: the microphone, written down as you speak."""

import queue
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from evenear.cli.console import interrupts, need, note
from evenear.cli.recognition.searching import NAMES_HELP, with_names
from evenear.errors import AudioError, MissingDependencyError
from evenear.shipped import DEFAULT_DETECTOR, DEFAULT_RECOGNIZER
from evenear.units import SAMPLE_RATE

__all__ = ["listen"]

_CHUNK_SECONDS = 0.16


def listen(
    model: Annotated[str, typer.Option(help="A model's folder or name.")] = DEFAULT_RECOGNIZER,
    device: Annotated[str | None, typer.Option(help="Microphone: a name or a number.")] = None,
    names: Annotated[Path | None, typer.Option(help=NAMES_HELP)] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Stop after so long.")] = None,
) -> None:
    """Write down what the microphone hears, until Ctrl-C."""
    need("torch", extra="asr", purpose="Recognizing speech")
    sounddevice = _sounddevice()
    from evenear.checkpoint import load_model
    from evenear.streaming import Recognizer

    bundle = load_model(model)
    if names is not None:
        bundle = with_names(bundle, names)
    recognizer = Recognizer.load(bundle, voice=DEFAULT_DETECTOR)
    chunks: queue.Queue[Any] = queue.Queue()
    try:
        microphone = sounddevice.InputStream(
            samplerate=SAMPLE_RATE,
            channels=1,
            dtype="float32",
            blocksize=round(_CHUNK_SECONDS * SAMPLE_RATE),
            device=int(device) if device is not None and device.isdigit() else device,
            callback=lambda samples, *_: chunks.put(samples[:, 0].copy()),
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        raise AudioError(
            f"A microphone is needed, and none could be opened: {error}.",
            hint="Plug one in, or name one with --device (python -m sounddevice lists them); "
            "`evenear transcribe FILE` needs none.",
        ) from None
    with interrupts("Writing down the last words.") as is_over, microphone:
        note("Listening. Ctrl-C ends it.")
        _show(recognizer.stream(), _heard(chunks, seconds, is_over))


def _heard(
    chunks: "queue.Queue[Any]", seconds: float | None, is_over: Callable[[], bool]
) -> Iterator[Any]:
    """What the microphone hears until the time is up or someone ends it, to the last chunk."""
    heard = 0.0
    while seconds is None or heard < seconds:
        try:
            samples = chunks.get(timeout=0.1)
        except queue.Empty:
            if is_over():
                return
            continue
        heard += len(samples) / SAMPLE_RATE
        yield samples


def _sounddevice() -> Any:
    """The library that opens microphones; it fails to import where PortAudio is missing."""
    try:
        return need("sounddevice", extra="mic", purpose="Listening to a microphone")
    except OSError as error:
        raise MissingDependencyError(
            f"Listening needs the PortAudio library: {error}.",
            hint="Debian and Ubuntu: apt-get install libportaudio2.",
        ) from None


def _show(stream: Any, heard: Iterator[Any]) -> None:
    """Print a line for each segment, and below it what is said just now: first what is final."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from evenear.streaming import Final, Partial, TurnEnded
    from evenear.streaming.segments import SegmentBuilder

    builder = SegmentBuilder(stream.recognizer.turns, "microphone")
    final, still_open = "", ""
    with Live(
        console=Console(stderr=True),
        transient=True,
        refresh_per_second=12,
        redirect_stdout=sys.stdout.isatty(),  # else lines would go where the live line is
    ) as live:
        for samples in heard:
            events = stream.accept(samples)
            for event in events:
                if isinstance(event, Partial):
                    still_open = event.text
                elif isinstance(event, Final):
                    final, still_open = f"{final}{event.text} ", ""
                elif isinstance(event, TurnEnded):
                    final = still_open = ""
            for segment in builder.accept(events):
                _print(segment.text)
            if events:
                live.update(Text.assemble(final, (still_open, "dim")))
        for segment in builder.accept(stream.finish()):
            _print(segment.text)


def _print(text: str) -> None:
    """Print a line at once, as someone may be reading along."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
