# SPDX-License-Identifier: Apache-2.0
"""`evenear listen`: the microphone, written down as you speak."""

import queue
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from evenear.cli.console import need, note
from evenear.errors import AudioError, MissingDependencyError
from evenear.units import SAMPLE_RATE

__all__ = ["listen"]

_CHUNK_SECONDS = 0.16


def listen(
    model: Annotated[str, typer.Option(help="A model's folder or name.")] = "evenear-en-small",
    device: Annotated[str | None, typer.Option(help="Microphone: a name or a number.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Stop after so long.")] = None,
) -> None:
    """Write down what the microphone hears, until Ctrl-C."""
    need("torch", extra="asr", purpose="Recognizing speech")
    sounddevice = _sounddevice()
    from evenear.streaming import Recognizer

    recognizer = Recognizer.load(model)
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
    note("Listening. Ctrl-C ends it.")
    with microphone:
        _show(recognizer.stream(), chunks, seconds)


def _sounddevice() -> Any:
    """The library that opens microphones; it fails to import where PortAudio is missing."""
    try:
        return need("sounddevice", extra="mic", purpose="Listening to a microphone")
    except OSError as error:
        raise MissingDependencyError(
            f"Listening needs the PortAudio library: {error}.",
            hint="Debian and Ubuntu: apt-get install libportaudio2.",
        ) from None


def _show(stream: Any, chunks: "queue.Queue[Any]", seconds: float | None) -> None:
    """Print final text line by line, and what is still open below it."""
    from evenear.streaming import Final, Partial

    heard = 0.0
    with Live(
        console=Console(stderr=True),
        transient=True,
        refresh_per_second=12,
        redirect_stdout=sys.stdout.isatty(),  # else finals would go where the live line is
    ) as live:
        try:
            while seconds is None or heard < seconds:
                samples = chunks.get()
                heard += len(samples) / SAMPLE_RATE
                for event in stream.accept(samples):
                    if isinstance(event, Partial):
                        live.update(Text(event.text, style="dim"))
                    elif isinstance(event, Final):
                        live.update(Text(""))
                        typer.echo(event.text)
        except KeyboardInterrupt:
            pass
        for event in stream.finish():
            if isinstance(event, Final):
                typer.echo(event.text)
