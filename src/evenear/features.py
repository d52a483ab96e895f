# SPDX-License-Identifier: Apache-2.0
"""From samples to feature frames: log-mel energies each 10 ms, of two kinds.

`log-mel` has 64 bins and joins frames three by three, as the recognition papers here do. `whisper`
is the front end of OpenAI's Whisper: 80 Slaney bins, base-10 logarithms, shifted and scaled; but
where Whisper lifts each frame to 8 below the clip's maximum, which a stream cannot know, a fixed
floor stands, so frames quieter than that differ from Whisper's, and the first two and the last.

Offline and online are one code path: a whole utterance is a `FeatureStream` that was fed at once,
and chunks of any size give the same numbers bit for bit. Frames are centered (Kaldi's
`snip_edges=False`), so n samples make round(n / hop) log-mel frames, and no sound at the end is
lost: the last, incomplete stack repeats its last frame.

Legend: N samples, T frames, M mel bins, F feature width (M times the stack).

Source: kaldi-native-fbank; 64 log-mel bins, 25 ms Hamming window, 10 ms hop, stack 3 and skip 3
as in Radfar et al. 2022, arXiv:2209.14868, section 3.1; Radford et al. 2022, arXiv:2212.04356.
"""

from typing import Any, Literal

import kaldi_native_fbank
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evenear.config import config
from evenear.errors import ConfigError
from evenear.units import SAMPLE_RATE, FrameClock

__all__ = ["FeatureConfig", "FeatureStream", "bin_hz", "extract", "log_mel", "stack_frames"]

_Features = NDArray[np.float32]

_WHISPER_LEAD = 80
"""Zeros before the sound, so that frame t is centered where Whisper centers it, at 160 t."""
_WHISPER_LEAST = 1e-10


@config
class FeatureConfig:
    """How samples become frames."""

    kind: Literal["log-mel", "whisper"] = "log-mel"
    num_mel_bins: int = Field(default=64, ge=1)
    window_milliseconds: float = Field(default=25.0, gt=0)
    hop_milliseconds: float = Field(default=10.0, gt=0)
    stack: int = Field(default=3, ge=1)
    """Log-mel frames joined into one feature frame; also the frames it advances."""
    floor: float = Field(default=-6.5, le=0)
    """Least base-10 logarithm of an energy, for the kind `whisper`."""

    def __post_init__(self) -> None:
        if self.kind == "whisper" and (self.window_milliseconds, self.hop_milliseconds) != (25, 10):
            raise ConfigError(
                "Whisper's features have windows of 25 ms each 10 ms, got "
                f"{self.window_milliseconds} each {self.hop_milliseconds}.",
                hint="Leave window_milliseconds and hop_milliseconds as they are.",
            )

    @classmethod
    def whisper(cls) -> "FeatureConfig":
        """What a pretrained Whisper encoder listens to: 80 bins each 10 ms, not joined."""
        return cls(kind="whisper", num_mel_bins=80, stack=1)

    @property
    def dim(self) -> int:
        """Width F of a feature frame."""
        return self.num_mel_bins * self.stack

    @property
    def clock(self) -> FrameClock:
        """The clock of feature frames."""
        hop = round(self.hop_milliseconds * SAMPLE_RATE / 1000)
        return FrameClock(sample_rate=SAMPLE_RATE, hop=hop, stride=self.stack)


class FeatureStream:
    """Feature frames of one stream of 16 kHz samples.

    Keeps only what the next frame needs: a fraction of a second, however long the stream.
    """

    def __init__(self, config: FeatureConfig) -> None:
        self.config = config
        self._fbank = _extractor(config)
        self._num_taken = 0
        self._num_samples = 0
        self._pending_TM = np.zeros((0, config.num_mel_bins), np.float32)

    def accept(self, samples_N: NDArray[np.float32]) -> _Features:
        """Take samples in [-1, 1]; return the feature frames that became known, (T, F)."""
        if len(samples_N):
            self._num_samples += len(samples_N)
            _accept(self._fbank, samples_N)
        return self._stack(self._take())

    def finish(self) -> _Features:
        """End the stream; return its last feature frames."""
        if self._num_samples == 0:
            return np.zeros((0, self.config.dim), np.float32)
        self._fbank.input_finished()
        stacked_TF = self._stack(self._take())
        if not len(self._pending_TM):
            return stacked_TF
        missing = self.config.stack - len(self._pending_TM)
        last_TM = np.concatenate([self._pending_TM, np.repeat(self._pending_TM[-1:], missing, 0)])
        self._pending_TM = self._pending_TM[:0]
        return np.concatenate([stacked_TF, last_TM.reshape(1, -1)])

    def _take(self) -> _Features:
        """New log-mel frames, taken out of the extractor so that its memory does not grow."""
        ready = self._fbank.num_frames_ready
        frames = [self._fbank.get_frame(i) for i in range(self._num_taken, ready)]
        taken_TM = np.array(frames, np.float32).reshape(-1, self.config.num_mel_bins)
        self._fbank.pop(ready - self._num_taken)
        self._num_taken = ready
        return _scaled(taken_TM, self.config)

    def _stack(self, frames_TM: _Features) -> _Features:
        joined_TM = np.concatenate([self._pending_TM, frames_TM])
        num_whole = len(joined_TM) // self.config.stack * self.config.stack
        self._pending_TM = joined_TM[num_whole:]
        return joined_TM[:num_whole].reshape(-1, self.config.dim)


