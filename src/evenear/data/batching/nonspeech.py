# SPDX-License-Identifier: Apache-2.0
"""Sound that is no speech, made from nothing: melodies, drones, beats, hums and rushing noise.

A recognizer that has heard only speech and hiss hears words in music. Nothing of this has to be
downloaded, and no two pieces are alike: scale, tempo, timbre, decay and loudness are drawn.

Legend: N samples, P samples of a piece.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from evenear.units import SAMPLE_RATE, Samples

__all__ = ["nonspeech"]

_Sound = NDArray[np.float64]
_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), (0, 3, 5, 6, 7, 10))


def nonspeech(num_samples: Samples, rng: np.random.Generator) -> NDArray[np.float32]:
    """A piece of sound in which nobody speaks, (N,), with a mean power of 1."""
    makers = (_melody, _melody, _drone, _beat, _hum, _rush)
    piece_N = makers[int(rng.integers(len(makers)))](max(1, num_samples), rng)
    if rng.random() < 0.3:
        piece_N = piece_N + rng.uniform(0.3, 1.0) * _melody(max(1, num_samples), rng)
    if not piece_N.any():  # nothing but rests
        piece_N = _rush(max(1, num_samples), rng)
    power = float(np.square(piece_N).mean())
    return (piece_N / np.sqrt(max(power, 1e-20)))[:num_samples].astype(np.float32)


def _melody(num_samples: Samples, rng: np.random.Generator) -> _Sound:
    """One to four notes at once, one after the other, plucked, struck or blown."""
    scale = _SCALES[int(rng.integers(len(_SCALES)))]
    root_hz = float(rng.uniform(80.0, 400.0))
    beat = int(rng.uniform(0.12, 0.8) * SAMPLE_RATE)
    partials = 1 / np.arange(1, int(rng.integers(2, 12)) + 1) ** rng.uniform(0.3, 2.0)
    decay, attack = float(rng.uniform(0.0, 8.0)), float(rng.uniform(0.002, 0.08))
    voices = int(rng.integers(1, 5))
    found_N = np.zeros(num_samples)
    for start in range(0, num_samples, beat):
        if rng.random() < 0.1:
            continue
        size = min(int(beat * rng.uniform(0.6, 2.0)), num_samples - start)
        for _ in range(voices):
            octave = 12 * int(rng.integers(0, 3))
            semitones = scale[int(rng.integers(len(scale)))] + octave
            note_P = _note(root_hz * 2 ** (semitones / 12), size, partials, rng)
            seconds_P = np.arange(size) / SAMPLE_RATE
            found_N[start : start + size] += (
                note_P * np.exp(-decay * seconds_P) * np.minimum(1.0, seconds_P / attack)
            )
    return found_N


def _note(hertz: float, size: Samples, partials: _Sound, rng: np.random.Generator) -> _Sound:
    """A tone with harmonics below 8 kHz, perhaps with vibrato."""
    seconds_P = np.arange(size) / SAMPLE_RATE
    depth = float(rng.choice([0.0, 0.3])) * rng.uniform(0.0, 0.02)
    turns_P = hertz * (seconds_P + depth * np.sin(2 * np.pi * 5.5 * seconds_P) / 5.5)
    found_P = np.zeros(size)
    for number, weight in enumerate(partials, start=1):
        if hertz * number < SAMPLE_RATE / 2:
            found_P += weight * np.sin(2 * np.pi * (number * turns_P + rng.random()))
    return found_P


def _drone(num_samples: Samples, rng: np.random.Generator) -> _Sound:
    """Tones that last, perhaps swelling: a pipe, a horn, a whistle, a beep."""
    seconds_N = np.arange(num_samples) / SAMPLE_RATE
    partials = 1 / np.arange(1, int(rng.integers(1, 8)) + 1) ** rng.uniform(0.5, 2.0)
    found_N = _note(float(rng.uniform(60.0, 2000.0)), num_samples, partials, rng)
    swell = 1 + rng.uniform(0.0, 0.9) * np.sin(2 * np.pi * rng.uniform(0.2, 6.0) * seconds_N)
    return found_N * swell


def _beat(num_samples: Samples, rng: np.random.Generator) -> _Sound:
    """Drums: bursts of noise and falling tones at a steady pace."""
    every = int(rng.uniform(0.1, 0.5) * SAMPLE_RATE)
    found_N = np.zeros(num_samples)
    for start in range(0, num_samples, every):
        size = min(int(0.25 * SAMPLE_RATE), num_samples - start)
        seconds_P = np.arange(size) / SAMPLE_RATE
        if rng.random() < 0.5:
            hit_P = rng.standard_normal(size) * np.exp(-rng.uniform(15, 60) * seconds_P)
        else:
            turns_P = rng.uniform(40, 120) * seconds_P + 2 * (1 - np.exp(-30 * seconds_P))
            hit_P = 2 * np.sin(2 * np.pi * turns_P) * np.exp(-12 * seconds_P)
        found_N[start : start + size] += rng.uniform(0.3, 1.0) * hit_P
    return found_N


def _hum(num_samples: Samples, rng: np.random.Generator) -> _Sound:
    """Mains, fans and motors: many harmonics of a low tone, and some rushing."""
    partials = rng.uniform(0.0, 1.0, int(rng.integers(3, 30)))
    found_N = _note(float(rng.uniform(45.0, 130.0)), num_samples, partials, rng)
    return found_N + rng.uniform(0.0, 1.0) * rng.standard_normal(num_samples)


def _rush(num_samples: Samples, rng: np.random.Generator) -> _Sound:
    """Wind, water, traffic: noise of a band, now louder, now softer."""
    low_hz = float(rng.uniform(30.0, 2000.0))
    high_hz = min(low_hz * float(rng.uniform(1.5, 8.0)), 7600.0)
    band = signal.butter(2, (low_hz, high_hz), "bandpass", fs=SAMPLE_RATE, output="sos")
    found_N = np.asarray(signal.sosfilt(band, rng.standard_normal(num_samples)))
    knots = np.linspace(0, num_samples, 2 + num_samples // SAMPLE_RATE)
    loudness = rng.uniform(0.1, 1.0, len(knots))
    return found_N * np.interp(np.arange(num_samples), knots, loudness)
