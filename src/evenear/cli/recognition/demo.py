# SPDX-License-Identifier: Apache-2.0
"""`evenear demo`: shipped speech, streamed through the shipped model, seen as it is recognized."""

from typing import Annotated

import typer

from evenear.cli.console import need
from evenear.shipped import DEFAULT_RECOGNIZER

__all__ = ["demo"]


def demo(
    model: Annotated[str, typer.Option(help="A model's folder or name.")] = DEFAULT_RECOGNIZER,
    speed: Annotated[
        float, typer.Option(min=0.1, help="How many times faster than real time to show it.")
    ] = 2.0,
) -> None:
    """Stream real sound through the shipped model and watch the words form."""
    need("torch", extra="asr", purpose="Recognizing speech")
    from evenear.cli.recognition.touring import tour

    tour(model, speed)
