# SPDX-License-Identifier: Apache-2.0
"""Rooms keep the power of what is said in them, and noise has the power that is asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenear.data.conversations.rooms import colored_noise, room_response
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
