# SPDX-License-Identifier: Apache-2.0
"""What is between a mouth and a microphone, drawn at random: a room's echoes, and noise.

Legend: N samples, W windows, F frequencies.

Our reading: rooms are a direct path, few early echoes and a tail of noise that decays, as the
simulators of mixtures have them that know no geometry.
"""

import numpy as np
from numpy.typing import NDArray

from evenear.units import SAMPLE_RATE, Samples, Seconds

__all__ = ["colored_noise", "quiet_like", "room_response"]

_WINDOW, _QUIET_PART = 320, 0.1


def room_response(rt60_seconds: Seconds, rng: np.random.Generator) -> NDArray[np.float64]:
    """A direct path, some early echoes and a tail of noise that falls by 60 dB in RT60."""
    if not rt60_seconds:
        return np.ones(1)
    length = max(2, round(rt60_seconds * SAMPLE_RATE))
    time_N = np.arange(length) / SAMPLE_RATE
    tail_N = rng.standard_normal(length) * np.exp(-6.9078 * time_N / rt60_seconds)
    start = round(0.02 * SAMPLE_RATE)
    tail_N[:start] *= rng.random(min(start, length)) < 0.02  # few echoes at first
    tail_N[0] = 0.0
    power = float(np.square(tail_N).sum())
    tail_N *= np.sqrt(rng.uniform(0.05, 0.6) / max(power, 1e-12))
    tail_N[0] = 1.0
    return tail_N / np.sqrt(np.square(tail_N).sum())


def colored_noise(num_samples: Samples, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise of power 1 whose spectrum falls with some power of the frequency."""
    size = max(num_samples, 2)
    hz = np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), 20.0)
    spectrum = hz ** -float(rng.uniform(0.0, 1.0)) * np.exp(2j * np.pi * rng.random(len(hz)))
    noise_N = np.fft.irfft(spectrum, size)[:num_samples]
    return (noise_N / np.sqrt(max(float(np.square(noise_N).mean()), 1e-20))).astype(np.float32)


def quiet_like(
    samples_N: NDArray[np.float32], num_samples: Samples, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Noise with the level and the spectrum of a recording's quietest tenth, as its pauses have.

    Of a recording shorter than 20 ms it is silence.
    """
    num_windows = len(samples_N) // _WINDOW
    if not num_windows:
        return np.zeros(num_samples, np.float32)
    windows_WN = samples_N[: num_windows * _WINDOW].reshape(num_windows, _WINDOW).astype(np.float64)
    power_W = np.square(windows_WN).mean(axis=1)
    quietest = np.argsort(power_W)[: max(1, round(_QUIET_PART * num_windows))]
    spectra_WF = np.abs(np.fft.rfft(windows_WN[quietest] * np.hanning(_WINDOW), axis=1)) ** 2
    size = max(num_samples, 2)
    places = np.fft.rfftfreq(size) * _WINDOW
    gain_F = np.sqrt(np.interp(places, np.arange(spectra_WF.shape[1]), spectra_WF.mean(axis=0)))
    noise_N = np.fft.irfft(np.fft.rfft(rng.standard_normal(size)) * gain_F, size)[:num_samples]
    loud = np.sqrt(float(np.square(noise_N).mean())) if num_samples else 0.0
    level = np.sqrt(float(power_W[quietest].mean()))
    return (noise_N * (level / max(loud, 1e-20))).astype(np.float32)
