# SPDX-License-Identifier: Apache-2.0
"""Change the sample rate, of a whole recording or of a stream.

A whole recording is a stream that was fed at once: chunks of any size give the same samples bit for
bit. The output is aligned with the input in time; `finish` lets out what the filter still holds.

Source: soxr (libsoxr), quality "HQ".
"""

import numpy as np
import soxr
from numpy.typing import NDArray

from evenear.errors import AudioError, StateError

__all__ = ["StreamResampler", "check_rate", "resample"]


class StreamResampler:
    """Resamples a stream of mono samples chunk by chunk, in constant memory.

    Args:
        from_rate: Rate of the samples that come, in Hz.
        to_rate: Rate of the samples that go, in Hz.

    Raises:
        AudioError: A rate is not a positive whole number.
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        check_rate(from_rate)
        check_rate(to_rate)
        self._is_finished = False
        self._soxr = None
        if from_rate != to_rate:
            self._soxr = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32", quality="HQ")

    def accept(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take mono samples, (n,); return the resampled ones that became known, perhaps none."""
        if samples.ndim != 1:
            raise AudioError(
                f"Expected mono samples of shape (n,), got {samples.shape}.",
                hint="Mix down first, with `to_mono_float32`.",
            )
        return self._process(samples, is_last=False)

    def finish(self) -> NDArray[np.float32]:
        """End the stream; return its last samples."""
        last = self._process(np.zeros(0, np.float32), is_last=True)
        self._is_finished = True
        return last

    def _process(self, samples: NDArray[np.float32], *, is_last: bool) -> NDArray[np.float32]:
        if self._is_finished:
            raise StateError(
                "This resampler has finished its stream.", hint="Make one for each stream."
            )
        samples = np.asarray(samples, np.float32)
        if self._soxr is None:
            return samples
        return self._soxr.resample_chunk(samples, last=is_last)


def resample(samples: NDArray[np.float32], *, from_rate: int, to_rate: int) -> NDArray[np.float32]:
    """Resample a whole recording of mono samples, (n,).

    Raises:
        AudioError: The samples are not mono, or a rate is not a positive whole number.
    """
    resampler = StreamResampler(from_rate, to_rate)
    return np.concatenate([resampler.accept(samples), resampler.finish()])


def check_rate(rate: int) -> None:
    """Refuse a sample rate that is not a positive whole number of Hz."""
    if isinstance(rate, bool) or not isinstance(rate, (int, np.integer)) or rate <= 0:
        raise AudioError(f"A sample rate must be a positive whole number of Hz, got {rate!r}.")
