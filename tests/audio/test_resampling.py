# SPDX-License-Identifier: Apache-2.0
"""The streaming resampler against the whole one, and both against sines whose samples are known."""

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.audio.resampling import StreamResampler, resample
from evenear.errors import AudioError, StateError
from evenear.seeding import rng_for

RATES = [8000, 11_025, 16_000, 22_050, 44_100, 48_000, 192_000]


def noise(num_samples):
    return rng_for(0, "noise", num_samples).uniform(-0.5, 0.5, num_samples).astype(np.float32)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(RATES), st.lists(st.integers(0, 3000), max_size=12))
def test_chunking_changes_nothing_to_the_bit(rate, sizes):
    samples = noise(sum(sizes))
    stream = StreamResampler(rate, 16_000)
    edges = np.cumsum(sizes)[:-1] if sizes else []
    pieces = [stream.accept(chunk) for chunk in np.split(samples, edges)]
    pieces.append(stream.finish())
    assert np.array_equal(np.concatenate(pieces), resample(samples, from_rate=rate, to_rate=16_000))


def test_single_samples_give_what_the_whole_gives():
    samples = noise(700)
    stream = StreamResampler(44_100, 16_000)
    pieces = [stream.accept(samples[i : i + 1]) for i in range(len(samples))]
    pieces.append(stream.finish())
    whole = resample(samples, from_rate=44_100, to_rate=16_000)
    assert np.array_equal(np.concatenate(pieces), whole)


@pytest.mark.parametrize("rate", RATES)
def test_the_result_is_what_soxr_makes_of_the_whole(rate):
    samples = noise(20_000)
    ours = resample(samples, from_rate=rate, to_rate=16_000)
    assert np.array_equal(ours, soxr.resample(samples, rate, 16_000, quality="HQ"))


@pytest.mark.parametrize("rate", RATES)
def test_a_sine_stays_the_same_sine_at_the_same_time(rate):
    seconds = np.arange(rate) / rate
    tone = np.sin(2 * np.pi * 440 * seconds).astype(np.float32)
    heard = resample(tone, from_rate=rate, to_rate=16_000)
    wanted = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert len(heard) == 16_000
    assert np.abs(heard - wanted)[1000:-1000].max() < 1e-3


def test_what_the_new_rate_cannot_hold_is_removed():
    tone = np.sin(2 * np.pi * 12_000 * np.arange(48_000) / 48_000).astype(np.float32)
    heard = resample(tone, from_rate=48_000, to_rate=16_000)
    assert np.abs(heard[1000:-1000]).max() < 1e-3


def test_equal_rates_change_nothing():
    samples = noise(100)
    assert np.array_equal(resample(samples, from_rate=16_000, to_rate=16_000), samples)


def test_no_samples_are_no_samples():
    assert resample(noise(0), from_rate=8000, to_rate=16_000).shape == (0,)


@pytest.mark.parametrize("rate", [0, -8000, 16_000.5, "16000", True])
def test_a_rate_that_is_no_rate_is_refused(rate):
    with pytest.raises(AudioError, match="positive whole number of Hz, got"):
        StreamResampler(rate, 16_000)


def test_stereo_is_refused_with_the_way_out():
    with pytest.raises(AudioError, match="to_mono_float32"):
        resample(np.zeros((10, 2), np.float32), from_rate=8000, to_rate=16_000)


def test_a_finished_resampler_takes_nothing_more():
    stream = StreamResampler(8000, 16_000)
    stream.finish()
    with pytest.raises(StateError, match="Make one for each stream"):
        stream.accept(noise(10))
