# SPDX-License-Identifier: Apache-2.0
"""Samples of any common type as mono float32 in [-1, 1].

Integers are divided by their full scale (int16 by 32768, int32 by 2**31); uint8 is centered on 128,
as in WAV files. Several channels become one by their mean.

Legend: N samples, C channels.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evenear.errors import AudioError

__all__ = [
    "cancels",
    "check_finite",
    "loudest_channel",
    "mix_down",
    "to_float32",
    "to_mono_float32",
]

_MOST_CHANNELS = 256
_LEFT_OF_POWER = 1e-3
"""Channels cancel if this part of their power is left in their mean."""
_FULL_SCALES = {"int8": 2.0**7, "int16": 2.0**15, "int32": 2.0**31}


def to_mono_float32(samples: ArrayLike) -> NDArray[np.float32]:
    """Samples as mono float32.

    Args:
        samples: Shape (n,) or (n, channels); float16, float32 or float64 in [-1, 1], or int8,
            int16, int32 or uint8 at full scale. Floats outside [-1, 1] are kept as they are.

    Returns:
        Shape (n,): the mean of the channels.

    Raises:
        AudioError: Another shape or type, or a sample is NaN or infinite.
    """
    samples_NC = to_float32(samples)
    check_finite(samples_NC)
    return mix_down(samples_NC)


def to_float32(samples: ArrayLike) -> NDArray[np.float32]:
    """Samples of any common type as float32 of shape (n, channels), channels kept apart.

    Raises:
        AudioError: Another shape or type.
    """
    array = np.asarray(samples)
    array_NC = array[:, None] if array.ndim == 1 else array
    if array_NC.ndim != 2 or array_NC.shape[1] == 0:
        raise AudioError(f"Samples must have shape (n,) or (n, channels), got {array.shape}.")
    if array_NC.shape[1] > _MOST_CHANNELS:
        raise AudioError(
            f"Samples must have shape (n, channels), got {array.shape}: too many channels.",
            hint="If the channels come first, transpose: `samples.T`.",
        )
    name = array.dtype.name
    if name in _FULL_SCALES:
        return (array_NC / np.float64(_FULL_SCALES[name])).astype(np.float32)
    if name == "uint8":
        return ((array_NC - np.float64(128)) / 128).astype(np.float32)
    if array.dtype.kind == "f":
        return array_NC.astype(np.float32, copy=False)
    raise AudioError(
        f"Samples must be float or int8, int16, int32 or uint8, got {name}.",
        hint="Only the type says what full scale is: convert to int16, or to float in [-1, 1].",
    )


def mix_down(samples_NC: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of the channels, (n,)."""
    if samples_NC.shape[1] == 1:
        return samples_NC[:, 0]
    return samples_NC.mean(axis=1, dtype=np.float32)


def cancels(samples_NC: NDArray[np.float32]) -> bool:
    """Whether the mean of the channels has next to nothing of them, as where signs are opposite."""
    if samples_NC.shape[1] == 1 or not len(samples_NC):
        return False
    power = float(np.square(samples_NC, dtype=np.float64).mean())
    left = float(np.square(samples_NC.mean(axis=1, dtype=np.float64)).mean())
    return left < _LEFT_OF_POWER * power


def loudest_channel(samples_NC: NDArray[np.float32]) -> NDArray[np.float32]:
    """The channel with the most power, (n,)."""
    return samples_NC[:, int(np.square(samples_NC, dtype=np.float64).sum(axis=0).argmax())]


def check_finite(
    samples_NC: NDArray[np.float32],
    *,
    name: str = "Samples",
    first_sample: int = 0,
    sample_rate: int | None = None,
) -> None:
    """Refuse NaN and infinite samples.

    Args:
        samples_NC: What to check.
        name: What the samples are, for the message.
        first_sample: Position of the first of these samples in the recording.
        sample_rate: If known, the message says the second, else the position.

    Raises:
        AudioError: A sample is not finite; the message says where the first one is.
    """
    finite_N = np.isfinite(samples_NC).all(axis=1)
    if finite_N.all():
        return
    bad = int(finite_N.argmin())
    position = first_sample + bad
    channel = int(np.isfinite(samples_NC[bad]).argmin())
    where = f"sample {position}"
    if sample_rate is not None:
        where = f"{position / sample_rate:.3f} s ({where})"
    raise AudioError(
        f"{name} must be finite numbers, got {samples_NC[bad, channel]} at {where}, "
        f"channel {channel + 1} of {samples_NC.shape[1]}.",
        hint="Mend what made the recording, or cut that part out.",
    )
