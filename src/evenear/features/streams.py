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

from typing import Any, Protocol

import kaldi_native_fbank
import numpy as np
from numpy.typing import NDArray

from evenear.features.config import FeatureConfig
from evenear.features.whisper import WhisperFrames
from evenear.units import SAMPLE_RATE, Frames

__all__ = ["FeatureStream", "extract", "log_mel", "stack_frames"]

_Features = NDArray[np.float32]

_WHISPER_LEAST = 1e-10


class _Extractor(Protocol):
    """What makes frames of M mel bins out of samples."""

    def accept(self, samples_N: NDArray[np.float32]) -> _Features: ...

    def finish(self) -> _Features: ...


class FeatureStream:
    """Feature frames of one stream of 16 kHz samples.

    Keeps only what the next frame needs: a fraction of a second, however long the stream.
    """

    def __init__(self, config: FeatureConfig) -> None:
        self.config = config
        self._extractor = _extractor(config)
        self._num_samples = 0
        self._pending_TM = np.zeros((0, config.num_mel_bins), np.float32)

    def accept(self, samples_N: NDArray[np.float32]) -> _Features:
        """Take samples in [-1, 1]; return the feature frames that became known, (T, F)."""
        if not len(samples_N):
            return np.zeros((0, self.config.dim), np.float32)
        self._num_samples += len(samples_N)
        return self._stack(_scaled(self._extractor.accept(samples_N), self.config))

    def finish(self) -> _Features:
        """End the stream; return its last feature frames."""
        if self._num_samples == 0:
            return np.zeros((0, self.config.dim), np.float32)
        stacked_TF = self._stack(_scaled(self._extractor.finish(), self.config))
        if not len(self._pending_TM):
            return stacked_TF
        missing = self.config.stack - len(self._pending_TM)
        last_TM = np.concatenate([self._pending_TM, np.repeat(self._pending_TM[-1:], missing, 0)])
        self._pending_TM = self._pending_TM[:0]
        return np.concatenate([stacked_TF, last_TM.reshape(1, -1)])

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
    extractor = _extractor(config)
    return _scaled(np.concatenate([extractor.accept(samples_N), extractor.finish()]), config)


def stack_frames(frames_TM: _Features, config: FeatureConfig) -> _Features:
    """Log-mel frames joined by `config.stack`, the last group filled up with its last, (T, F)."""
    missing = -len(frames_TM) % config.stack
    if missing:
        frames_TM = np.concatenate([frames_TM, np.repeat(frames_TM[-1:], missing, 0)])
    return frames_TM.reshape(-1, config.dim)


class _KaldiFrames:
    """Log-mel frames of one stream as kaldi-native-fbank computes them."""

    def __init__(self, config: FeatureConfig) -> None:
        self._fbank: Any = kaldi_native_fbank.OnlineFbank(_options(config))
        self._num_mel_bins = config.num_mel_bins
        self._num_taken: Frames = 0

    def accept(self, samples_N: NDArray[np.float32]) -> _Features:
        self._fbank.accept_waveform(SAMPLE_RATE, np.ascontiguousarray(samples_N, np.float32))
        return self._take()

    def finish(self) -> _Features:
        self._fbank.input_finished()
        return self._take()

    def _take(self) -> _Features:
        """New frames, taken out of the extractor so that its memory does not grow."""
        ready = self._fbank.num_frames_ready
        frames = [self._fbank.get_frame(i) for i in range(self._num_taken, ready)]
        taken_TM = np.array(frames, np.float32).reshape(-1, self._num_mel_bins)
        self._fbank.pop(ready - self._num_taken)  # the frames were views of what this frees
        self._num_taken = ready
        return taken_TM


def _extractor(config: FeatureConfig) -> _Extractor:
    if config.kind == "log-mel":
        return _KaldiFrames(config)
    return WhisperFrames(config.num_mel_bins)


def _scaled(frames_TM: _Features, config: FeatureConfig) -> _Features:
    """What the extractor gives, as models hear it."""
    if config.kind == "log-mel":
        return frames_TM
    logs_TM = np.log10(np.maximum(frames_TM, _WHISPER_LEAST))
    return ((np.maximum(logs_TM, config.floor) + 4.0) / 4.0).astype(np.float32, copy=False)


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
