# SPDX-License-Identifier: Apache-2.0
"""Augmentation does what its settings say: ratios in decibels, factors in frequency and in time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from evenear.config import replace
from evenear.data.batching.augmentation import (
    FrameAugmentation,
    WaveformAugmentation,
    augment_frames,
    augment_waveform,
    spec_augment,
    warp_frequency,
)
from evenear.features import FeatureConfig, log_mel
from evenear.seeding import rng_for

RATE = 16_000
NO_SOUND_CHANGE = WaveformAugmentation(
    speeds=(1.0,), room_chance=0.0, noise_chance=0.0, gain_db=(0.0, 0.0)
)
NO_FRAME_CHANGE = FrameAugmentation(
    warp_chance=0.0, tempo_chance=0.0, num_frequency_masks=0, min_time_masks=0, max_time_masks=0
)
seeds = st.integers(0, 2**32)


def speech_like(seconds: float = 1.0, *, level: float = 0.05, seed: int = 0) -> np.ndarray:
    """A hum with syllables: enough like speech to have a spectrum and pauses."""
    time_N = np.arange(round(seconds * RATE)) / RATE
    hum_N = sum(np.sin(2 * np.pi * 140 * k * time_N) / k for k in range(1, 12))
    breath_N = rng_for(seed, "breath").standard_normal(len(time_N))
    syllables_N = np.maximum(np.sin(2 * np.pi * 3 * time_N), 0.0)
    loud_N = (hum_N + 0.1 * breath_N) * syllables_N
    return (level * loud_N / np.sqrt(np.square(loud_N).mean())).astype(np.float32)


def tone(hz: float, seconds: float = 0.4) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(
        np.float32
    )


def power(samples_N: np.ndarray) -> float:
    return float(np.square(samples_N.astype(np.float64)).mean())


def test_settings_without_change_leave_the_sound_as_it_is():
    samples_N = speech_like()
    heard_N = augment_waveform(samples_N, NO_SOUND_CHANGE, rng_for(0, "x"))
    np.testing.assert_array_equal(heard_N, samples_N)


@given(seeds, st.floats(-20.0, 20.0))
def test_gain_changes_the_level_by_its_decibels(seed, gain_db):
    samples_N = speech_like(0.3, level=0.01)
    asked = replace(NO_SOUND_CHANGE, gain_db=(gain_db, gain_db))
    heard_N = augment_waveform(samples_N, asked, rng_for(seed, "x"))
    assert 10 * np.log10(power(heard_N) / power(samples_N)) == pytest.approx(gain_db, abs=0.01)


@given(seeds, st.floats(0.0, 40.0))
def test_noise_has_the_power_that_its_ratio_says(seed, snr_db):
    samples_N = speech_like(0.3)
    asked = replace(NO_SOUND_CHANGE, noise_chance=1.0, noise_snr_db=(snr_db, snr_db))
    noise_N = augment_waveform(samples_N, asked, rng_for(seed, "x")) - samples_N
    assert 10 * np.log10(power(samples_N) / power(noise_N)) == pytest.approx(snr_db, abs=0.1)


@pytest.mark.parametrize("snr_db", [5.0, 30.0])
def test_noise_ratios_span_what_is_asked_for(snr_db):
    samples_N = speech_like(0.2)
    asked = replace(NO_SOUND_CHANGE, noise_chance=1.0, noise_snr_db=(5.0, 30.0))
    ratios = []
    for k in range(60):
        noise_N = augment_waveform(samples_N, asked, rng_for(0, "x", k)) - samples_N
        ratios.append(10 * np.log10(power(samples_N) / power(noise_N)))
    assert 4.9 < min(ratios) < 8.0
    assert 27.0 < max(ratios) < 30.1


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_speed_moves_pitch_and_length_by_its_factor(speed):
    asked = replace(NO_SOUND_CHANGE, speeds=(speed,))
    heard_N = augment_waveform(tone(1000.0, 1.0), asked, rng_for(0, "x"))
    assert len(heard_N) == pytest.approx(RATE / speed, abs=2)
    spectrum = np.abs(np.fft.rfft(heard_N * np.hanning(len(heard_N))))
    assert spectrum.argmax() * RATE / len(heard_N) == pytest.approx(1000.0 * speed, abs=2.0)


def test_every_speed_is_chosen_about_as_often():
    asked = replace(NO_SOUND_CHANGE, speeds=(0.9, 1.0, 1.1))
    samples_N = tone(500.0, 0.1)
    lengths = [len(augment_waveform(samples_N, asked, rng_for(0, "x", k))) for k in range(300)]
    _, counts = np.unique(lengths, return_counts=True)
    assert len(counts) == 3
    assert counts.min() > 70  # binomial: 100 with a deviation of 8


@pytest.mark.parametrize("rt60_seconds", [0.15, 0.5])
def test_a_room_rings_for_as_long_as_it_says(rt60_seconds):
    click_N = np.zeros(2 * RATE, np.float32)
    click_N[0] = 0.5
    asked = replace(NO_SOUND_CHANGE, room_chance=1.0, room_seconds=(rt60_seconds, rt60_seconds))
    decays = []
    for k in range(20):
        heard_N = augment_waveform(click_N, asked, rng_for(0, "x", k))
        tail_N = heard_N[1 : round(rt60_seconds * RATE)].astype(np.float64)
        first, last = np.array_split(np.square(tail_N), 2)
        decays.append(10 * np.log10(first.sum() / last.sum()))
        assert np.abs(heard_N[round(rt60_seconds * RATE) + 1 :]).max() < 1e-6
    # The energy of each half of a 60 dB decay differs by 30 dB.
    assert np.mean(decays) == pytest.approx(30.0, abs=1.0)


def test_a_room_keeps_length_and_level():
    samples_N = speech_like()
    asked = replace(NO_SOUND_CHANGE, room_chance=1.0)
    for k in range(10):
        heard_N = augment_waveform(samples_N, asked, rng_for(0, "x", k))
        assert len(heard_N) == len(samples_N)
        assert power(heard_N) == pytest.approx(power(samples_N), rel=1e-3)


@settings(max_examples=40)
@given(seeds, st.integers(0, 3000))
def test_whatever_comes_what_goes_is_sound(seed, num_samples):
    samples_N = speech_like(0.2)[:num_samples]
    heard_N = augment_waveform(samples_N, WaveformAugmentation(), rng_for(seed, "x"))
    assert heard_N.dtype == np.float32
    assert np.isfinite(heard_N).all()
    assert np.abs(heard_N).max(initial=0.0) <= 1.0


def test_silence_stays_silent():
    silent_N = np.zeros(RATE, np.float32)
    for k in range(20):
        assert not augment_waveform(silent_N, WaveformAugmentation(), rng_for(0, "x", k)).any()


def test_augmentation_leaves_what_it_is_given_alone():
    samples_N = speech_like()
    frames_TM = log_mel(samples_N, FeatureConfig())
    before = samples_N.copy(), frames_TM.copy()
    for k in range(10):
        augment_waveform(samples_N, WaveformAugmentation(), rng_for(0, "x", k))
        augment_frames(frames_TM, FrameAugmentation(), rng_for(0, "x", k))
    np.testing.assert_array_equal(samples_N, before[0])
    np.testing.assert_array_equal(frames_TM, before[1])


@given(seeds)
def test_the_same_key_gives_the_same_variation_and_another_key_another(seed):
    samples_N = speech_like(0.2)
    frames_TM = log_mel(samples_N, FeatureConfig())
    first, again, other = (rng_for(seed, "x", key) for key in ("a", "a", "b"))
    heard = [augment_waveform(samples_N, WaveformAugmentation(), r) for r in (first, again, other)]
    np.testing.assert_array_equal(heard[0], heard[1])
    assert len(heard[0]) != len(heard[2]) or (heard[0] != heard[2]).any()
    seen = [augment_frames(frames_TM, FrameAugmentation(), r) for r in (first, again, other)]
    np.testing.assert_array_equal(seen[0], seen[1])


def test_settings_without_change_leave_the_frames_as_they_are():
    frames_TM = log_mel(speech_like(), FeatureConfig())
    seen_TM = augment_frames(frames_TM, NO_FRAME_CHANGE, rng_for(0, "x"))
    np.testing.assert_array_equal(seen_TM, frames_TM)


def loudest_bin(hz: float, factor: float = 1.0) -> int:
    frames_TM = warp_frequency(log_mel(tone(hz), FeatureConfig()), factor)
    return int(frames_TM[10:-10].mean(axis=0).argmax())


@pytest.mark.parametrize("factor", [0.85, 0.95, 1.1, 1.2])
@pytest.mark.parametrize("hz", [500.0, 1000.0, 2500.0])
def test_warping_moves_a_tone_to_its_factor_of_the_frequency(hz, factor):
    assert loudest_bin(hz * factor) != loudest_bin(hz)
    assert abs(loudest_bin(hz, factor) - loudest_bin(hz * factor)) <= 1


@given(arrays.arrays(np.float32, (5, 16), elements=st.floats(-10, 10, width=32)))
def test_a_warp_of_one_changes_nothing(frames_TM):
    np.testing.assert_allclose(warp_frequency(frames_TM, 1.0), frames_TM, atol=1e-4)


@given(
    arrays.arrays(np.float32, (3, 16), elements=st.floats(-10, 10, width=32)), st.floats(0.7, 1.4)
)
def test_a_warp_invents_no_value(frames_TM, factor):
    warped_TM = warp_frequency(frames_TM, factor)
    assert warped_TM.shape == frames_TM.shape
    assert warped_TM.dtype == np.float32
    assert (warped_TM.min(axis=1) >= frames_TM.min(axis=1) - 1e-4).all()
    assert (warped_TM.max(axis=1) <= frames_TM.max(axis=1) + 1e-4).all()


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_a_warp_keeps_the_order_and_the_upper_edge_of_the_band(factor):
    ramp_TM = np.arange(64, dtype=np.float32)[None]
    (warped_M,) = warp_frequency(ramp_TM, factor)
    assert (np.diff(warped_M) > 0).all()
    assert warped_M[-1] == pytest.approx(63.0)


@pytest.mark.parametrize("tempo", [0.85, 1.0, 1.2])
@pytest.mark.parametrize("num_frames", [2, 37, 400])
def test_tempo_changes_the_length_by_its_factor(tempo, num_frames):
    frames_TM = np.tile(np.arange(num_frames, dtype=np.float32)[:, None], (1, 4))
    asked = replace(NO_FRAME_CHANGE, tempo_chance=1.0, tempo=(tempo, tempo))
    seen_TM = augment_frames(frames_TM, asked, rng_for(0, "x"))
    assert len(seen_TM) == round(num_frames / tempo)
    # A ramp stays a ramp, from the same first to the same last frame.
    ramp_T = np.linspace(0, num_frames - 1, len(seen_TM), dtype=np.float32)
    np.testing.assert_allclose(seen_TM, np.tile(ramp_T[:, None], (1, 4)), atol=1e-3)


def masked(num_frames: int, asked: FrameAugmentation, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Which frames and which bins a mask covers whole."""
    frames_TM = rng_for(seed, "frames").standard_normal((num_frames, 40)).astype(np.float32)
    hidden_TM = spec_augment(frames_TM, asked, rng_for(seed, "masks")) != frames_TM
    return hidden_TM.all(axis=1), hidden_TM.all(axis=0)


