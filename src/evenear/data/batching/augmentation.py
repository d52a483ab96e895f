# SPDX-License-Identifier: Apache-2.0
"""Variations of training speech: of its waveform (stored) and of its log-mel frames (fresh).

Waveform: speed, simulated room, telephone, noise, music, gain. Frames: vocal-tract warping, tempo,
SpecAugment. Every draw comes from a generator keyed by utterance, copy and epoch, so it does not
depend on workers or order. The room is an exponentially decaying noise tail; the noise is colored
or has the spectrum of the utterance itself, so nothing has to be downloaded.

Legend: N samples, T frames, M mel bins.

Source: Ko et al. 2015 (speed); Jaitly and Hinton 2013 (vocal tract length perturbation); Park et
al. 2019, arXiv:1912.05533 (LibriFullAdapt: 2 frequency masks of up to 27 of 80 bins, time masks of
up to 0.04 of the utterance, as many as 0.04 of its frames, at most 20).
Departs from the paper: no time warping inside the utterance; tempo changes all of it.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import signal

from evenear.audio import resample
from evenear.config import config
from evenear.data.batching.nonspeech import nonspeech
from evenear.units import SAMPLE_RATE

__all__ = [
    "FrameAugmentation",
    "WaveformAugmentation",
    "augment_frames",
    "augment_waveform",
    "spec_augment",
    "warp_frequency",
]

_Samples = NDArray[np.float32]
_Frames = NDArray[np.float32]


@config
class WaveformAugmentation:
    """How to vary a waveform. Chances are per utterance."""

    speeds: tuple[float, ...] = (0.9, 1.0, 1.1)
    """Speed factors to choose from; pitch and formants shift along."""
    room_chance: float = Field(default=0.25, ge=0, le=1)
    room_seconds: tuple[float, float] = (0.1, 0.5)
    """Least and greatest reverberation time (RT60)."""
    noise_chance: float = Field(default=0.4, ge=0, le=1)
    noise_snr_db: tuple[float, float] = (5.0, 30.0)
    gain_db: tuple[float, float] = (-12.0, 6.0)
    """Least and greatest gain; from -40 on, whispers into a far microphone are among it."""
    telephone_chance: float = Field(default=0.0, ge=0, le=1)
    """Chance that only a telephone's band is left, before the noise comes."""
    telephone_hz: tuple[float, float] = (300.0, 3400.0)
    music_chance: float = Field(default=0.0, ge=0, le=1)
    """Chance that music, a beat, a hum or rushing is behind the speech, at `noise_snr_db`."""
    aside_chance: float = Field(default=0.0, ge=0, le=1)
    """Chance that the same kinds of sound, as loud as speech, stand before and behind it."""
    aside_seconds: tuple[float, float] = (0.3, 2.0)
    """Least and greatest length of each."""


@config
class FrameAugmentation:
    """How to vary log-mel frames, freshly in each epoch."""

    warp: tuple[float, float] = (0.85, 1.2)
    """Least and greatest vocal-tract factor; above 1 moves formants up, as in smaller speakers."""
    warp_chance: float = Field(default=0.7, ge=0, le=1)
    tempo: tuple[float, float] = (0.85, 1.2)
    tempo_chance: float = Field(default=0.7, ge=0, le=1)
    num_frequency_masks: int = Field(default=2, ge=0)
    max_frequency_ratio: float = Field(default=0.34, ge=0, lt=1)
    time_mask_ratio: float = Field(default=0.04, ge=0, lt=1)
    """Greatest length of a time mask, and their number, as parts of the utterance."""
    max_time_masks: int = Field(default=20, ge=0)
    min_time_masks: int = Field(default=1, ge=0)
    """Short utterances get at least so many masks (LibriFullAdapt gives them none)."""


