# SPDX-License-Identifier: Apache-2.0
"""Read audio files, whole or as a stream, as mono float32 at the rate one asks for.

Reading whole is streaming and joining, so both give the same samples bit for bit. Streaming holds
a few seconds at a time, however long the file.

Legend: N samples, C channels.
"""

import logging
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from evenear.audio.recordings import AudioInfo, AudioSource, Recording, open_recording
from evenear.audio.resampling import StreamResampler, check_rate
from evenear.audio.samples import cancels, check_finite, loudest_channel, mix_down
from evenear.errors import AudioError
from evenear.units import SAMPLE_RATE, Samples, Seconds

__all__ = ["audio_info", "read_audio", "stream_audio"]

_log = logging.getLogger(__name__)
_LOUDEST = 2.0
"""Decoders overshoot full scale a little; what is louder is cut off here."""
_ANOTHER_SCALE = 100.0
"""Floats of this size are no sound that was recorded too loud: they have another scale."""


def read_audio(
    source: AudioSource, *, sample_rate: Samples = SAMPLE_RATE, channel: int | None = None
) -> NDArray[np.float32]:
    """Read a whole file.

    Args:
        source: A path, or a file that is open for reading bytes.
        sample_rate: Rate of the result, in Hz.
        channel: The channel to read, from 0; None: the mean of all.

    Returns:
        Mono samples, (n,). For hours of sound, prefer `stream_audio`.

    Raises:
        AudioError: The file is missing, no audio, empty, damaged, or holds samples that are not
            finite.
    """
    check_rate(sample_rate)
    recording = open_recording(source)
    pieces = list(_resampled(recording, sample_rate, channel))
    return np.concatenate([np.zeros(0, np.float32), *pieces])


def stream_audio(
    source: AudioSource,
    *,
    chunk_seconds: Seconds = 0.16,
    sample_rate: Samples = SAMPLE_RATE,
    channel: int | None = None,
) -> Iterator[NDArray[np.float32]]:
    """Read a file chunk by chunk, in constant memory.

    Args:
        source: A path, or a file that is open for reading bytes.
        chunk_seconds: Length of each chunk but the last, rounded to whole samples.
        sample_rate: Rate of the result, in Hz.
        channel: The channel to read, from 0; None: the mean of all.

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
    return _chunks(_resampled(recording, sample_rate, channel), round(chunk_seconds * sample_rate))


def audio_info(source: AudioSource) -> AudioInfo:
    """What a file says of itself: rate, channels, length, format.

    Only its header is read, so a file that breaks off is not noticed here.

    Raises:
        AudioError: The file is missing, empty, or no audio.
    """
    return open_recording(source).info


def _resampled(
    recording: Recording, sample_rate: Samples, channel: int | None
) -> Iterator[NDArray[np.float32]]:
    """The recording's blocks as mono samples at `sample_rate`."""
    if channel is not None and not 0 <= channel < recording.info.channels:
        raise AudioError(
            f"{recording.name} has {recording.info.channels} channels, asked for channel "
            f"{channel + 1}."
        )
    return _mono_blocks(recording, sample_rate, channel)


def _mono_blocks(
    recording: Recording, sample_rate: Samples, channel: int | None
) -> Iterator[NDArray[np.float32]]:
    from_rate = recording.info.sample_rate
    resampler = StreamResampler(from_rate, sample_rate)
    num_read = 0
    told: set[str] = set()
    for block_NC in recording.blocks_NC:
        check_finite(block_NC, name=recording.name, first_sample=num_read, sample_rate=from_rate)
        num_read += len(block_NC)
        yield resampler.accept(_mono(_limited(block_NC, recording, told), recording, channel, told))
    if num_read == 0:
        raise AudioError(
            f"{recording.name} must hold sound, but it has 0 samples.",
            hint="If it was being recorded when the recorder stopped, its header was never filled.",
        )
    yield resampler.finish()


def _limited(
    block_NC: NDArray[np.float32], recording: Recording, told: set[str]
) -> NDArray[np.float32]:
    """A block of a file of floats whose peaks are beyond full scale, with its peaks cut off."""
    peak = float(np.abs(block_NC).max(initial=0.0))
    if peak <= _LOUDEST:
        return block_NC
    if peak >= _ANOTHER_SCALE:
        raise AudioError(
            f"{recording.name} must hold samples in [-1, 1], got one of size {peak:.6g}.",
            hint="These are 16-bit values written as floats: divide them by 32768.",
        )
    if "loud" not in told:
        told.add("loud")
        _log.warning(
            "%s has peaks of %.3g times full scale; they are cut off at %g.",
            recording.name,
            peak,
            _LOUDEST,
        )
    return block_NC.clip(-_LOUDEST, _LOUDEST)


def _mono(
    block_NC: NDArray[np.float32], recording: Recording, channel: int | None, told: set[str]
) -> NDArray[np.float32]:
    """One channel of a block, or the mean of all unless they cancel each other."""
    if channel is not None:
        return block_NC[:, channel]
    if not cancels(block_NC):
        return mix_down(block_NC)
    if "cancels" not in told:
        told.add("cancels")
        _log.warning(
            "The channels of %s cancel each other: the louder one is heard alone there.",
            recording.name,
        )
    return loudest_channel(block_NC)


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