@given(seeds, st.integers(1, 600))
def test_time_masks_stay_within_their_bounds(seed, num_frames):
    asked = FrameAugmentation(num_frequency_masks=0, time_mask_ratio=0.05, max_time_masks=7)
    hidden_T, _ = masked(num_frames, asked, seed)
    longest = int(0.05 * num_frames)
    assert hidden_T.sum() <= min(7, max(1, longest)) * longest


@given(seeds)
def test_frequency_masks_stay_within_their_bounds(seed):
    asked = FrameAugmentation(max_frequency_ratio=0.34, max_time_masks=0, min_time_masks=0)
    hidden_T, hidden_M = masked(50, asked, seed)
    assert hidden_M.sum() <= 2 * int(0.34 * 40)
    assert not hidden_T.any()


def test_masks_cover_a_good_part_of_what_they_may():
    asked = FrameAugmentation()
    covered = [masked(400, asked, seed) for seed in range(200)]
    hidden_frames = np.mean([hidden_T.mean() for hidden_T, _ in covered])
    hidden_bins = np.mean([hidden_M.mean() for _, hidden_M in covered])
    # Two masks of half of 13 of 40 bins; sixteen masks of half of 16 of 400 frames, overlapping.
    assert 0.22 < hidden_bins < 0.33
    assert 0.20 < hidden_frames < 0.32