def augment_waveform(
    samples_N: _Samples, settings: WaveformAugmentation, rng: np.random.Generator
) -> _Samples:
    """A variation of 16 kHz samples; its length changes with the speed and with what is aside."""
    speed = float(rng.choice(settings.speeds))
    if speed != 1.0:
        samples_N = resample(samples_N, from_rate=round(SAMPLE_RATE * speed), to_rate=SAMPLE_RATE)
    if rng.random() < settings.room_chance:
        samples_N = _in_a_room(samples_N, float(rng.uniform(*settings.room_seconds)), rng)
    # Without a chance nothing is drawn: what was made before there was one stays the same.
    if settings.telephone_chance and rng.random() < settings.telephone_chance:
        samples_N = _by_telephone(samples_N, settings.telephone_hz)
    if rng.random() < settings.noise_chance:
        samples_N = _with_noise(samples_N, float(rng.uniform(*settings.noise_snr_db)), rng)
    if settings.music_chance and rng.random() < settings.music_chance:
        level = _level(samples_N) * 10 ** (-float(rng.uniform(*settings.noise_snr_db)) / 20)
        samples_N = np.add(samples_N, level * nonspeech(len(samples_N), rng), dtype=np.float32)
    if settings.aside_chance and rng.random() < settings.aside_chance:
        samples_N = _with_asides(samples_N, settings.aside_seconds, rng)
    gain = 10.0 ** (float(rng.uniform(*settings.gain_db)) / 20)
    return np.clip(samples_N * gain, -1.0, 1.0).astype(np.float32)


def augment_frames(
    frames_TM: _Frames,
    settings: FrameAugmentation,
    rng: np.random.Generator,
    hz_M: NDArray[np.float64] | None = None,
) -> _Frames:
    """A variation of log-mel frames: vocal tract, tempo, masks. `hz_M` as in `warp_frequency`."""
    if rng.random() < settings.warp_chance:
        frames_TM = warp_frequency(frames_TM, float(rng.uniform(*settings.warp)), hz_M)
    if rng.random() < settings.tempo_chance and len(frames_TM) > 1:
        frames_TM = _with_tempo(frames_TM, float(rng.uniform(*settings.tempo)))
    return spec_augment(frames_TM, settings, rng)


def warp_frequency(
    frames_TM: _Frames, factor: float, hz_M: NDArray[np.float64] | None = None
) -> _Frames:
    """Move what sounds at f Hz to factor * f Hz, with a kink that keeps the band's upper edge.

    `hz_M` are the centers of the bins; None: those of the features of kind `log-mel`.
    """
    num_bins = frames_TM.shape[1]
    if hz_M is None:
        mel_M = np.linspace(_mel(20.0), _mel(SAMPLE_RATE / 2 - 400.0), num_bins + 2)[1:-1]
        hz_M = 700.0 * (np.exp(mel_M / 1127.0) - 1.0)
    else:
        mel_M = _mel(hz_M)
    knee = 0.85 * hz_M[-1] * min(factor, 1.0)
    slope = (hz_M[-1] - knee / factor) / (hz_M[-1] - knee)
    source_hz_M = np.where(hz_M < knee, hz_M / factor, hz_M[-1] - (hz_M[-1] - hz_M) * slope)
    place_M = np.interp(_mel(source_hz_M), mel_M, np.arange(num_bins))
    low_M = np.minimum(place_M.astype(np.int64), num_bins - 2)
    part_M = (place_M - low_M).astype(np.float32)
    return frames_TM[:, low_M] * (1 - part_M) + frames_TM[:, low_M + 1] * part_M


def spec_augment(
    frames_TM: _Frames, settings: FrameAugmentation, rng: np.random.Generator
) -> _Frames:
    """Frames with bands and stretches replaced by the utterance's mean."""
    masked_TM = frames_TM.copy()
    num_frames, num_bins = masked_TM.shape
    mean = float(masked_TM.mean()) if masked_TM.size else 0.0
    max_width = int(settings.max_frequency_ratio * num_bins)
    for _ in range(settings.num_frequency_masks):
        width = int(rng.integers(0, max_width + 1))
        start = int(rng.integers(0, num_bins - width + 1))
        masked_TM[:, start : start + width] = mean
    num_masks = int(settings.time_mask_ratio * num_frames)
    num_masks = min(settings.max_time_masks, max(settings.min_time_masks, num_masks))
    max_length = int(settings.time_mask_ratio * num_frames)
    for _ in range(num_masks):
        length = int(rng.integers(0, max_length + 1))
        start = int(rng.integers(0, num_frames - length + 1))
        masked_TM[start : start + length] = mean
    return masked_TM


