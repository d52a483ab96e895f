# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C in the middle of a transcription: exit code 1, one line, and what was said stays said."""

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from laws import random_sound

LONG_SECONDS = 3000


@pytest.fixture(scope="module")
def long_recording(tmp_path_factory) -> Path:
    """Bursts with silence between them, far longer than anybody waits."""
    burst_N, silence_N = random_sound(1.5), np.zeros(2 * 16_000, np.float32)
    once_N = np.concatenate([burst_N, silence_N])
    path = tmp_path_factory.mktemp("long") / "long.wav"
    with soundfile.SoundFile(path, "w", samplerate=16_000, channels=1) as file:
        for _ in range(LONG_SECONDS * 16_000 // len(once_N)):
            file.write(once_N)
    return path


def test_what_was_written_down_stays_and_the_exit_code_is_1(model, long_recording):
    command = [sys.executable, "-m", "evenear", "transcribe", str(long_recording)]
    with subprocess.Popen(
        [*command, "--model", str(model)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell's background jobs, and so what they start, ignore Ctrl-C unless told otherwise.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        first = _read_some(process.stdout.fileno(), seconds=60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert first, err.decode()
    assert process.returncode == 1, err.decode()
    assert err.decode().splitlines()[-1] == "Interrupted."
    assert "Traceback" not in err.decode()
    assert (first + out).decode().endswith("\n")


def _read_some(descriptor: int, *, seconds: float) -> bytes:
    """What comes first, or nothing if nothing comes in time."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if select.select([descriptor], [], [], 0.5)[0]:
            return os.read(descriptor, 65536)
    return b""