def test_masks_can_reach_every_bin_and_every_frame():
    asked = FrameAugmentation(time_mask_ratio=0.1)
    covered = [masked(40, asked, seed) for seed in range(600)]
    assert np.any([hidden_T for hidden_T, _ in covered], axis=0).all()
    assert np.any([hidden_M for _, hidden_M in covered], axis=0).all()


def test_what_is_masked_becomes_the_mean_of_the_utterance():
    frames_TM = rng_for(0, "frames").standard_normal((80, 40)).astype(np.float32) + 3.0
    seen_TM = spec_augment(frames_TM, FrameAugmentation(), rng_for(1, "masks"))
    hidden_TM = seen_TM != frames_TM
    assert hidden_TM.any()
    np.testing.assert_allclose(seen_TM[hidden_TM], frames_TM.mean(), rtol=1e-5)


@pytest.mark.parametrize("num_frames", [0, 1, 2, 3])
def test_the_shortest_utterances_can_be_varied(num_frames):
    frames_TM = np.ones((num_frames, 40), np.float32)
    for k in range(30):
        seen_TM = augment_frames(frames_TM, FrameAugmentation(), rng_for(0, "x", k))
        assert seen_TM.shape[1] == 40
        assert (len(seen_TM) > 0) == (num_frames > 0)
        np.testing.assert_allclose(seen_TM, 1.0, rtol=1e-6)


