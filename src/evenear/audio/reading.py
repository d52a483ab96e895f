# SPDX-License-Identifier: Apache-2.0
"""Read audio files, whole or as a stream, as mono float32 at the rate one asks for.

Reading whole is streaming and joining, so both give the same samples bit for bit. Streaming holds
a few seconds at a time, however long the file.

Legend: N samples, C channels.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from evenear.audio.recordings import AudioInfo, AudioSource, Recording, open_recording
from evenear.audio.resampling import StreamResampler, check_rate
from evenear.audio.samples import check_finite, mix_down
from evenear.errors import AudioError
from evenear.units import SAMPLE_RATE, Samples, Seconds

__all__ = ["audio_info", "read_audio", "stream_audio"]


def read_audio(source: AudioSource, *, sample_rate: Samples = SAMPLE_RATE) -> NDArray[np.float32]:
    """Read a whole file.

    Args:
        source: A path, or a file that is open for reading bytes.
        sample_rate: Rate of the result, in Hz.

    Returns:
        Mono samples, (n,). For hours of sound, prefer `stream_audio`.

    Raises:
        AudioError: The file is missing, no audio, empty, damaged, or holds samples that are not
            finite.
    """
    check_rate(sample_rate)
    recording = open_recording(source)
    pieces = list(_resampled(recording, sample_rate))
    return np.concatenate([np.zeros(0, np.float32), *pieces])


def stream_audio(
    source: AudioSource, *, chunk_seconds: Seconds = 0.16, sample_rate: Samples = SAMPLE_RATE
) -> Iterator[NDArray[np.float32]]:
    """Read a file chunk by chunk, in constant memory.

    Args:
        source: A path, or a file that is open for reading bytes.
        chunk_seconds: Length of each chunk but the last, rounded to whole samples.
        sample_rate: Rate of the result, in Hz.

    Returns:
        Chunks of mono samples, (n,); joined, they are what `read_audio` returns. A file that breaks
        off gives what can be read before it raises.

    Raises:
        AudioError: As `read_audio`; a file that cannot be opened raises at once.
    """
    check_rate(sample_rate)
    is_usable = np.isfinite(chunk_seconds) and round(chunk_seconds * sample_rate) >= 1
    if not is_usable:
        raise AudioError(
            f"A chunk must have at least one sample ({1 / sample_rate:.6f} s), "
            f"got {chunk_seconds} s."
        )
    recording = open_recording(source)
    return _chunks(_resampled(recording, sample_rate), round(chunk_seconds * sample_rate))


def audio_info(source: AudioSource) -> AudioInfo:
    """What a file says of itself: rate, channels, length, format.

    Only its header is read, so a file that breaks off is not noticed here.

    Raises:
        AudioError: The file is missing, empty, or no audio.
    """
    return open_recording(source).info


def _resampled(recording: Recording, sample_rate: Samples) -> Iterator[NDArray[np.float32]]:
    """The recording's blocks as mono samples at `sample_rate`."""
    from_rate = recording.info.sample_rate
    resampler = StreamResampler(from_rate, sample_rate)
    num_read = 0
    for block_NC in recording.blocks_NC:
        check_finite(block_NC, name=recording.name, first_sample=num_read, sample_rate=from_rate)
        num_read += len(block_NC)
        yield resampler.accept(mix_down(block_NC))
    if num_read == 0:
        raise AudioError(
            f"{recording.name} must hold sound, but it has 0 samples.",
            hint="If it was being recorded when the recorder stopped, its header was never filled.",
        )
    yield resampler.finish()


def _chunks(
    pieces: Iterator[NDArray[np.float32]], chunk_samples: Samples
) -> Iterator[NDArray[np.float32]]:
    """Cut pieces of any length into chunks of one length; the last may be shorter."""
    pending: list[NDArray[np.float32]] = []
    num_pending = 0
    try:
        for piece in pieces:
            pending.append(piece)
            num_pending += len(piece)
            if num_pending < chunk_samples:
                continue
            joined = np.concatenate(pending)
            num_whole = num_pending // chunk_samples * chunk_samples
            for start in range(0, num_whole, chunk_samples):
                yield joined[start : start + chunk_samples]
            pending = [joined[num_whole:]]
            num_pending -= num_whole
    except AudioError:
        if num_pending:
            yield np.concatenate(pending)
        raise
    if num_pending:
        yield np.concatenate(pending)