def extract(samples_N: NDArray[np.float32], config: FeatureConfig) -> _Features:
    """Feature frames of a whole utterance of 16 kHz samples, (T, F)."""
    stream = FeatureStream(config)
    return np.concatenate([stream.accept(samples_N), stream.finish()])


def log_mel(samples_N: NDArray[np.float32], config: FeatureConfig) -> _Features:
    """Log-mel frames of a whole utterance before stacking, (T, M); what augmentation works on."""
    if not len(samples_N):
        return np.zeros((0, config.num_mel_bins), np.float32)
    fbank = _extractor(config)
    _accept(fbank, samples_N)
    fbank.input_finished()
    frames = [fbank.get_frame(i) for i in range(fbank.num_frames_ready)]
    return _scaled(np.array(frames, np.float32).reshape(-1, config.num_mel_bins), config)


def stack_frames(frames_TM: _Features, config: FeatureConfig) -> _Features:
    """Log-mel frames joined by `config.stack`, the last group filled up with its last, (T, F)."""
    missing = -len(frames_TM) % config.stack
    if missing:
        frames_TM = np.concatenate([frames_TM, np.repeat(frames_TM[-1:], missing, 0)])
    return frames_TM.reshape(-1, config.dim)


def bin_hz(config: FeatureConfig) -> NDArray[np.float64]:
    """Center frequencies of the mel bins, (M,)."""
    if config.kind == "whisper":
        places_M = np.linspace(0.0, _slaney_mel(SAMPLE_RATE / 2), config.num_mel_bins + 2)[1:-1]
        return np.where(
            places_M < 15.0, 200.0 * places_M / 3.0, 1000.0 * 6.4 ** ((places_M - 15.0) / 27.0)
        )
    low, high = (1127.0 * np.log1p(hz / 700.0) for hz in (20.0, SAMPLE_RATE / 2 - 400.0))
    places_M = np.linspace(low, high, config.num_mel_bins + 2)[1:-1]
    return 700.0 * np.expm1(places_M / 1127.0)


def _slaney_mel(hz: float) -> float:
    return (
        3.0 * hz / 200.0 if hz < 1000.0 else 15.0 + 27.0 * float(np.log(hz / 1000.0) / np.log(6.4))
    )


def _extractor(config: FeatureConfig) -> Any:
    if config.kind == "log-mel":
        return kaldi_native_fbank.OnlineFbank(_options(config))
    options = kaldi_native_fbank.WhisperFeatureOptions()
    options.dim = config.num_mel_bins
    options.frame_opts.samp_freq = SAMPLE_RATE
    options.frame_opts.snip_edges = False
    options.frame_opts.dither = 0.0
    fbank = kaldi_native_fbank.OnlineWhisperFbank(options)
    _accept(fbank, np.zeros(_WHISPER_LEAD, np.float32))
    return fbank


def _scaled(frames_TM: _Features, config: FeatureConfig) -> _Features:
    """What the extractor gives, as models hear it."""
    if config.kind == "log-mel":
        return frames_TM
    logs_TM = np.log10(np.maximum(frames_TM, _WHISPER_LEAST))
    return ((np.maximum(logs_TM, config.floor) + 4.0) / 4.0).astype(np.float32, copy=False)


def _accept(fbank: Any, samples_N: NDArray[np.float32]) -> None:
    fbank.accept_waveform(SAMPLE_RATE, np.ascontiguousarray(samples_N, np.float32))


def _options(config: FeatureConfig) -> "kaldi_native_fbank.FbankOptions":
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = SAMPLE_RATE
    options.frame_opts.frame_length_ms = config.window_milliseconds
    options.frame_opts.frame_shift_ms = config.hop_milliseconds
    options.frame_opts.window_type = "hamming"
    options.frame_opts.snip_edges = False
    options.frame_opts.dither = 0.0
    options.mel_opts.num_bins = config.num_mel_bins
    options.mel_opts.low_freq = 20.0
    options.mel_opts.high_freq = -400.0
    options.energy_floor = 0.0
    return options