def test_a_telephone_lets_only_its_band_through():
    settings = replace(NO_SOUND_CHANGE, telephone_chance=1.0)
    for hz, passes in ((60.0, False), (1000.0, True), (6000.0, False)):
        tone_N = (0.1 * np.sin(2 * np.pi * hz * np.arange(16_000) / 16_000)).astype(np.float32)
        heard_N = augment_waveform(tone_N, settings, rng_for(0, "telephone"))[4000:]
        ratio_db = 20 * np.log10(np.abs(heard_N).max() / 0.1)
        assert (abs(ratio_db) < 1.0) if passes else (ratio_db < -20.0)


def test_speech_may_become_a_hundredth_as_loud():
    settings = replace(NO_SOUND_CHANGE, gain_db=(-40.0, -40.0))
    tone_N = (0.5 * np.sin(np.arange(1600))).astype(np.float32)
    np.testing.assert_allclose(
        augment_waveform(tone_N, settings, rng_for(0, "quiet")), tone_N / 100, rtol=1e-5
    )


def test_without_telephones_nothing_is_drawn_for_them():
    tone_N = (0.5 * np.sin(np.arange(1600))).astype(np.float32)
    plain, other = WaveformAugmentation(), WaveformAugmentation(telephone_hz=(200.0, 500.0))
    first_N, second_N = (augment_waveform(tone_N, s, rng_for(3, "x")) for s in (plain, other))
    np.testing.assert_array_equal(first_N, second_N)


def test_music_is_as_loud_behind_the_speech_as_was_asked():
    settings = replace(NO_SOUND_CHANGE, music_chance=1.0, noise_snr_db=(10.0, 10.0))
    tone_N = (0.1 * np.sin(0.3 * np.arange(16_000))).astype(np.float32)
    for draw in range(20):
        added_N = augment_waveform(tone_N, settings, rng_for(0, "music", draw)) - tone_N
        ratio_db = 10 * np.log10(np.square(tone_N).mean() / np.square(added_N).mean())
        assert abs(ratio_db - 10.0) < 0.5


def test_sounds_stand_beside_the_speech_and_leave_it_as_it_was():
    settings = replace(NO_SOUND_CHANGE, aside_chance=1.0, aside_seconds=(0.5, 0.5))
    speech_N = (0.1 * np.sin(0.3 * np.arange(16_000))).astype(np.float32)
    places = set()
    for draw in range(20):
        heard_N = augment_waveform(speech_N, settings, rng_for(0, "aside", draw))
        assert 24_000 <= len(heard_N) <= 38_400
        starts = np.flatnonzero(np.isclose(heard_N, speech_N[1], atol=1e-7)) - 1
        (start,) = [s for s in starts if np.array_equal(heard_N[s : s + 16_000], speech_N)]
        places.add((start > 0, start + 16_000 < len(heard_N)))
    assert places == {(True, False), (False, True), (True, True)}


@pytest.mark.parametrize("chance", ["music_chance", "aside_chance"])
def test_an_empty_recording_may_have_music_and_asides_too(chance):
    settings = replace(NO_SOUND_CHANGE, **{chance: 1.0})
    assert not augment_waveform(np.zeros(0, np.float32), settings, rng_for(0, "none")).any()
