# SPDX-License-Identifier: Apache-2.0
"""Folders, channels and pipes are heard as the files that they stand for."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from evenear.cli.recognition.inputs import Input, find_inputs
from evenear.errors import ConfigError
from evenear.streaming import Recognizer
from laws import random_sound


def sound(path: Path, seed: int = 0, *, seconds: float = 1.5, gain: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, gain * random_sound(seconds, seed=seed), 16_000, subtype="FLOAT")
    return path


def stereo(path: Path, *channels: np.ndarray) -> Path:
    soundfile.write(path, np.stack(channels, axis=1), 16_000, subtype="FLOAT")
    return path


def words(segments) -> list[str]:
    return [word.text for segment in segments for word in segment.words]


def piped(monkeypatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))


def test_a_folder_stands_for_its_sound_files(tmp_path):
    paths = [sound(tmp_path / name) for name in ("b.wav", "a.FLAC.wav", "deep/c.wav")]
    (tmp_path / "notes.txt").write_text("none", encoding="utf-8")
    assert [one.path for one in find_inputs([tmp_path])] == sorted(paths[:2])
    assert [one.path for one in find_inputs([tmp_path], recursive=True)] == sorted(paths)
    (tmp_path / "empty" / "deep").mkdir(parents=True)
    assert find_inputs([tmp_path / "empty"]) == [Input(tmp_path / "empty")]  # refused when heard


def test_each_channel_has_a_transcript_of_its_own(model, tmp_path):
    first, second = random_sound(1.5, seed=3), random_sound(1.5, seed=4)
    path = stereo(tmp_path / "call.wav", first, second)
    ears = Recognizer.load(model)
    inputs = find_inputs([path], channel="each")
    assert [(one.stem, one.channel) for one in inputs] == [("call.1", 0), ("call.2", 1)]
    for one, alone in zip(inputs, (first, second), strict=True):
        soundfile.write(tmp_path / "alone.wav", alone, 16_000, subtype="FLOAT")
        heard = words(one.segments(ears))
        assert heard == words(ears.transcribe(tmp_path / "alone.wav"))
        assert heard
    assert find_inputs([path], channel="2") == [Input(path, 1)]
    for bad in ("0", "left", "-1"):
        with pytest.raises(ConfigError, match="a number from 1"):
            find_inputs([path], channel=bad)


def test_a_channel_that_is_not_there_is_named(evenear, model, tmp_path):
    done = evenear("transcribe", sound(tmp_path / "a.wav"), "--channel", "2", "--model", model)
    assert done.code == 1
    assert "has 1 channels, asked for channel 2" in done.err


def test_channels_that_cancel_each_other_do_not_vanish(evenear, model, tmp_path, caplog):
    one = random_sound(1.5, seed=3)
    path = stereo(tmp_path / "antiphase.wav", one, -one)
    done = evenear("transcribe", path, "--model", model)
    alone = evenear("transcribe", path, "--model", model, "--channel", "1")
    assert done.out.split() == alone.out.split() != []
    assert "antiphase.wav cancel each other" in caplog.text


def test_peaks_beyond_full_scale_are_told_with_the_file(evenear, model, tmp_path, caplog):
    loud = sound(tmp_path / "loud.wav", gain=9.0)
    assert evenear("transcribe", loud, "--model", model).code == 0
    assert "loud.wav has peaks of" in caplog.text
    done = evenear("transcribe", sound(tmp_path / "raw.wav", gain=32768), "--model", model)
    assert done.code == 1
    assert "raw.wav must hold samples in [-1, 1]" in done.err
    assert "divide them by 32768" in done.err


def test_a_file_that_is_piped_in_is_heard(evenear, model, tmp_path, monkeypatch):
    path = sound(tmp_path / "a.wav", 3)
    piped(monkeypatch, path.read_bytes())
    done = evenear("transcribe", "-", "--model", model)
    assert done.code == 0
    assert done.out.split() == words(Recognizer.load(model).transcribe(path))


def test_raw_samples_that_are_piped_in_are_heard(evenear, model, tmp_path, monkeypatch):
    samples = (random_sound(1.5, sample_rate=8_000, seed=3) * 32767).astype("<i2")
    soundfile.write(tmp_path / "a.wav", samples, 8_000)
    piped(monkeypatch, samples.tobytes() + b"\0")
    done = evenear("transcribe", "-", "--raw-rate", "8000", "--model", model)
    assert done.out.split() == words(Recognizer.load(model).transcribe(tmp_path / "a.wav")) != []


def test_raw_samples_come_from_standard_input_only(tmp_path):
    with pytest.raises(ConfigError, match="for standard input"):
        find_inputs([sound(tmp_path / "a.wav")], raw_rate=8_000)
    with pytest.raises(ConfigError, match="given once"):
        find_inputs([Path("-"), Path("-")])
    with pytest.raises(ConfigError, match="name one"):
        find_inputs([Path("-")], channel="each")


def test_an_avi_file_is_one_that_needs_the_media_extra(evenear, model, tmp_path):
    path = tmp_path / "film.avi"
    path.write_bytes(b"RIFF\x10\0\0\0AVI LIST" + bytes(64))
    done = evenear("transcribe", path, "--model", model)
    assert done.code == 1
    assert "film.avi" in done.err
    assert "begins with" not in done.err


def test_files_that_were_finished_stay_when_it_is_interrupted(
    evenear, model, tmp_path, monkeypatch
):
    paths = [sound(tmp_path / name, seed) for seed, name in enumerate(("a.wav", "b.wav"))]
    hear = Recognizer.segments

    def interrupted(self, source, **options):
        if Path(source).stem == "b":
            raise KeyboardInterrupt
        return hear(self, source, **options)

    monkeypatch.setattr(Recognizer, "segments", interrupted)
    done = evenear("transcribe", *paths, "--model", model, "--out", tmp_path / "out")
    assert done.code == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.txt"]


def test_a_terminal_that_cannot_show_a_name_gets_it_spelled_out(model, tmp_path):
    paths = [sound(tmp_path / name) for name in ("gr\u00fc\u00df.wav", "b.wav")]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-m", "evenear", "transcribe", *map(str, paths), "--model", str(model)],
        capture_output=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"gr\\xfc\\xdf.wav\t" in done.stdout
    assert b"Traceback" not in done.stderr


def test_json_of_one_file_is_one_document(evenear, model, tmp_path):
    done = evenear("transcribe", sound(tmp_path / "a.wav"), "--model", model, "--format", "json")
    json.loads(done.out)
