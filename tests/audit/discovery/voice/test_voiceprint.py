# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from evenear.audit.discovery.voice.voiceprint import NUM_NUMBERS, voiceprint
from evenear.errors import AudioError

PITCH = NUM_NUMBERS - 4


def voice(pitch_hz, formants_hz, *, seconds=1.5, sample_rate=16_000, seed=0):
    """Pulses at a pitch through resonances: a hum that has a timbre."""
    rng = np.random.default_rng(seed)
    pulses = np.zeros(round(seconds * sample_rate))
    at = np.cumsum(sample_rate / pitch_hz * rng.uniform(0.98, 1.02, len(pulses)))
    pulses[at[at < len(pulses)].astype(int)] = 1.0
    frequencies = np.fft.rfftfreq(len(pulses), 1.0 / sample_rate)
    response = sum(1.0 / (1.0 + ((frequencies - f) / 90.0) ** 2) for f in formants_hz)
    sound = np.fft.irfft(np.fft.rfft(pulses) * response, n=len(pulses))
    sound = 0.3 * sound / np.abs(sound).max() + 1e-4 * rng.normal(size=len(pulses))
    return sound.astype(np.float32)


@pytest.mark.parametrize("pitch_hz", [90.0, 130.0, 210.0, 320.0])
def test_pitch_is_heard(pitch_hz):
    found = voiceprint(voice(pitch_hz, (600, 1200, 2500)))
    assert np.exp(found[PITCH]) == pytest.approx(pitch_hz, rel=0.05)


def test_a_voice_is_more_like_itself_than_like_another():
    low = [voiceprint(voice(110, (500, 1500, 2500), seed=seed)) for seed in range(4)]
    high = [voiceprint(voice(230, (800, 1900, 3300), seed=seed)) for seed in range(4)]
    within = max(np.linalg.norm(a - b) for group in (low, high) for a in group for b in group)
    between = min(np.linalg.norm(a - b) for a in low for b in high)
    assert between > 2.0 * within


def test_loudness_changes_little():
    sound = voice(150, (600, 1400))
    loud, soft = voiceprint(sound), voiceprint(0.25 * sound)
    other = voiceprint(voice(150, (900, 2400)))
    assert np.linalg.norm(loud[1:] - soft[1:]) < 0.1 * np.linalg.norm(loud[1:] - other[1:])


def test_pauses_do_not_count():
    sound = voice(150, (600, 1400))
    paused = np.concatenate([sound, np.zeros(16_000, np.float32), sound])
    timbre = slice(0, 20)
    straight = voiceprint(np.concatenate([sound, sound]))
    assert np.linalg.norm(voiceprint(paused)[timbre] - straight[timbre]) < 0.2
    assert voiceprint(paused)[-1] < straight[-1]


def test_telephone_speech_is_described_too():
    found = voiceprint(voice(150, (600, 1400), sample_rate=8000), 8000)
    assert found.shape == (NUM_NUMBERS,)
    assert np.isfinite(found).all()


def test_noise_without_pitch_has_numbers_too():
    noise = 0.1 * np.random.default_rng(0).normal(size=16_000).astype(np.float32)
    assert np.isfinite(voiceprint(noise)).all()


@pytest.mark.parametrize(
    "samples", [np.zeros(16_000), np.zeros(0), np.ones(100), np.ones((2, 16_000))]
)
def test_silence_and_scraps_are_refused(samples):
    with pytest.raises(AudioError, match="1600 mono samples"):
        voiceprint(samples)
