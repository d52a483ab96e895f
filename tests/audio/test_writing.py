# SPDX-License-Identifier: Apache-2.0
"""What is written comes back, or nothing is written."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile

from evenear.audio.reading import audio_info, read_audio
from evenear.audio.writing import write_audio
from evenear.errors import AudioError
from evenear.seeding import rng_for


def noise(num_samples, num_channels=1):
    shape = (num_samples, num_channels) if num_channels > 1 else num_samples
    return rng_for(0, "noise", num_samples).uniform(-0.5, 0.5, shape).astype(np.float32)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_every_int16_value_comes_back_from_lossless_formats(tmp_path, suffix):
    every = np.arange(-32768, 32768).astype(np.int16)
    write_audio(tmp_path / f"a{suffix}", every)
    again, rate = soundfile.read(tmp_path / f"a{suffix}", dtype="int16")
    assert rate == 16_000
    assert np.array_equal(again, every)
    assert np.array_equal(read_audio(tmp_path / f"a{suffix}") * 32768, every)


def test_floats_come_back_exactly_from_float_wav(tmp_path):
    samples = noise(1000) * 4
    write_audio(tmp_path / "a.wav", samples, subtype="FLOAT")
    assert np.array_equal(read_audio(tmp_path / "a.wav"), samples)


@pytest.mark.parametrize("suffix", [".ogg", ".opus", ".mp3"])
def test_lossy_formats_keep_length_and_sound(tmp_path, suffix):
    tone = (0.4 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)).astype(np.float32)
    write_audio(tmp_path / f"a{suffix}", tone)
    heard = read_audio(tmp_path / f"a{suffix}")
    assert len(heard) == len(tone)
    assert np.corrcoef(heard[2000:-2000], tone[2000:-2000])[0, 1] > 0.99


def test_channels_are_kept_apart_in_the_file(tmp_path):
    samples_NC = noise(500, num_channels=3)
    write_audio(tmp_path / "a.wav", samples_NC, sample_rate=8000, subtype="FLOAT")
    again, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    assert np.array_equal(again, samples_NC)
    assert audio_info(tmp_path / "a.wav").sample_rate == 8000


def test_a_long_vorbis_file_does_not_overflow_the_encoder(tmp_path):
    write_audio(tmp_path / "a.ogg", np.zeros(16_000 * 300, np.float32))
    assert audio_info(tmp_path / "a.ogg").seconds == 300


def test_an_existing_file_is_replaced_and_nothing_else_is_left(tmp_path):
    write_audio(tmp_path / "a.wav", noise(100))
    write_audio(tmp_path / "a.wav", noise(200))
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    assert len(read_audio(tmp_path / "a.wav")) == 200


@pytest.mark.parametrize(
    ("name", "samples", "options", "reason"),
    [
        ("a.m4a", [0.0], {}, r"must end in \.wav"),
        ("a", [0.0], {}, r"must end in \.wav"),
        ("a.wav", [], {}, "at least one sample"),
        ("a.wav", [0.0, float("inf")], {}, "inf at sample 1"),
        ("a.wav", [0.0, 1.5], {}, "peak of 1.5000"),
        ("a.wav", [0.0], {"subtype": "PCM_61"}, "Did you mean 'PCM_16'"),
        ("a.flac", [0.0], {"subtype": "FLOAT"}, "FLAC FLOAT"),
        ("a.opus", [0.0], {"sample_rate": 44_100}, "OPUS at 44100 Hz"),
        ("a.wav", [0.0], {"sample_rate": 0}, "sample rate"),
        ("missing/a.wav", [0.0], {}, "No such file or directory"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(
    tmp_path, name, samples, options, reason
):
    with pytest.raises(AudioError, match=reason):
        write_audio(tmp_path / name, samples, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_replaced(tmp_path):
    (tmp_path / "a.wav").mkdir()
    with pytest.raises(AudioError, match="must be a file"):
        write_audio(tmp_path / "a.wav", noise(10))


def test_a_full_disk_keeps_the_old_file(tmp_path):
    write_audio(tmp_path / "a.wav", noise(100))
    program = (
        "import resource, signal, sys, numpy as np\n"
        "from evenear.audio import write_audio\n"
        "from evenear.errors import AudioError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "try:\n"
        "    write_audio(sys.argv[1], np.zeros(100_000, np.float32))\n"
        "except AudioError as error:\n"
        "    sys.exit(str(error))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a.wav")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "cannot be written: File too large" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    assert len(read_audio(tmp_path / "a.wav")) == 100
