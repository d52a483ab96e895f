# SPDX-License-Identifier: Apache-2.0
"""What recordings go through before they are recognized: the same corpus under other conditions.

A recognizer is tried where it will be used: recordings that begin and end with the speech, quiet
ones, telephones, noise, half an hour without a break, and sounds that are no speech, in which it
should hear nothing. Everything random is drawn by the seed and the utterance's id, so that systems
are compared on the same sound.

    tight-cut    from 50 ms before the first loud sample to 50 ms after the last (2 % of the peak)
    quiet-20/-40 20 or 40 dB less
    telephone    8 kHz and back, and nothing below 300 Hz or above 3,400 Hz
    noise-10     white noise 10 dB below the sound's mean power
    joined       tight-cut utterances one after the other, 30 minutes a stream, without a gap
    tone, silence, white-noise, music
                 as long as the utterance, in place of it: a 440 Hz tone, nothing, white noise, and
                 chords of decaying harmonics with a beat, each at -26 dB

Legend: N audio samples.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from evenear.audio import resample
from evenear.errors import ConfigError, nearest_names
from evenear.seeding import rng_for
from evenear.units import SAMPLE_RATE, Seconds

__all__ = ["CONDITIONS", "Condition", "condition_named"]

_Sound = NDArray[np.float32]
_Changed = NDArray[np.floating]
_LEVEL = 0.05
"""Root mean square of what is no speech: -26 dB of full scale."""


@dataclass(frozen=True)
class Condition:
    """What happens to a sound."""

    name: str
    change: Callable[[_Sound, np.random.Generator], _Changed]
    is_speech: bool = True
    """Whether what was said can still be heard; if not, every word is one too many."""
    joins_seconds: Seconds = 0.0
    """Utterances are joined to streams of this length; 0: each is a stream."""

    def apply(self, samples_N: _Sound, key: str, *, seed: int = 0) -> _Sound:
        """The sound under this condition; the key tells utterances apart."""
        return self.change(samples_N, rng_for(seed, self.name, key)).astype(np.float32)


def condition_named(name: str) -> Condition:
    """The condition of this name.

    Raises:
        ConfigError: There is none.
    """
    try:
        return CONDITIONS[name]
    except KeyError:
        raise ConfigError(
            f"There is no condition {name!r}.", hint=nearest_names(name, CONDITIONS)
        ) from None


def _tight(samples_N: _Sound, rng: np.random.Generator) -> _Changed:
    del rng
    loud = np.flatnonzero(np.abs(samples_N) > 0.02 * np.abs(samples_N).max(initial=0.0))
    if not len(loud):
        return samples_N
    margin = round(0.05 * SAMPLE_RATE)
    return samples_N[max(0, loud[0] - margin) : loud[-1] + 1 + margin]


def _telephone(samples_N: _Sound, rng: np.random.Generator) -> _Changed:
    del rng
    if not len(samples_N):
        return samples_N
    narrow_N = resample(samples_N, from_rate=SAMPLE_RATE, to_rate=8_000)
    wide_N = resample(narrow_N, from_rate=8_000, to_rate=SAMPLE_RATE)[: len(samples_N)]
    spectrum = np.fft.rfft(wide_N)
    hertz = np.fft.rfftfreq(len(wide_N), 1 / SAMPLE_RATE)
    spectrum[(hertz < 300) | (hertz > 3_400)] = 0
    return np.fft.irfft(spectrum, len(wide_N))


def _noisy(samples_N: _Sound, rng: np.random.Generator) -> _Changed:
    power = float(np.mean(np.square(samples_N, dtype=np.float64))) if len(samples_N) else 0.0
    noise_N = rng.normal(scale=np.sqrt(power / 10), size=len(samples_N))
    return samples_N + noise_N


def _quiet(gain: float) -> Callable[[_Sound, np.random.Generator], _Changed]:
    return lambda samples_N, _: gain * samples_N


def _tone(samples_N: _Sound, rng: np.random.Generator) -> _Changed:
    del rng
    turns_N = 2 * np.pi * 440 * np.arange(len(samples_N)) / SAMPLE_RATE
    return np.sqrt(2) * _LEVEL * np.sin(turns_N)


def _silence(samples_N: _Sound, rng: np.random.Generator) -> _Changed:
    del rng
    return np.zeros_like(samples_N)


def _white_noise(samples_N: _Sound, rng: np.random.Generator) -> _Changed:
    return rng.normal(scale=_LEVEL, size=len(samples_N))


def _music(samples_N: _Sound, rng: np.random.Generator) -> _Changed:
    """Chords of three notes, twice a second, each note with five harmonics that die away."""
    beat = SAMPLE_RATE // 2
    seconds_N = np.arange(beat) / SAMPLE_RATE
    found = np.zeros(-(-max(1, len(samples_N)) // beat) * beat)
    for start in range(0, len(found), beat):
        for note in rng.choice([0, 3, 4, 7, 9, 12], size=3, replace=False):
            hertz = 220.0 * 2 ** (note / 12)
            for harmonic in range(1, 6):
                decay_N = np.exp(-3.0 * harmonic * seconds_N) / harmonic
                own_N = decay_N * np.sin(2 * np.pi * hertz * harmonic * seconds_N)
                found[start : start + beat] += own_N
    return _LEVEL * found[: len(samples_N)] / np.sqrt(np.mean(np.square(found)))


CONDITIONS: Mapping[str, Condition] = MappingProxyType(
    {
        one.name: one
        for one in (
            Condition("tight-cut", _tight),
            Condition("quiet-20", _quiet(0.1)),
            Condition("quiet-40", _quiet(0.01)),
            Condition("telephone", _telephone),
            Condition("noise-10", _noisy),
            Condition("joined", _tight, joins_seconds=1800.0),
            Condition("tone", _tone, is_speech=False),
            Condition("silence", _silence, is_speech=False),
            Condition("white-noise", _white_noise, is_speech=False),
            Condition("music", _music, is_speech=False),
        )
    }
)
"""All conditions by name."""
