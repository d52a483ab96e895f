# SPDX-License-Identifier: Apache-2.0
"""The sound of m4a, mp4, avi, webm, mkv, wma, amr and aac files, with the `media` extra.

libsndfile cannot decode these. If av (which brings FFmpeg) is installed, they are decoded like any
other file; if not, the error says how to install it, or how to convert the file.

Legend: N samples, C channels.
"""

import importlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from evenear.errors import AudioError

__all__ = ["is_container", "open_container"]

_MAGIC = (
    (4, b"ftyp"),  # mp4, m4a, mov
    (8, b"AVI "),
    (0, b"\x1a\x45\xdf\xa3"),  # webm, mkv
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),  # wma
    (0, b"#!AMR"),
    (0, b"\xff\xf1"),  # aac
    (0, b"\xff\xf9"),
)


def is_container(head: bytes) -> bool:
    """Whether a file that begins with these bytes is one that only FFmpeg decodes."""
    return any(head[at : at + len(magic)] == magic for at, magic in _MAGIC)


def open_container(
    target: str | BinaryIO, name: str
) -> tuple[int, int, float, str, Iterator[NDArray[np.float32]]]:
    """Open the first audio track of a container.

    Returns:
        Sample rate, channels, declared seconds (0 if unknown), format, and blocks of samples.

    Raises:
        AudioError: av is not installed, or finds no audio in the file.
    """
    convert = f"ffmpeg -i {name!r} out.wav"
    try:
        av: Any = importlib.import_module("av")
    except ImportError:
        raise AudioError(
            f"{name} is in a format (m4a, mp4, webm, wma, amr or aac) that needs FFmpeg.",
            hint=f"Convert it: {convert}; or install the extra: pip install 'evenear[media]'",
        ) from None
    try:
        container = av.open(target)
        stream = container.streams.audio[0]
    except IndexError:
        raise AudioError(f"{name} must have sound, but it has no audio track.") from None
    except (av.error.FFmpegError, OSError) as error:
        raise AudioError(f"{name} cannot be decoded: {error}.") from None
    seconds = 0.0
    if stream.duration is not None:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        seconds = container.duration / av.time_base
    form = container.format.name.split(",")[0].upper()
    blocks_NC = _blocks(av, container, stream, name)
    return int(stream.rate), int(stream.channels), seconds, form, blocks_NC


def _blocks(av: Any, container: Any, stream: Any, name: str) -> Iterator[NDArray[np.float32]]:
    """Decode to the end, as planar floats at the track's own rate."""
    resampler = av.AudioResampler(format="fltp", rate=stream.rate)
    num_read = 0
    with container:
        try:
            for frame in container.decode(stream):
                for piece in resampler.resample(frame):
                    num_read += piece.samples
                    yield np.ascontiguousarray(piece.to_ndarray().T)
            for piece in resampler.resample(None):
                num_read += piece.samples
                yield np.ascontiguousarray(piece.to_ndarray().T)
        except av.error.FFmpegError as error:
            raise AudioError(
                f"{name} is damaged or cut off: {num_read / stream.rate:.2f} s could be read "
                f"({error})."
            ) from None
