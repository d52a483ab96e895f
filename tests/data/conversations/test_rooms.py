# SPDX-License-Identifier: Apache-2.0
"""Rooms keep the power of what is said in them, and noise has the power that is asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenear.data.conversations.rooms import colored_noise, quiet_like, room_response
from evenear.seeding import rng_for


@given(st.floats(0.1, 0.6), st.integers(0, 2**20))
def test_a_room_keeps_the_power_and_decays(rt60, seed):
    response_N = room_response(rt60, rng_for(seed, "room"))
    power_N = np.square(response_N)
    assert power_N.sum() == pytest.approx(1.0)
    quarter = len(power_N) // 4
    assert power_N[-quarter:].sum() < 1e-3
    assert np.argmax(power_N) == 0


@given(st.integers(1, 5_000), st.integers(0, 2**20))
def test_noise_has_power_one(num_samples, seed):
    noise_N = colored_noise(num_samples, rng_for(seed, "noise"))
    assert len(noise_N) == num_samples
    assert noise_N.dtype == np.float32
    assert float(np.square(noise_N).mean()) == pytest.approx(1.0, rel=1e-3)


def test_quiet_sounds_as_the_quietest_tenth_does():
    rng = rng_for(0, "quiet")
    loud_N, hum_N = (
        rng.standard_normal(16_000),
        np.sin(np.arange(16_000) * 2 * np.pi * 500 / 16_000),
    )
    sound_N = np.concatenate([loud_N, 0.01 * hum_N, loud_N]).astype(np.float32)
    quiet_N = quiet_like(sound_N, 32_000, rng)
    assert quiet_N.dtype == np.float32
    assert float(np.square(quiet_N).mean()) == pytest.approx(0.01**2 / 2, rel=0.02)
    power_F = np.abs(np.fft.rfft(quiet_N)) ** 2
    assert power_F[800:1200].sum() > 0.9 * power_F.sum()  # 400 to 600 Hz


def test_quiet_of_next_to_nothing_is_silence():
    rng = rng_for(0, "quiet")
    assert not quiet_like(np.ones(100, np.float32), 50, rng).any()
    assert len(quiet_like(np.ones(1000, np.float32), 0, rng)) == 0
    assert not quiet_like(np.zeros(1000, np.float32), 500, rng).any()
