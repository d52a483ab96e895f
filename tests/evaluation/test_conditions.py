# SPDX-License-Identifier: Apache-2.0
"""Conditions do to sound what they say, the same each time.

Dimensions: N audio samples.
"""

import numpy as np
import pytest

from evenear.errors import ConfigError
from evenear.evaluation import CONDITIONS, condition_named
from laws import random_sound

SPEECH = ["tight-cut", "quiet-20", "quiet-40", "telephone", "noise-10", "joined"]


def padded() -> np.ndarray:
    """Half a second of nothing, a second of sound, half a second of nothing."""
    nothing = np.zeros(8_000, np.float32)
    return np.concatenate([nothing, random_sound(1.0, seed=1), nothing])


def decibels(samples_N: np.ndarray) -> float:
    return 10 * np.log10(np.mean(np.square(samples_N, dtype=np.float64)))


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_gives_the_same_sound_each_time_and_takes_any_length(name):
    condition, sound = condition_named(name), padded()
    kept = sound.copy()
    first = condition.apply(sound, "u1")
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    assert np.array_equal(first, condition.apply(sound, "u1"))
    assert np.array_equal(sound, kept)
    if name not in ("tight-cut", "joined"):
        assert len(first) == len(sound)
    for short in (np.zeros(0, np.float32), np.zeros(1, np.float32), np.zeros(50, np.float32)):
        assert len(condition.apply(short, "u1")) == len(short)


def test_speech_and_what_is_none_are_told_apart():
    assert [name for name in CONDITIONS if CONDITIONS[name].is_speech] == SPEECH
    with pytest.raises(ConfigError, match="no condition"):
        condition_named("reverberant")


def test_a_tight_cut_leaves_fifty_milliseconds_around_the_sound():
    cut = CONDITIONS["tight-cut"].apply(padded(), "u1")
    assert 16_000 <= len(cut) <= 17_600
    assert not cut[:700].any()
    assert cut[900:1500].any()


def test_quiet_is_quieter_by_what_its_name_says():
    sound = padded()
    for name, less in (("quiet-20", 20), ("quiet-40", 40)):
        assert decibels(sound) - decibels(CONDITIONS[name].apply(sound, "u")) == pytest.approx(less)


def test_a_telephone_has_no_high_and_no_low_tones():
    spectrum = np.abs(np.fft.rfft(CONDITIONS["telephone"].apply(padded(), "u")))
    hertz = np.fft.rfftfreq(len(padded()), 1 / 16_000)
    inside = spectrum[(hertz > 400) & (hertz < 3_000)].mean()
    outside = spectrum[(hertz < 250) | (hertz > 3_600)].mean()
    assert outside < 0.01 * inside


def test_noise_is_ten_decibels_below_the_sound_and_differs_between_utterances():
    sound = padded()
    noisy = CONDITIONS["noise-10"].apply(sound, "u")
    assert decibels(sound) - decibels(noisy - sound) == pytest.approx(10, abs=0.5)
    assert not np.array_equal(noisy, CONDITIONS["noise-10"].apply(sound, "v"))


@pytest.mark.parametrize("name", ["tone", "white-noise", "music"])
def test_what_is_no_speech_has_one_level(name):
    assert decibels(CONDITIONS[name].apply(padded(), "u")) == pytest.approx(-26, abs=1.5)
