# SPDX-License-Identifier: Apache-2.0
"""How a recognizer in an environment of its own is handed sound, and hands back words and times.

The runner first writes one line of JSON about itself. Then it reads, again and again, a line of
JSON with `num_samples` and so many little-endian float32 samples, mono at 16 kHz, and answers each
with a line of JSON: what it heard, and the seconds that took by the clock and by the processor.
This file needs nothing but Python, because it runs where evenear is not installed.
"""

import json
import os
import sys
import time
from array import array
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

__all__ = ["SAMPLE_RATE", "answer", "versions"]

SAMPLE_RATE = 16_000
_SAMPLE_BYTES = 4


def answer(facts: dict[str, Any], prepare: Callable[[array], Any], hear: Callable[[Any], str]):
    """Say the facts, then hear utterances until there are no more.

    Args:
        facts: What is to be known about this recognizer.
        prepare: Brings samples into the form that the recognizer takes; not timed.
        hear: What is timed.
    """
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not land between the replies
    hear(prepare(array("f", bytes(SAMPLE_RATE * _SAMPLE_BYTES))))  # the first call is slower
    _reply(replies, facts)
    while line := sys.stdin.buffer.readline():
        size = json.loads(line)["num_samples"] * _SAMPLE_BYTES
        samples = array("f")
        samples.frombytes(sys.stdin.buffer.read(size))
        if sys.byteorder == "big":
            samples.byteswap()
        prepared = prepare(samples)
        clock, processor = time.perf_counter(), time.process_time()
        text = hear(prepared)
        took = {
            "seconds": round(time.perf_counter() - clock, 6),
            "processor_seconds": round(time.process_time() - processor, 6),
        }
        _reply(replies, {"text": text, **took})


def versions(*packages: str) -> dict[str, str]:
    """The installed versions of these packages."""
    return {package: version(package) for package in packages}


def _reply(replies: Any, message: dict[str, Any]) -> None:
    replies.write(json.dumps(message, ensure_ascii=False) + "\n")
    replies.flush()
