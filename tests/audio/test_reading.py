# SPDX-License-Identifier: Apache-2.0
"""Streaming against reading whole, files against the samples that were put into them."""

import io
import tracemalloc

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evenear.audio.reading import audio_info, read_audio, stream_audio
from evenear.audio.resampling import resample
from evenear.audio.writing import write_audio
from evenear.errors import AudioError
from evenear.seeding import rng_for

FILES = [
    ("a.wav", 16_000),
    ("a.wav", 8000),
    ("a.flac", 44_100),
    ("a.ogg", 48_000),
    ("a.opus", 48_000),
    ("a.mp3", 44_100),
    ("a.wav", 192_000),
]


def noise(num_samples, num_channels=1):
    shape = (num_samples, num_channels) if num_channels > 1 else num_samples
    return rng_for(0, "noise", num_samples).uniform(-0.5, 0.5, shape).astype(np.float32)


@pytest.mark.parametrize(("name", "rate"), FILES)
def test_the_stream_is_the_whole_to_the_bit(tmp_path, name, rate):
    path = tmp_path / name
    write_audio(path, noise(int(rate * 3.1), num_channels=2), sample_rate=rate)
    whole = read_audio(path)
    assert abs(len(whole) - 3.1 * 16_000) <= 1
    for chunk_seconds in (0.16, 0.01, 1 / 16_000 * 777, 100.0):
        chunks = list(stream_audio(path, chunk_seconds=chunk_seconds))
        assert np.array_equal(np.concatenate(chunks), whole)
        lengths = {len(chunk) for chunk in chunks[:-1]}
        assert lengths <= {round(chunk_seconds * 16_000)}
        assert 0 < len(chunks[-1]) <= round(chunk_seconds * 16_000)


@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(num_samples=st.integers(1, 3000), chunk_samples=st.integers(1, 4000))
def test_chunks_of_any_length_join_to_the_whole(tmp_path, num_samples, chunk_samples):
    samples = noise(num_samples)
    write_audio(tmp_path / "a.wav", samples, subtype="FLOAT")
    chunks = stream_audio(tmp_path / "a.wav", chunk_seconds=chunk_samples / 16_000)
    assert np.array_equal(np.concatenate(list(chunks)), samples)


def test_no_block_of_an_mp3_begins_with_a_glitch(tmp_path):
    # Noise over many blocks: a decoder that is reset at each block's edge is off by 0.01 there.
    write_audio(tmp_path / "a.mp3", noise(44_100 * 5), sample_rate=44_100)
    once, _ = soundfile.read(tmp_path / "a.mp3", dtype="float32")
    assert np.array_equal(read_audio(tmp_path / "a.mp3", sample_rate=44_100), once)


def test_a_file_at_another_rate_is_resampled_and_mixed_down(tmp_path):
    samples_NC = noise(30_000, num_channels=8)
    write_audio(tmp_path / "a.wav", samples_NC, sample_rate=48_000, subtype="FLOAT")
    wanted = resample(samples_NC.mean(axis=1), from_rate=48_000, to_rate=16_000)
    assert read_audio(tmp_path / "a.wav") == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.wav", "WAV"), ("a.flac", "FLAC"), ("a.ogg", "OGG"), ("a.opus", "OPUS"), ("a.mp3", "MP3")],
)
def test_the_info_is_what_was_written(tmp_path, name, kind):
    write_audio(tmp_path / name, noise(24_000, num_channels=2), sample_rate=48_000)
    info = audio_info(tmp_path / name)
    assert (info.sample_rate, info.channels, info.format) == (48_000, 2, kind)
    assert info.num_samples == 24_000
    assert info.seconds == 0.5


def test_paths_strings_open_files_and_pipes_give_the_same(tmp_path):
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    path = tmp_path / "größe 録音.flac"
    write_audio(path, noise(5000))
    whole = read_audio(path)
    assert np.array_equal(read_audio(str(path)), whole)
    with path.open("rb") as file:
        assert np.array_equal(read_audio(file), whole)
    assert np.array_equal(read_audio(io.BytesIO(path.read_bytes())), whole)
    assert np.array_equal(read_audio(Pipe(path.read_bytes())), whole)


def test_nan_samples_are_refused_at_their_second_however_far_in(tmp_path):
    samples = noise(8000 * 30)
    samples[8000 * 25 + 4000] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"a\.wav must be finite numbers, got nan at 25\.500 s"):
        read_audio(tmp_path / "a.wav")


def test_a_file_without_samples_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0, np.float32), 16_000)
    with pytest.raises(AudioError, match=r"a\.wav must hold sound, but it has 0 samples"):
        read_audio(tmp_path / "a.wav")
    with pytest.raises(AudioError, match="0 samples"):
        list(stream_audio(tmp_path / "a.wav"))


@pytest.mark.parametrize("chunk_seconds", [0.0, -1.0, 1e-6, float("nan"), float("inf")])
def test_a_chunk_without_length_is_refused(tmp_path, chunk_seconds):
    write_audio(tmp_path / "a.wav", noise(10))
    with pytest.raises(AudioError, match="at least one sample"):
        stream_audio(tmp_path / "a.wav", chunk_seconds=chunk_seconds)


def test_a_missing_file_is_noticed_before_the_first_chunk_is_asked_for(tmp_path):
    with pytest.raises(AudioError, match="There is no file"):
        stream_audio(tmp_path / "a.wav")


def test_a_broken_file_gives_what_it_has_before_it_raises(tmp_path):
    samples = noise(16_000 * 10)
    write_audio(tmp_path / "a.wav", samples, subtype="FLOAT")
    content = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(content[: len(content) // 2])
    heard = []
    with pytest.raises(AudioError, match=r"cut off: 5\.00 s of 10\.00 s could be read"):
        heard.extend(stream_audio(tmp_path / "a.wav"))
    joined = np.concatenate(heard)
    assert len(joined) == pytest.approx(80_000, abs=20)
    assert np.array_equal(joined, samples[: len(joined)])


def peak_megabytes_of_streaming(path):
    num_heard = 0
    tracemalloc.start()
    for chunk in stream_audio(path):
        num_heard += len(chunk)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return num_heard, peak / 1e6


def test_memory_does_not_grow_with_the_file(tmp_path):
    for name, minutes in (("short.flac", 1), ("long.flac", 10)):
        soundfile.write(tmp_path / name, np.zeros(8000 * 60 * minutes, np.int16), 8000)
    short_heard, short_peak = peak_megabytes_of_streaming(tmp_path / "short.flac")
    long_heard, long_peak = peak_megabytes_of_streaming(tmp_path / "long.flac")
    assert long_heard == 10 * short_heard == 16_000 * 600
    assert long_peak < short_peak + 0.5 < 8


@pytest.mark.slow
def test_three_hours_stream_in_constant_memory(tmp_path):
    with soundfile.SoundFile(tmp_path / "a.flac", "w", 44_100, 2, subtype="PCM_16") as file:
        for _ in range(180):
            file.write(np.zeros((44_100 * 60, 2), np.int16))
    num_heard, peak = peak_megabytes_of_streaming(tmp_path / "a.flac")
    assert num_heard == 16_000 * 3600 * 3
    assert peak < 8
