# SPDX-License-Identifier: Apache-2.0
"""A voice as 64 numbers, with nothing to download: timbre, its movement, pitch and loudness.

Frames of 25 ms that are loud enough to be speech become mel-frequency cepstra; their means say what
a voice (and its microphone) sounds like, their spreads and those of their changes how it moves.
Pitch comes from the autocorrelation of each frame. This is a light stand-in for a trained speaker
encoder: over all pairs of 2,150 utterances of 215 speakers of speechocean762 its equal error rate
is 12 %, where a trained encoder of 17 MB (Resemblyzer) has 5 %. It hears rooms and microphones as
much as voices. Give better embeddings where there are some.

Legend: N samples, T frames, M mel bands, C cepstral coefficients, L lags.

Source: S. Davis and P. Mermelstein, "Comparison of parametric representations for monosyllabic word
recognition", 1980 (cepstra); P. Boersma, "Accurate short-term analysis of the fundamental
frequency", 1993 (autocorrelation over that of the window).
"""

import numpy as np

from evenear.errors import AudioError

__all__ = ["NUM_NUMBERS", "voiceprint"]

_WINDOW_SECONDS = 0.025
_PITCH_WINDOW_SECONDS = 0.04
_HOP_SECONDS = 0.01
_NUM_BANDS = 32
_NUM_CEPSTRA = 20
_LOWEST_HZ, _HIGHEST_HZ = 80.0, 7600.0
_LOWEST_PITCH_HZ, _HIGHEST_PITCH_HZ = 65.0, 450.0
_SPEECH_DB = 30.0
"""Frames more than this below the loudest do not count."""
_OCTAVE_COST = 0.05
_VOICED = 0.5
"""Autocorrelation from which a frame has a pitch."""

NUM_NUMBERS = 3 * _NUM_CEPSTRA + 4


def voiceprint(samples: np.ndarray, sample_rate: int = 16_000) -> np.ndarray:
    """Describe the voice in an utterance by `NUM_NUMBERS` numbers.

    Args:
        samples: Mono samples in [-1, 1].
        sample_rate: In Hz, at least 8000.

    Raises:
        AudioError: There is too little sound, or it is not mono.
    """
    least = round(0.1 * sample_rate)
    if samples.ndim != 1 or len(samples) < least or not np.any(samples):
        raise AudioError(
            f"A voiceprint needs at least {least} mono samples (0.1 s) that are not silence, got "
            f"an array of shape {samples.shape}.",
            hint="Leave out empty and silent utterances.",
        )
    frames_TN = _frames(samples, sample_rate, _WINDOW_SECONDS)
    energy_T = (frames_TN**2).mean(axis=1)
    is_speech_T = energy_T > energy_T.max() * 10.0 ** (-_SPEECH_DB / 10.0)
    cepstra_TC = _cepstra(frames_TN, sample_rate)
    changes_TC = np.gradient(cepstra_TC, axis=0) if len(cepstra_TC) > 1 else 0.0 * cepstra_TC
    cepstra_TC, changes_TC = cepstra_TC[is_speech_T], changes_TC[is_speech_T]
    return np.concatenate(
        [
            cepstra_TC.mean(axis=0),
            cepstra_TC.std(axis=0),
            changes_TC.std(axis=0),
            _pitch(samples, sample_rate),
            [is_speech_T.mean()],
        ]
    ).astype(np.float32)


def _frames(samples: np.ndarray, sample_rate: int, window_seconds: float) -> np.ndarray:
    window, hop = round(window_seconds * sample_rate), round(_HOP_SECONDS * sample_rate)
    padded = np.pad(samples.astype(np.float64), (0, max(0, window - len(samples))))
    return np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]


def _cepstra(frames_TN: np.ndarray, sample_rate: int) -> np.ndarray:
    size = frames_TN.shape[1]
    emphasized_TN = frames_TN - 0.97 * np.roll(frames_TN, 1, axis=1)
    emphasized_TN[:, 0] = frames_TN[:, 0] * 0.03
    power = np.abs(np.fft.rfft(emphasized_TN * np.hamming(size), n=512, axis=1)) ** 2
    bands_TM = power @ _mel_bands(power.shape[1], sample_rate).T
    log_TM = np.log(bands_TM + 1e-8)
    orders_C1 = np.arange(_NUM_CEPSTRA)[:, None]
    cosines_CM = np.cos(np.pi * orders_C1 * (np.arange(_NUM_BANDS) + 0.5) / _NUM_BANDS)
    return log_TM @ cosines_CM.T / _NUM_BANDS


def _mel_bands(num_bins: int, sample_rate: int) -> np.ndarray:
    """Triangles that are evenly spaced in mel."""

    def mel(hz: np.ndarray | float) -> np.ndarray:
        return 1127.0 * np.log1p(np.asarray(hz) / 700.0)

    edges = np.linspace(mel(_LOWEST_HZ), mel(min(_HIGHEST_HZ, 0.475 * sample_rate)), _NUM_BANDS + 2)
    bins = mel(np.linspace(0.0, sample_rate / 2.0, num_bins))
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    return np.clip(np.minimum(rising, falling), 0.0, None)


def _pitch(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Median and spread of log pitch, and the share of frames that have one."""
    frames_TN = _frames(samples, sample_rate, _PITCH_WINDOW_SECONDS)
    size = frames_TN.shape[1]
    window = np.hanning(size)
    centered_TN = (frames_TN - frames_TN.mean(axis=1, keepdims=True)) * window
    length = 1 << (2 * size - 1).bit_length()

    def autocorrelation(signal: np.ndarray) -> np.ndarray:
        raw = np.fft.irfft(np.abs(np.fft.rfft(signal, n=length, axis=-1)) ** 2, axis=-1)
        return raw[..., :size] / np.maximum(raw[..., :1], 1e-12)

    low, high = int(sample_rate / _HIGHEST_PITCH_HZ), int(sample_rate / _LOWEST_PITCH_HZ)
    found_TL = autocorrelation(centered_TN)[:, low:high] / autocorrelation(window)[low:high]
    loudness_T = (centered_TN**2).mean(axis=1)
    is_loud_T = loudness_T > loudness_T.max() * 10.0 ** (-_SPEECH_DB / 10.0)
    is_voiced_T = (found_TL.max(axis=1) > _VOICED) & is_loud_T
    if not is_voiced_T.any():
        return np.array([np.log(150.0), 0.0, 0.0])
    # A period repeats at twice its length too: the shorter of two like ones is meant.
    octaves_L = np.log2(np.arange(low, high) / low)
    found_TL = found_TL[is_voiced_T] - _OCTAVE_COST * octaves_L
    log_pitch = np.log(sample_rate / (low + found_TL.argmax(axis=1)))
    quarter, median, three_quarters = np.quantile(log_pitch, [0.25, 0.5, 0.75])
    return np.array([median, three_quarters - quarter, is_voiced_T.sum() / is_loud_T.sum()])
