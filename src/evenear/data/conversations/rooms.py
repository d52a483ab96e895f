# SPDX-License-Identifier: Apache-2.0
"""What is between a mouth and a microphone, drawn at random: a room's echoes, and noise.

Legend: N samples.

Our reading: rooms are a direct path, few early echoes and a tail of noise that decays, as the
simulators of mixtures have them that know no geometry.
"""

import numpy as np
from numpy.typing import NDArray

from evenear.units import SAMPLE_RATE, Samples, Seconds

__all__ = ["colored_noise", "room_response"]


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