def _mel(hz: float | NDArray[np.float64]) -> NDArray[np.float64]:
    return 1127.0 * np.log1p(np.asarray(hz) / 700.0)


def _with_tempo(frames_TM: _Frames, tempo: float) -> _Frames:
    """Frames interpolated in time so that the speech is `tempo` times as fast."""
    num_frames = len(frames_TM)
    place_T = np.linspace(0, num_frames - 1, max(2, round(num_frames / tempo)))
    low_T = np.minimum(place_T.astype(np.int64), num_frames - 2)
    part_T1 = (place_T - low_T).astype(np.float32)[:, None]
    mixed_TM = frames_TM[low_T] * (1 - part_T1) + frames_TM[low_T + 1] * part_T1
    return mixed_TM.astype(np.float32, copy=False)


def _in_a_room(samples_N: _Samples, rt60_seconds: float, rng: np.random.Generator) -> _Samples:
    """Convolve with a direct path and an exponentially decaying tail of noise."""
    tail = np.arange(1, int(rt60_seconds * SAMPLE_RATE)) / SAMPLE_RATE
    decay = np.exp(-6.9078 * tail / rt60_seconds)  # -60 dB after rt60_seconds
    late = rng.standard_normal(len(tail)) * decay
    late *= np.sqrt(rng.uniform(0.05, 0.6) / max(np.square(late).sum(), 1e-12))
    response = np.concatenate([[1.0], late])
    heard_N = signal.fftconvolve(samples_N, response)[: len(samples_N)]
    return _same_power(heard_N, samples_N)


def _by_telephone(samples_N: _Samples, band_hz: tuple[float, float]) -> _Samples:
    """Only what a telephone lets through: 24 dB less for each octave beyond the band."""
    sections = signal.butter(4, band_hz, "bandpass", fs=SAMPLE_RATE, output="sos")
    return np.asarray(signal.sosfilt(sections, samples_N), dtype=np.float32)


def _with_noise(samples_N: _Samples, snr_db: float, rng: np.random.Generator) -> _Samples:
    """Add colored noise, or noise with the spectrum of the utterance, at a ratio to its power."""
    if not len(samples_N):
        return samples_N
    size = max(len(samples_N), 2)
    if rng.random() < 0.5:
        spectrum = np.abs(np.fft.rfft(samples_N, size))
    else:
        hz = np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), 20.0)
        spectrum = hz ** -float(rng.uniform(0.0, 1.0))
    phase = np.exp(2j * np.pi * rng.random(len(spectrum)))
    noise_N = np.fft.irfft(spectrum * phase, size)[: len(samples_N)]
    power = float(np.square(samples_N).mean()) * 10 ** (-snr_db / 10)
    return samples_N + _scaled(noise_N, power)


def _with_asides(
    samples_N: _Samples, seconds: tuple[float, float], rng: np.random.Generator
) -> _Samples:
    """Sound without speech before it, behind it or both, with a short silence between."""
    sides = [np.zeros(0, np.float32)] * 2
    for side in ((0,), (1,), (0, 1))[int(rng.integers(3))]:
        size = int(rng.uniform(*seconds) * SAMPLE_RATE)
        level = _level(samples_N) * 10 ** float(rng.uniform(-0.75, 0.25))
        pause = np.zeros(int(rng.uniform(0.0, 0.2) * SAMPLE_RATE), np.float32)
        aside = level * nonspeech(size, rng)
        sides[side] = np.concatenate([pause, aside] if side else [aside, pause])
    return np.concatenate([sides[0], samples_N, sides[1]]).astype(np.float32)


def _level(samples_N: _Samples) -> float:
    return float(np.sqrt(np.square(samples_N).mean())) if len(samples_N) else 0.0


def _same_power(samples_N: NDArray[np.float64], model_N: _Samples) -> _Samples:
    return _scaled(samples_N, float(np.square(model_N).mean()) if len(model_N) else 0.0)


def _scaled(samples_N: NDArray[np.float64], power: float) -> _Samples:
    now = float(np.square(samples_N).mean()) if len(samples_N) else 0.0
    return (samples_N * np.sqrt(power / max(now, 1e-20))).astype(np.float32)
