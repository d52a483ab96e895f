# SPDX-License-Identifier: Apache-2.0
"""Bins and frames lie where a config says."""

import numpy as np
import pytest

from evenear.errors import ConfigError
from evenear.features import FeatureConfig, bin_hz, log_mel
from evenear.seeding import rng_for

KINDS = {"log-mel": FeatureConfig(), "whisper": FeatureConfig.whisper()}


@pytest.mark.parametrize("kind", KINDS)
def test_bins_are_named_by_their_center(kind):
    """A tone at the center of a bin is loudest there."""
    config = KINDS[kind]
    hz_M = bin_hz(config)
    assert len(hz_M) == config.num_mel_bins
    if kind == "whisper":
        np.testing.assert_allclose(hz_M, slaney_centers(80))
    for place in (30, 50, 60):
        tone_N = 0.1 * np.sin(2 * np.pi * hz_M[place] * np.arange(4000) / 16_000)
        assert log_mel(tone_N.astype(np.float32), config)[10].argmax() == place


@pytest.mark.parametrize("kind", KINDS)
def test_a_nat_of_energy_raises_features_by_as_much(kind):
    config = KINDS[kind]
    soft_N = (0.02 * rng_for(0, "noise").standard_normal(4000)).astype(np.float32)
    loud_N = soft_N * np.float32(np.exp(0.5))  # e times the energy
    raised_TM = log_mel(loud_N, config) - log_mel(soft_N, config)
    np.testing.assert_allclose(raised_TM[2:-2], config.nat, rtol=1e-3)


def test_whispers_features_have_whispers_windows():
    with pytest.raises(ConfigError, match="windows of 25 ms each 10 ms"):
        FeatureConfig(kind="whisper", window_milliseconds=20.0)


def slaney_centers(bins: int) -> np.ndarray:
    """Centers of Slaney's mel bins in Hz: linear below 1 kHz, logarithmic above."""
    top = 15.0 + 27.0 * np.log(8.0) / np.log(6.4)
    return np.array(
        [
            200.0 * m / 3.0 if m < 15.0 else 1000.0 * 6.4 ** ((m - 15.0) / 27.0)
            for m in np.linspace(0.0, top, bins + 2)[1:-1]
        ]
    )


def test_the_clock_says_when_a_frame_is():
    clock = FeatureConfig().clock
    assert clock.seconds_at(10) == pytest.approx(0.3)
    assert clock.frame_samples == 480
