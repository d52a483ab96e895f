# SPDX-License-Identifier: Apache-2.0
"""Mel energies as OpenAI's Whisper computes them, of sound that comes in chunks.

kaldi-native-fbank has them as well, and the tests hold these to those; but its transform of 400
samples took a third of all the processor time of a streaming `evenear-en`.

Each frame is computed alone, in float64: chunks of any size give the same numbers bit for bit.

Legend: N samples, T frames, K Fourier bins, M mel bins, W weights of all mel bins.

Source: Radford et al. 2022, arXiv:2212.04356, section 2.2; bins after Slaney's Auditory Toolbox.
Departs from it: ends are mirrored as Kaldi does, half a sample later.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from evenear.units import SAMPLE_RATE, Frames, Samples

__all__ = ["WhisperFrames", "slaney_hz", "slaney_places"]

_WINDOW = 400
_HOP = 160
_LEAD = 80
"""Zeros before the sound, so that frame t is centered where Whisper centers it, at 160 t."""
_BEFORE = (_WINDOW - _HOP) // 2
"""Samples of the first window before those zeros, where they and the sound are mirrored."""

_MOST_FRAMES = 3000
"""Frames that are computed at once: half a minute, so that an hour at once needs no more memory."""

_HANN_N = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)


class WhisperFrames:
    """The energies of one stream of 16 kHz samples. Keeps less than a window of them."""

    def __init__(self, num_mel_bins: int) -> None:
        self._num_mel_bins = num_mel_bins
        self._heard_N: NDArray[np.float64] = np.zeros(_LEAD)
        """Samples from `_first` on."""
        self._first: Samples = 0
        self._num_frames: Frames = 0

    def accept(self, samples_N: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take samples; return the energies of the frames that they complete, (T, M)."""
        self._heard_N = np.concatenate([self._heard_N, samples_N], dtype=np.float64)
        end = self._first + len(self._heard_N)
        num_whole = max(0, (end + _BEFORE - _WINDOW) // _HOP + 1)
        return self._until(num_whole)

    def finish(self) -> NDArray[np.float32]:
        """End the stream; return the frames whose windows reach beyond it, (T, M)."""
        return self._until((self._first + len(self._heard_N) + _HOP // 2) // _HOP)

    def _until(self, num_frames: Frames) -> NDArray[np.float32]:
        """The frames up to one, and nothing kept that later ones do not need."""
        parts = [np.zeros((0, self._num_mel_bins), np.float32)]
        for begin in range(self._num_frames, num_frames, _MOST_FRAMES):
            places_T = np.arange(begin, min(begin + _MOST_FRAMES, num_frames))
            parts.append(self._energies(self._windows(places_T)))
        self._num_frames = max(self._num_frames, num_frames)
        kept = max(self._first, _HOP * self._num_frames - _BEFORE - _WINDOW)
        self._heard_N, self._first = self._heard_N[kept - self._first :], kept
        return np.concatenate(parts)

    def _windows(self, frames_T: NDArray[np.intp]) -> NDArray[np.float64]:
        """The sound of some frames, (T, N), mirrored at both ends of what was heard."""
        end = self._first + len(self._heard_N)
        places_TN = (_HOP * frames_T - _BEFORE)[:, None] + np.arange(_WINDOW)
        while ((places_TN < 0) | (places_TN >= end)).any():
            places_TN = np.where(places_TN < 0, -places_TN - 1, places_TN)
            places_TN = np.where(places_TN >= end, 2 * end - 1 - places_TN, places_TN)
        return self._heard_N[places_TN - self._first]

    def _energies(self, windows_TN: NDArray[np.float64]) -> NDArray[np.float32]:
        spectrum_TK = np.fft.rfft(windows_TN * _HANN_N)
        power_TK = spectrum_TK.real**2 + spectrum_TK.imag**2
        bins_W, weights_W, begins_M = _filters(self._num_mel_bins)
        energies_TM = np.add.reduceat(power_TK[:, bins_W] * weights_W, begins_M, axis=1)
        return energies_TM.astype(np.float32)


def slaney_hz(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Frequencies of places on Slaney's mel scale: linear below 1 kHz, logarithmic above."""
    return np.where(places < 15.0, 200.0 * places / 3.0, 1000.0 * 6.4 ** ((places - 15.0) / 27.0))


def slaney_places(num_mel_bins: int) -> NDArray[np.float64]:
    """Edges of the bins on that scale: bin m lies around place m + 1 of num_mel_bins + 2."""
    top = 15.0 + 27.0 * float(np.log(SAMPLE_RATE / 2000.0) / np.log(6.4))
    return np.linspace(0.0, top, num_mel_bins + 2)


@lru_cache(4)
def _filters(
    num_mel_bins: int,
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.intp]]:
    """Triangles of equal area: their Fourier bins, weights, and where each one begins, (M,)."""
    edges = slaney_hz(slaney_places(num_mel_bins))
    hz_K = np.arange(_WINDOW // 2 + 1) * SAMPLE_RATE / _WINDOW
    bins, weights, begins = [], [], []
    for low, center, high in zip(edges, edges[1:], edges[2:], strict=False):
        rise_K, fall_K = (hz_K - low) / (center - low), (high - hz_K) / (high - center)
        weights_K = np.clip(np.minimum(rise_K, fall_K), 0.0, None) * 2.0 / (high - low)
        # A bin so narrow that no frequency lies in it has no energy.
        inside = np.flatnonzero(weights_K) if weights_K.any() else np.array([0])
        begins.append(sum(map(len, bins)))
        bins.append(inside)
        weights.append(weights_K[inside])
    return np.concatenate(bins), np.concatenate(weights), np.array(begins, np.intp)
