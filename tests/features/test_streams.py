# SPDX-License-Identifier: Apache-2.0
"""Features are the same offline and online, and are what their definition says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.features import (
    FeatureConfig,
    FeatureStream,
    extract,
    log_mel,
    stack_frames,
)
from evenear.seeding import rng_for
from laws import chunkings

laws = settings(deadline=None, max_examples=30, derandomize=True)


def noise(num_samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * rng_for(seed, "noise").standard_normal(num_samples)).astype(np.float32)


KINDS = {"log-mel": FeatureConfig(), "whisper": FeatureConfig.whisper()}


@pytest.mark.parametrize("kind", KINDS)
@laws
@given(data=st.data(), num_samples=st.integers(0, 6000))
def test_chunks_give_the_same_frames_bit_for_bit(kind, data, num_samples):
    samples_N = noise(num_samples)
    stream = FeatureStream(KINDS[kind])
    cuts = np.cumsum(data.draw(chunkings(num_samples)))[:-1]
    parts = [stream.accept(part) for part in np.split(samples_N, cuts)]
    streamed_TF = np.concatenate([*parts, stream.finish()])
    assert np.array_equal(streamed_TF, extract(samples_N, KINDS[kind]))


@pytest.mark.parametrize("kind", KINDS)
def test_one_sample_at_a_time_gives_the_same_frames(kind):
    samples_N = noise(1500)
    stream = FeatureStream(KINDS[kind])
    parts = [stream.accept(samples_N[i : i + 1]) for i in range(len(samples_N))]
    streamed_TF = np.concatenate([*parts, stream.finish()])
    assert np.array_equal(streamed_TF, extract(samples_N, KINDS[kind]))


def slaney_edges(bins: int) -> np.ndarray:
    """Edges of Slaney's mel bins in Hz: linear below 1 kHz, logarithmic above."""
    top = 15.0 + 27.0 * np.log(8.0) / np.log(6.4)
    return np.array(
        [
            200.0 * m / 3.0 if m < 15.0 else 1000.0 * 6.4 ** ((m - 15.0) / 27.0)
            for m in np.linspace(0.0, top, bins + 2)
        ]
    )


def test_whispers_features_are_what_its_definition_says():
    """Hann windows centered at 160 t, power, Slaney bins of equal area, log10, a floor, a scale."""
    samples_N = noise(16_000)
    samples_N[8000:12_000] = 0.0  # below the floor
    window_N = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    edges, hz_K = slaney_edges(80), np.arange(201) * 40.0
    found_TM = extract(samples_N, FeatureConfig.whisper())
    assert found_TM.shape == (101, 80)
    for frame in (3, 40, 60, 97):
        cut_N = samples_N[160 * frame - 200 : 160 * frame + 200].astype(np.float64)
        power_K = np.abs(np.fft.rfft(cut_N * window_N)) ** 2
        energies = []
        for low, center, high in zip(edges, edges[1:], edges[2:], strict=False):
            rise, fall = (hz_K - low) / (center - low), (high - hz_K) / (high - center)
            weights_K = np.clip(np.minimum(rise, fall), 0, None) * 2 / (high - low)
            energies.append(power_K @ weights_K)
        logs_M = np.maximum(np.log10(np.maximum(energies, 1e-10)), -6.5)
        np.testing.assert_allclose(found_TM[frame], (logs_M + 4.0) / 4.0, atol=1e-4)
    assert found_TM[60].max() == pytest.approx(-2.5 / 4.0)


@laws
@given(num_samples=st.integers(0, 5000))
def test_frame_count_follows_the_length_and_no_sound_is_lost(num_samples):
    config = FeatureConfig()
    num_mel = len(log_mel(noise(num_samples), config))
    assert num_mel == (num_samples + 80) // 160
    features_TF = extract(noise(num_samples), config)
    assert features_TF.shape == (-(-num_mel // 3), 192)
    assert features_TF.dtype == np.float32


def test_stacking_whole_log_mel_frames_is_what_the_stream_does():
    samples_N = noise(4321)
    stacked_TF = stack_frames(log_mel(samples_N, FeatureConfig()), FeatureConfig())
    assert np.array_equal(stacked_TF, extract(samples_N, FeatureConfig()))


def test_the_last_stack_repeats_its_last_frame():
    frames_TM = np.arange(4, dtype=np.float32)[:, None]
    stacked_TF = stack_frames(frames_TM, FeatureConfig(num_mel_bins=1))
    assert stacked_TF.tolist() == [[0, 1, 2], [3, 3, 3]]


def mel(hz: np.ndarray | float) -> np.ndarray:
    return 1127.0 * np.log1p(np.asarray(hz) / 700.0)


def test_log_mel_matches_the_definition_written_out():
    """One full window: mean out, pre-emphasis, Hamming, power spectrum, triangles in mel, log."""
    config = FeatureConfig()
    samples_N = noise(1600)
    frame = 4  # centered at sample 720, far from both ends
    window_N = samples_N[720 - 200 : 720 + 200].astype(np.float64)
    window_N -= window_N.mean()
    window_N -= 0.97 * np.concatenate([window_N[:1], window_N[:-1]])
    window_N *= 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(400) / 399)
    power_K = np.abs(np.fft.rfft(window_N, 512)) ** 2
    edges = np.linspace(mel(20.0), mel(8000.0 - 400.0), 66)
    bins_K = mel(np.arange(257) * 16_000 / 512)
    energies = []
    for low, center, high in zip(edges, edges[1:], edges[2:], strict=False):
        rise, fall = (bins_K - low) / (center - low), (high - bins_K) / (high - center)
        energies.append(power_K @ np.clip(np.minimum(rise, fall), 0, None))
    expected_M = np.log(np.maximum(energies, np.finfo(np.float32).eps))
    np.testing.assert_allclose(log_mel(samples_N, config)[frame], expected_M, atol=2e-3)


def test_louder_sound_adds_a_constant():
    quiet_TF, loud_TF = (extract(noise(3200) * gain, FeatureConfig()) for gain in (1.0, 4.0))
    np.testing.assert_allclose(loud_TF - quiet_TF, 2 * np.log(4.0), atol=1e-3)


def test_digital_silence_is_finite():
    assert np.isfinite(extract(np.zeros(3200, np.float32), FeatureConfig())).all()


def test_no_sound_makes_no_frames():
    stream = FeatureStream(FeatureConfig())
    assert stream.accept(noise(0)).shape == (0, 192)
    assert stream.finish().shape == (0, 192)
