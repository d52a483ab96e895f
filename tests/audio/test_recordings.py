# SPDX-License-Identifier: Apache-2.0
"""Files that are broken in each way a file can be, and what is said of them."""

import io
import os
import struct

import numpy as np
import pytest
import soundfile

from evenear.audio.reading import audio_info, read_audio
from evenear.audio.recordings import BLOCK_SAMPLES, open_recording
from evenear.audio.writing import write_audio
from evenear.errors import AudioError
from evenear.seeding import rng_for


def noise(num_samples):
    return rng_for(0, "noise", num_samples).uniform(-0.5, 0.5, num_samples).astype(np.float32)


def test_blocks_keep_channels_and_order(tmp_path):
    samples_NC = np.stack([noise(150_000), np.arange(150_000) / 150_000], axis=1)
    soundfile.write(tmp_path / "a.wav", samples_NC.astype(np.float32), 16_000, subtype="FLOAT")
    recording = open_recording(tmp_path / "a.wav")
    blocks = list(recording.blocks_NC)
    assert np.array_equal(np.concatenate(blocks), samples_NC.astype(np.float32))
    assert max(len(block) for block in blocks) == BLOCK_SAMPLES
    assert recording.name == str(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.wav", b"", "empty .0 bytes."),
        ("a.wav", b"This is not sound.\nIndeed not.\n", "begins with the text 'This is not sound"),
        ("a.wav", "\ufeffÄhm".encode(), "begins with the text"),
        ("a.wav", bytes(range(128, 200)), "begins with the bytes 80 81 82"),
        ("a.wav", b"R", "begins with the text 'R'"),
        ("a.wav", b"RIFF\x24\0\0\0WAVEfmt ", "must be WAV"),
        ("a.raw", bytes(100), "no header that says its sample rate"),
        ("a.mp3", b"ID3\x04\0\0\0\0\0\x00" + b"no frames" * 30, "must be WAV"),
    ],
)
def test_what_is_no_audio_is_named_as_what_it_is(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AudioError, match=reason):
        audio_info(tmp_path / name)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(AudioError, match=r"There is no file .*nowhere"):
        open_recording(tmp_path / "nowhere.wav")
    with pytest.raises(AudioError, match="it is a folder"):
        open_recording(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_one_may_not_read_is_named(tmp_path):
    write_audio(tmp_path / "a.wav", noise(10))
    (tmp_path / "a.wav").chmod(0)
    with pytest.raises(AudioError, match="may not be read"):
        open_recording(tmp_path / "a.wav")


def test_an_empty_stream_is_named():
    with pytest.raises(AudioError, match="the audio stream must hold audio, but it is empty"):
        open_recording(io.BytesIO())


@pytest.mark.parametrize("kept", [0.9, 0.5, 0.1])
def test_a_truncated_flac_says_how_much_was_readable(tmp_path, kept):
    write_audio(tmp_path / "a.flac", noise(16_000 * 20))
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(AudioError, match=r"of 20\.00 s could be read") as caught:
        read_audio(tmp_path / "a.flac")
    readable = float(caught.value.message.split(": ")[-1].split(" s")[0])
    assert 20 * kept - BLOCK_SAMPLES / 16_000 - 1 <= readable <= 20 * kept + 0.5


def test_a_flac_that_ends_between_frames_is_noticed_too(tmp_path):
    # Cut at the last frame's sync code, so that no frame is broken.
    write_audio(tmp_path / "a.flac", noise(16_000 * 5))
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(content[: content.rindex(b"\xff\xf8")])
    with pytest.raises(AudioError, match=r"of 5\.00 s could be read"):
        read_audio(tmp_path / "a.flac")


def test_a_flac_with_damaged_bytes_is_noticed(tmp_path):
    write_audio(tmp_path / "a.flac", noise(16_000 * 5))
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 20_000] = bytes(20_000)
    (tmp_path / "a.flac").write_bytes(content)
    with pytest.raises(AudioError, match="is damaged or cut off"):
        read_audio(tmp_path / "a.flac")


def test_a_flac_written_to_a_pipe_is_read_to_its_end(tmp_path):
    samples = noise(80_000)
    write_audio(tmp_path / "a.flac", samples)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[21] &= 0xF0  # the 36 bits of STREAMINFO that count samples, all 0: unknown
    content[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(content)
    assert len(read_audio(tmp_path / "a.flac")) == 80_000
    assert audio_info(tmp_path / "a.flac").num_samples == 0


def test_a_truncated_mp3_that_counted_its_frames_is_noticed(tmp_path):
    write_audio(tmp_path / "a.mp3", noise(16_000 * 10))
    content = (tmp_path / "a.mp3").read_bytes()
    tag = b"ID3\x04\0\0" + bytes([0, 0, 2, 0]) + bytes(256)
    (tmp_path / "tagged.mp3").write_bytes(tag + content)
    assert len(read_audio(tmp_path / "tagged.mp3")) == 160_000
    (tmp_path / "cut.mp3").write_bytes(tag + content[: len(content) // 2])
    with pytest.raises(AudioError, match="is damaged or cut off"):
        read_audio(tmp_path / "cut.mp3")


def test_an_mp3_that_did_not_count_its_frames_is_read_to_its_end(tmp_path):
    loud_at_last = noise(16_000 * 10) * (np.arange(160_000) > 80_000)
    soundfile.write(tmp_path / "a.mp3", loud_at_last, 16_000, bitrate_mode="VARIABLE")
    content = (tmp_path / "a.mp3").read_bytes()
    second_frame = content.index(content[:2], content.index(b"Xing"))
    (tmp_path / "a.mp3").write_bytes(content[second_frame:])
    assert len(read_audio(tmp_path / "a.mp3")) == pytest.approx(160_000, abs=3000)


@pytest.mark.parametrize("size", [0xFFFF_FFFF, 0x7FFF_FFFF, 0x7FFF_F000])
def test_a_wav_written_to_a_pipe_is_read_to_its_end(tmp_path, size):
    write_audio(tmp_path / "a.wav", noise(8000))
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[4:8] = content[40:44] = struct.pack("<I", size)
    (tmp_path / "a.wav").write_bytes(content)
    assert len(read_audio(tmp_path / "a.wav")) == 8000


def test_text_after_a_byte_order_mark_and_long_names_do_not_confuse_the_message(tmp_path):
    (tmp_path / "it's a file.wav").write_bytes(b"\xef\xbb\xbfhello")
    with pytest.raises(AudioError, match="ffmpeg -i"):
        audio_info(tmp_path / "it's a file.wav")
