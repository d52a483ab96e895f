# SPDX-License-Identifier: Apache-2.0
"""A recording as it is in its file: what it says of itself, and its samples in blocks.

WAV, FLAC, OGG, MP3, Opus, AIFF and what else libsndfile knows are opened here. Files that only
FFmpeg can decode (m4a, mp4, webm, …) go to `evenear.audio.containers`.

A file that breaks off gives what can be read, and then an error that says how much that was.

Legend: N samples, C channels.
"""

import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import soundfile
from numpy.typing import NDArray

from evenear.audio import containers
from evenear.errors import AudioError

__all__ = ["BLOCK_SAMPLES", "AudioInfo", "AudioSource", "Recording", "open_recording"]

AudioSource = str | os.PathLike[str] | BinaryIO
"""A path, or a file that is open for reading bytes."""

BLOCK_SAMPLES = 65_536
"""Samples per channel that are decoded at a time."""

_UNKNOWN_LENGTH = 2**62
_STREAMED_WAV_BYTES = 0x7FFF_0000  # writers to a pipe put such a number where the size would be
_MP3_SLACK_SAMPLES = 2304  # old encoders count the two frames that a decoder swallows


@dataclass(frozen=True, kw_only=True)
class AudioInfo:
    """What an audio file says of itself.

    `num_samples` counts samples per channel. It is what the file declares: an estimate for MP3
    files without a Xing header, and 0 where the file does not say (FLAC written to a pipe).
    """

    sample_rate: int
    channels: int
    num_samples: int
    seconds: float
    format: str


@dataclass(frozen=True)
class Recording:
    """An opened recording: its name, what it says of itself, and its samples, once through."""

    name: str
    info: AudioInfo
    blocks_NC: Iterator[NDArray[np.float32]]


class _ForwardFile(soundfile.SoundFile):
    """A file that is read from start to end.

    soundfile seeks after each read, which resets an MP3 decoder: at each block's edge its samples
    would be off by up to -35 dB. A file that cannot seek is left alone.
    """

    def seekable(self) -> bool:
        return False


def open_recording(source: AudioSource) -> Recording:
    """Open a path or a binary file for reading once, from its start.

    Raises:
        AudioError: It is missing, empty, no file, or nothing that can be decoded here.
    """
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        name = str(path)
        _check_path(path)
        with path.open("rb") as file:
            head = _read_head(file)
        target: str | BinaryIO = str(path)
    else:
        name = str(getattr(source, "name", "the audio stream"))
        target = source if source.seekable() else io.BytesIO(source.read())
        head = _read_head(target)
    if not head:
        raise AudioError(f"{name} must hold audio, but it is empty (0 bytes).")
    if containers.is_container(head):
        return Recording(name, *_open_container(target, name))
    return _open_file(target, name, head)


def _check_path(path: Path) -> None:
    """Say what is wrong with a path in words better than a decoder's."""
    if path.is_dir():
        raise AudioError(f"{path} must be an audio file, but it is a folder.")
    if not path.exists():
        raise AudioError(f"There is no file {path}.", hint="Check the name and the folder.")
    if not os.access(path, os.R_OK):
        raise AudioError(f"{path} may not be read.", hint="Check its permissions.")


def _read_head(file: BinaryIO) -> bytes:
    """The first bytes of the audio, after an ID3 tag if there is one; the position is kept."""
    start = file.tell()
    head = file.read(64)
    if head[:3] == b"ID3" and len(head) > 10:
        tag_bytes = sum(
            byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True)
        )
        file.seek(start + 10 + tag_bytes)
        head = file.read(64) or head
    file.seek(start)
    return head


def _open_container(
    target: str | BinaryIO, name: str
) -> tuple[AudioInfo, Iterator[NDArray[np.float32]]]:
    rate, channels, seconds, form, blocks_NC = containers.open_container(target, name)
    num_samples = round(seconds * rate)
    info = AudioInfo(
        sample_rate=rate,
        channels=channels,
        num_samples=num_samples,
        seconds=num_samples / rate,
        format=form,
    )
    return info, blocks_NC


def _open_file(target: str | BinaryIO, name: str, head: bytes) -> Recording:
    """Open what libsndfile knows."""
    try:
        file = _ForwardFile(target)
    except (soundfile.SoundFileError, TypeError, OSError) as error:
        raise AudioError(
            f"{name} must be WAV, FLAC, OGG, Opus or MP3 audio, but {_first_words(head, error)}.",
            hint=f"Play it to see if it is sound, or convert it: ffmpeg -i {name!r} out.wav",
        ) from None
    num_samples = file.frames if file.frames < _UNKNOWN_LENGTH else 0
    info = AudioInfo(
        sample_rate=file.samplerate,
        channels=file.channels,
        num_samples=num_samples,
        seconds=num_samples / file.samplerate,
        format="OPUS" if file.subtype == "OPUS" else file.format,
    )
    return Recording(name, info, _blocks(file, name, _declared_samples(file, head)))


def _first_words(head: bytes, error: Exception) -> str:
    """How a file that nobody can decode begins, if that tells something."""
    if isinstance(error, TypeError):
        return "it has no header that says its sample rate"
    text = head.split(b"\n")[0]
    if text[:1] == b"\xef" or (text and all(32 <= byte < 127 or byte == 9 for byte in text)):
        return f"it begins with the text {text[:40].decode('utf-8', 'replace')!r}"
    return f"it begins with the bytes {head[:8].hex(' ')}"


def _declared_samples(file: soundfile.SoundFile, head: bytes) -> int:
    """Samples per channel that a whole file would have; 0 if it does not say so reliably."""
    if file.format == "MP3":
        has_count = b"Xing" in head or b"Info" in head
        return max(file.frames - _MP3_SLACK_SAMPLES, 0) if has_count else 0
    if file.frames >= _UNKNOWN_LENGTH:
        return 0
    # WAV and AIFF: libsndfile believes the file's size, and notes what the header had said.
    note = re.search(r"(?:data|SSND)\s*:\s*(\d+) \(should be (\d+)\)", file.extra_info)
    if note and int(note[1]) < _STREAMED_WAV_BYTES and int(note[2]) > 0:
        return file.frames * int(note[1]) // int(note[2])
    return file.frames


def _blocks(
    file: soundfile.SoundFile, name: str, declared_samples: int
) -> Iterator[NDArray[np.float32]]:
    """Decode to the end; raise if that comes before the declared end."""
    num_read = 0
    is_broken = False
    with file:
        while not is_broken:
            try:
                block_NC = file.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)
            except soundfile.SoundFileError:
                is_broken = True
                continue
            if len(block_NC) == 0:
                break
            num_read += len(block_NC)
            yield cast("NDArray[np.float32]", block_NC)
    if is_broken or num_read < declared_samples:
        rate = file.samplerate
        whole = f" of {declared_samples / rate:.2f} s" if declared_samples else ""
        raise AudioError(
            f"{name} is damaged or cut off: {num_read / rate:.2f} s{whole} could be read.",
            hint=f"Copy it again, or keep what is there: ffmpeg -i {name!r} out.wav",
        )
