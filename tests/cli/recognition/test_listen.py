# SPDX-License-Identifier: Apache-2.0
"""What the microphone hears is written down; where there is none, that is said.

The library that opens microphones is stood in for by one that plays a sound.
"""

import signal
import sys
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from evenear.shipped import DEFAULT_DETECTOR
from evenear.streaming import Recognizer
from evenear.streaming.segments import SegmentBuilder
from laws import random_sound


class PortAudioError(Exception):
    """As sounddevice names what PortAudio says."""


class Microphone:
    """Plays a sound to whoever opens it, in blocks, from a thread as PortAudio does."""

    sound = random_sound(3.0, seed=3)
    opened: list[dict[str, Any]] = []  # noqa: RUF012
    when_over = staticmethod(lambda: None)

    def __init__(self, *, callback, blocksize, **options) -> None:
        self.opened.append(options)
        self.callback, self.blocksize = callback, blocksize
        self.thread = threading.Thread(target=self.play)

    def play(self) -> None:
        for start in range(0, len(self.sound), self.blocksize):
            block = self.sound[start : start + self.blocksize, None].copy()
            self.callback(block, len(block), None, None)
            block[:] = np.nan  # as the buffer is used again
        self.when_over()

    def __enter__(self) -> "Microphone":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.thread.join()


@pytest.fixture
def microphone(monkeypatch) -> type[Microphone]:
    class Fresh(Microphone):
        opened: list[dict[str, Any]] = []  # noqa: RUF012

    library = SimpleNamespace(InputStream=Fresh, PortAudioError=PortAudioError)
    monkeypatch.setitem(sys.modules, "sounddevice", library)
    return Fresh


def segments(model) -> list[str]:
    ears = Recognizer.load(model, voice=DEFAULT_DETECTOR)
    stream, builder = ears.stream(), SegmentBuilder(ears.turns, "microphone")
    events = stream.accept(Microphone.sound) + stream.finish()
    return [segment.text for segment in builder.accept(events)]


def test_what_is_said_is_written_line_by_line(evenear, model, microphone):
    done = evenear("listen", "--model", model, "--seconds", 3)
    assert done.code == 0
    assert done.out.splitlines() == segments(model)
    assert done.out.split()
    assert "Listening. Ctrl-C ends it." in done.err
    (options,) = microphone.opened
    assert (options["samplerate"], options["channels"]) == (16_000, 1)
    assert options["device"] is None


def test_ctrl_c_ends_it_well_with_the_last_words(evenear, model, microphone):
    microphone.when_over = staticmethod(lambda: signal.raise_signal(signal.SIGINT))
    done = evenear("listen", "--model", model)
    assert done.code == 0
    assert done.out.splitlines() == segments(model)
    assert "Writing down the last words." in done.err


def test_the_live_line_leaves_redirected_output_alone(evenear, model, microphone, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    done = evenear("listen", "--model", model, "--seconds", 3)
    assert done.out.splitlines() == segments(model)


@pytest.mark.parametrize(("given", "device"), [("3", 3), ("USB", "USB")])
def test_a_microphone_is_chosen_by_number_or_name(evenear, model, microphone, given, device):
    assert evenear("listen", "--model", model, "--seconds", 1, "--device", given).code == 0
    assert microphone.opened[0]["device"] == device


@pytest.mark.parametrize("error", [PortAudioError("Error querying device -1"), ValueError("No Q")])
def test_where_there_is_no_microphone_that_is_said(evenear, model, microphone, monkeypatch, error):
    def refuse(**_: object) -> None:
        raise error

    library = SimpleNamespace(InputStream=refuse, PortAudioError=PortAudioError)
    monkeypatch.setitem(sys.modules, "sounddevice", library)
    done = evenear("listen", "--model", model)
    assert (done.code, done.out) == (1, "")
    assert f"A microphone is needed, and none could be opened: {error}." in done.err
    assert "hint: Plug one in, or name one with --device" in done.err


def test_a_missing_library_says_how_to_get_it(evenear, model, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    done = evenear("listen", "--model", model)
    assert done.code == 1
    assert "needs sounddevice, which is not installed" in done.err
    assert "hint: pip install 'evenear[mic]'" in done.err


def test_a_missing_system_library_says_how_to_get_it(evenear, model, monkeypatch, tmp_path):
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    done = evenear("listen", "--model", model)
    assert done.code == 1
    assert "needs the PortAudio library: PortAudio library not found" in done.err
    assert "libportaudio2" in done.err


def test_an_unknown_model_is_said_before_anything_is_heard(evenear, microphone):
    done = evenear("listen", "--model", "evenear-xy-huge")
    assert done.code == 1
    assert "There is no model 'evenear-xy-huge'" in done.err
    assert microphone.opened == []
