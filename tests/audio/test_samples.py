# SPDX-License-Identifier: Apache-2.0
"""Samples of each type against the definition of full scale."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evenear.audio.samples import (
    cancels,
    check_finite,
    loudest_channel,
    mix_down,
    to_float32,
    to_mono_float32,
)
from evenear.errors import AudioError


def test_int16_is_divided_by_32768_for_every_value():
    every = np.arange(-32768, 32768).astype(np.int16)
    mono = to_mono_float32(every)
    assert mono.dtype == np.float32
    assert np.array_equal(mono.astype(np.float64) * 32768, every)
    assert mono[0] == -1.0
    assert mono[-1] < 1.0


@pytest.mark.parametrize(
    ("dtype", "low", "middle", "half"),
    [
        (np.int8, -128, 0, 64),
        (np.int16, -(2**15), 0, 2**14),
        (np.int32, -(2**31), 0, 2**30),
        (np.uint8, 0, 128, 192),
    ],
)
def test_integers_reach_full_scale(dtype, low, middle, half):
    samples = np.array([low, middle, half], dtype)
    assert to_mono_float32(samples).tolist() == [-1.0, 0.0, 0.5]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_keep_their_values_even_beyond_full_scale(dtype):
    samples = np.array([-1.5, 0.25, 1.0], dtype)
    mono = to_mono_float32(samples)
    assert mono.dtype == np.float32
    assert mono.tolist() == [-1.5, 0.25, 1.0]


@settings(deadline=None)
@given(
    hnp.arrays(
        np.int16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(-9, 9)
    )
)
def test_several_channels_become_their_mean(samples_NC):
    by_hand = [sum(int(value) for value in row) / len(row) / 32768 for row in samples_NC]
    assert to_mono_float32(samples_NC) == pytest.approx(by_hand, abs=1e-9)


def test_opposite_channels_cancel_as_the_rule_says():
    left = np.array([0.5, -0.25], np.float32)
    assert mix_down(np.stack([left, -left], axis=1)).tolist() == [0.0, 0.0]


def test_channels_are_kept_apart_until_they_are_mixed():
    assert to_float32(np.array([[1, 2], [3, 4]], np.int16)).shape == (2, 2)
    assert to_float32([0.5, 0.5]).shape == (2, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_first_sample_that_is_not_finite_is_named_by_its_second(bad):
    samples_NC = np.zeros((8000, 2), np.float32)
    samples_NC[6000, 1] = bad
    samples_NC[7000, 0] = bad
    with pytest.raises(AudioError, match=rf"{bad} at 2\.500 s .sample 20000., channel 2 of 2"):
        check_finite(samples_NC, first_sample=14_000, sample_rate=8000)


def test_nan_in_an_array_is_named_by_its_position():
    with pytest.raises(AudioError, match="nan at sample 1"):
        to_mono_float32([0.0, float("nan")])


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.zeros((2, 2, 2), np.float32), r"shape \(n,\) or \(n, channels\), got \(2, 2, 2\)"),
        (np.zeros((5, 0), np.float32), "shape"),
        (np.float32(1.0), "shape"),
        (np.zeros((2, 16_000), np.float32), "transpose"),
        (np.zeros(3, np.int64), "int64"),
        (np.zeros(3, bool), "bool"),
        (np.array(["a"]), "str"),
    ],
)
def test_other_arrays_are_refused_with_the_reason(samples, reason):
    with pytest.raises(AudioError, match=reason):
        to_mono_float32(samples)


def test_no_samples_are_no_samples():
    assert to_mono_float32(np.zeros(0, np.int16)).shape == (0,)


def test_channels_of_opposite_sign_cancel_and_the_louder_is_kept():
    one = np.sin(np.arange(1000, dtype=np.float32))
    opposite = np.stack([0.9 * one, -one], axis=1).astype(np.float32)
    assert not cancels(opposite)
    assert cancels(np.stack([one, -one], axis=1))
    assert not cancels(np.stack([one, one], axis=1))
    assert not cancels(np.zeros((100, 2), np.float32))
    assert not cancels(one[:, None])
    assert np.array_equal(loudest_channel(opposite), opposite[:, 1])
