# SPDX-License-Identifier: Apache-2.0
"""Files for FFmpeg: decoded if av is installed, and a way out if it is not."""

import io
import sys

import numpy as np
import pytest

from evenear.audio.containers import is_container
from evenear.audio.reading import audio_info, read_audio, stream_audio
from evenear.errors import AudioError

M4A_HEAD = b"\0\0\0\x20ftypM4A \0\0\0\0"


def tone(num_samples, rate):
    return (0.4 * np.sin(2 * np.pi * 440 * np.arange(num_samples) / rate)).astype(np.float32)


def write_m4a(path, rate=44_100, seconds=3):
    """Stereo AAC with the tone in both channels."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate, layout="stereo")
        samples_CN = np.repeat(tone(rate * seconds, rate)[None], 2, axis=0)
        for start in range(0, samples_CN.shape[1], 1024):
            piece_CN = np.ascontiguousarray(samples_CN[:, start : start + 1024])
            frame = av.AudioFrame.from_ndarray(piece_CN, format="fltp", layout="stereo")
            frame.sample_rate = rate
            frame.pts = start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (M4A_HEAD, True),
        (b"\x1a\x45\xdf\xa3\x9f", True),
        (b"#!AMR\n", True),
        (b"\xff\xf1\x50\x80", True),
        (b"\xff\xfb\x90\xc4", False),
        (b"RIFF\0\0\0\0WAVE", False),
        (b"fLaC", False),
        (b"OggS", False),
        (b"", False),
    ],
)
def test_containers_are_known_by_their_first_bytes(head, expected):
    assert is_container(head) is expected


def test_without_av_the_message_offers_both_ways_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioError, match=r"ffmpeg -i .* out\.wav.*evenear\[media\]"):
        audio_info(io.BytesIO(M4A_HEAD + bytes(100)))


def test_an_m4a_is_heard(tmp_path):
    write_m4a(tmp_path / "a.m4a")
    info = audio_info(tmp_path / "a.m4a")
    assert (info.sample_rate, info.channels) == (44_100, 2)
    assert info.seconds == pytest.approx(3.0, abs=0.1)
    heard = read_audio(tmp_path / "a.m4a")
    wanted = tone(len(heard), 16_000)
    assert len(heard) == pytest.approx(48_000, abs=1000)
    assert np.corrcoef(heard[2000:46_000], wanted[2000:46_000])[0, 1] > 0.99


def test_an_m4a_streams_as_it_is_read(tmp_path):
    write_m4a(tmp_path / "a.m4a")
    chunks = list(stream_audio(tmp_path / "a.m4a", chunk_seconds=0.05))
    assert np.array_equal(np.concatenate(chunks), read_audio(tmp_path / "a.m4a"))


def test_an_m4a_from_an_open_file_is_the_same(tmp_path):
    write_m4a(tmp_path / "a.m4a")
    with (tmp_path / "a.m4a").open("rb") as file:
        assert np.array_equal(read_audio(file), read_audio(tmp_path / "a.m4a"))


def test_a_container_of_nothing_is_refused():
    pytest.importorskip("av")
    with pytest.raises(AudioError, match="cannot be decoded"):
        audio_info(io.BytesIO(M4A_HEAD + bytes(100)))
