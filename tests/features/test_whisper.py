# SPDX-License-Identifier: Apache-2.0
"""Whisper's energies against another implementation of them, whole and in any chunks."""

import kaldi_native_fbank
import numpy as np
import pytest

from evenear.features.whisper import WhisperFrames
from evenear.seeding import rng_for


def kaldis(samples_N: np.ndarray, num_mel_bins: int) -> np.ndarray:
    options = kaldi_native_fbank.WhisperFeatureOptions()
    options.dim = num_mel_bins
    options.frame_opts.samp_freq = 16_000
    options.frame_opts.snip_edges = False
    options.frame_opts.dither = 0.0
    fbank = kaldi_native_fbank.OnlineWhisperFbank(options)
    fbank.accept_waveform(16_000, np.concatenate([np.zeros(80, np.float32), samples_N]))
    fbank.input_finished()
    return np.array([fbank.get_frame(i) for i in range(fbank.num_frames_ready)])


@pytest.mark.parametrize("num_samples", [1, 39, 40, 79, 80, 300, 401, 8000, 16_001])
@pytest.mark.parametrize("num_mel_bins", [80, 128])
def test_energies_are_those_of_kaldi_native_fbank(num_samples, num_mel_bins):
    samples_N = (0.1 * rng_for(0, "noise").standard_normal(num_samples)).astype(np.float32)
    frames = WhisperFrames(num_mel_bins)
    found_TM = np.concatenate([frames.accept(samples_N), frames.finish()])
    expected_TM = kaldis(samples_N, num_mel_bins)
    assert found_TM.shape == expected_TM.shape
    np.testing.assert_allclose(found_TM, expected_TM, rtol=2e-4, atol=1e-6 * expected_TM.max())


def test_a_minute_at_once_is_computed_in_parts_that_join():
    samples_N = rng_for(1, "noise").standard_normal(60 * 16_000).astype(np.float32)
    at_once, by_second = WhisperFrames(80), WhisperFrames(80)
    parts = [by_second.accept(part_N) for part_N in np.split(samples_N, 60)]
    assert np.array_equal(at_once.accept(samples_N), np.concatenate(parts))


def test_nothing_is_kept_but_the_last_windows():
    frames = WhisperFrames(80)
    for _ in range(50):
        frames.accept(np.ones(1600, np.float32))
    assert len(frames._heard_N) < 3 * 400
