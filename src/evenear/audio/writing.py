# SPDX-License-Identifier: Apache-2.0
"""Write audio files, whole or not at all.

The file is encoded in memory, written beside its target, flushed to the disk and then renamed, so a
full disk or a crash never leaves half a file under the name one asked for.

Legend: N samples, C channels.
"""

import io
import os
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import ArrayLike, NDArray

from evenear.atomic import write_bytes
from evenear.audio.recordings import BLOCK_SAMPLES
from evenear.audio.resampling import check_rate
from evenear.audio.samples import check_finite, to_float32
from evenear.errors import AudioError, nearest_names
from evenear.units import SAMPLE_RATE, Samples

__all__ = ["write_audio"]

_FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
_FLOAT_SUBTYPES = ("FLOAT", "DOUBLE")


def write_audio(
    path: str | os.PathLike[str],
    samples: ArrayLike,
    *,
    sample_rate: Samples = SAMPLE_RATE,
    subtype: str | None = None,
) -> None:
    """Write samples to a file whose format follows from its suffix.

    Args:
        path: Ends in .wav, .flac, .ogg (Vorbis), .opus or .mp3. An existing file is replaced.
        samples: Shape (n,) or (n, channels), of any type that `to_mono_float32` takes.
        sample_rate: In Hz.
        subtype: libsndfile's name of the encoding, such as "PCM_24" or "FLOAT"; by default 16 bits
            where the format is lossless.

    Raises:
        AudioError: The suffix, subtype or rate does not fit the format; there are no samples; one
            is not finite, or is louder than full scale and the encoding cannot hold that; or the
            file cannot be written.
    """
    target = Path(path)
    form, default_subtype = _format_of(target)
    subtype = subtype or default_subtype
    check_rate(sample_rate)
    samples_NC = to_float32(samples)
    _check_samples(samples_NC, target, subtype)
    try:
        encoded = _encode(samples_NC, sample_rate, form, subtype)
    except (soundfile.SoundFileError, ValueError) as error:
        raise AudioError(
            f"{target} cannot be {form} {subtype} at {sample_rate} Hz "
            f"with {samples_NC.shape[1]} channels: {error}",
            hint=nearest_names(subtype, soundfile.available_subtypes(form)),
        ) from None
    if target.exists() and not target.is_file():
        raise AudioError(f"{target} must be a file, or not exist yet.")
    try:
        write_bytes(target, encoded)
    except OSError as error:
        raise AudioError(f"{target} cannot be written: {error.strerror}.") from error


def _format_of(target: Path) -> tuple[str, str]:
    """The format and its usual encoding, from the suffix."""
    suffix = target.suffix.lower()
    if suffix not in _FORMATS:
        raise AudioError(
            f"An audio file to write must end in {', '.join(_FORMATS)}, got {target.name!r}."
        )
    return _FORMATS[suffix]


def _check_samples(samples_NC: NDArray[np.float32], target: Path, subtype: str) -> None:
    """Refuse what would not come back from the file."""
    if len(samples_NC) == 0:
        raise AudioError(f"{target} must get at least one sample, got none.")
    check_finite(samples_NC, name=f"Samples for {target}")
    peak = float(np.abs(samples_NC).max())
    if peak > 1.0 and subtype not in _FLOAT_SUBTYPES:
        raise AudioError(
            f"Samples for {target} must lie in [-1, 1] or they would be clipped, "
            f"got a peak of {peak:.4f}.",
            hint="Divide by the peak, or write a .wav with subtype='FLOAT'.",
        )


def _encode(
    samples_NC: NDArray[np.float32], sample_rate: Samples, form: str, subtype: str
) -> bytes:
    """The file's bytes. Block by block: Vorbis encoders overflow their stack on long arrays."""
    buffer = io.BytesIO()
    num_channels = samples_NC.shape[1]
    with soundfile.SoundFile(buffer, "w", sample_rate, num_channels, subtype, format=form) as file:
        for start in range(0, len(samples_NC), BLOCK_SAMPLES):
            file.write(samples_NC[start : start + BLOCK_SAMPLES])
    return buffer.getvalue()
