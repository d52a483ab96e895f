# SPDX-License-Identifier: Apache-2.0
"""Sound to voices: files, arrays and streams become unit vectors, or it is said why not.

    embedder = Embedder.load("evenear-speaker")
    voice = embedder.embed_file("a.wav")
    float(voice.vector @ embedder.embed_file("b.wav").vector)      # larger: more alike

A vector needs some speech: silence and a syllable have no voice to speak of. What counts as speech
is decided by loudness alone (frames within 35 dB of the loudest ones and above -60 dBFS), so it is
no judge of music or noise. A recording that seems to hold two voices gives a vector and a warning.

Legend: N samples, T frames, F feature width, D width of a vector, B parts of a recording.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from evenear.audio import AudioSource, StreamResampler, read_audio, to_mono_float32
from evenear.checkpoint.speakers import SpeakerBundle, load_speaker
from evenear.errors import AudioError
from evenear.features import FeatureStream, extract
from evenear.units import SAMPLE_RATE

__all__ = [
    "DEFAULT_MODEL",
    "LEAST_SECONDS",
    "TWO_VOICES",
    "Embedder",
    "Voice",
    "VoiceStream",
    "speech_seconds",
]

DEFAULT_MODEL = "evenear-speaker"
LEAST_SECONDS = 0.5
"""Speech that a vector needs."""
_FRAME = 160
_QUIETEST_DB, _RANGE_DB = -60.0, 35.0
_PIECE = 3000
"""Feature frames that are heard at once."""
_PART_SECONDS = 1.5
TWO_VOICES = 0.25
"""Mean score between two groups of parts, below which they seem two people. Of 45 recordings of one
of 15 held-out speakers (four sentences) none was below 0.3; of 45 of two (two sentences each), 36
were below 0.25 (`benchmarks/two_voices.py`)."""


@dataclass(frozen=True, eq=False)
class Voice:
    """A voice as a unit vector, and how much speech it rests on."""

    vector: NDArray[np.float32]
    speech_seconds: float
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Without the vector: it is a person's, and must not end up in a log."""
        return f"Voice(speech_seconds={self.speech_seconds:.2f}, warnings={self.warnings})"


class Embedder:
    """An embedding network, ready to listen.

    Args:
        bundle: The network and its features.
    """

    def __init__(self, bundle: SpeakerBundle) -> None:
        self.bundle = bundle

    @classmethod
    def load(cls, name_or_folder: str | Path = DEFAULT_MODEL) -> "Embedder":
        """Load a network by its folder, or a shipped one by its name."""
        return cls(load_speaker(name_or_folder))

    @property
    def version(self) -> str:
        """What templates must have been made with to be compared with this network's."""
        return self.bundle.version

    def embed_file(self, path: AudioSource) -> Voice:
        """The voice in a sound file of any rate.

        Raises:
            AudioError: It cannot be read, is silent, or holds too little speech.
        """
        return self.embed(read_audio(path), name=str(path))

    def embed(
        self, samples: np.ndarray, *, sample_rate: int = SAMPLE_RATE, name: str = "The recording"
    ) -> Voice:
        """The voice in samples.

        Args:
            samples: Mono, or (n, channels), of any type that `to_mono_float32` takes.
            sample_rate: In Hz.
            name: What to call the recording in errors.

        Raises:
            AudioError: They are silent, or hold too little speech.
        """
        samples_N = to_mono_float32(samples)
        if sample_rate != SAMPLE_RATE:
            resampler = StreamResampler(sample_rate, SAMPLE_RATE)
            samples_N = np.concatenate([resampler.accept(samples_N), resampler.finish()])
        seconds = _enough_speech(samples_N, name)
        vector_D = self.vector(samples_N)
        return Voice(vector_D, seconds, self._doubts(samples_N))

    def stream(self, *, sample_rate: int = SAMPLE_RATE) -> "VoiceStream":
        """A stream whose voice is known so far at any time."""
        return VoiceStream(self, sample_rate)

    @torch.inference_mode()
    def vector(self, samples_N: NDArray[np.float32]) -> NDArray[np.float32]:
        """The vector of 16 kHz samples as they are, however little speech is in them.

        They are heard in pieces, so that an hour needs no more memory. Zeros of samples that are
        too few for a frame.
        """
        model = self.bundle.model
        features_TF = torch.from_numpy(extract(samples_N, self.bundle.features))
        if not len(features_TF):
            return np.zeros(model.config.embedding_dim, np.float32)
        state: Any = model.initial_state(1)
        for piece_TF in features_TF.split(_PIECE):
            state = model.step(piece_TF[None], state)
        return model.embedding(state)[0].numpy()

    def parts_score(self, samples_N: NDArray[np.float32]) -> float | None:
        """How alike the two most unlike groups of a recording's parts are.

        Parts of 1.5 s are grouped around the two that are most unlike; the answer is the mean score
        between the groups. None where it cannot be said: fewer than four parts, or a group of one.
        """
        size = round(_PART_SECONDS * SAMPLE_RATE)
        starts = range(0, len(samples_N) - size + 1, size)
        parts = [samples_N[start : start + size] for start in starts]
        parts = [part for part in parts if speech_seconds(part) >= _PART_SECONDS / 2]
        if len(parts) < 4:
            return None
        vectors_BD = np.stack([self.vector(part) for part in parts])
        scores_BB = vectors_BD @ vectors_BD.T
        first, second = np.unravel_index(int(scores_BB.argmin()), scores_BB.shape)
        is_second_B = scores_BB[:, second] > scores_BB[:, first]
        if min(is_second_B.sum(), (~is_second_B).sum()) < 2:
            return None
        return float(scores_BB[np.ix_(is_second_B, ~is_second_B)].mean())

    def _doubts(self, samples_N: NDArray[np.float32]) -> tuple[str, ...]:
        """Whether the parts of a recording fall into two groups that are far from each other."""
        between = self.parts_score(samples_N)
        if between is None or between >= TWO_VOICES:
            return ()
        return (
            "Parts of the recording sound like different people "
            f"(mean score between them {between:.2f}); the vector is of their mixture.",
        )


class VoiceStream:
    """One listener of one stream: the embedding so far, from chunks of any size."""

    def __init__(self, embedder: Embedder, sample_rate: int) -> None:
        self._model = embedder.bundle.model
        self._features = FeatureStream(embedder.bundle.features)
        self._resampler = StreamResampler(sample_rate, SAMPLE_RATE)
        self._state: Any = self._model.initial_state(1)
        self._num_frames = 0

    def accept(self, samples: np.ndarray) -> None:
        """Take mono samples at the stream's rate."""
        self._hear(self._features.accept(self._resampler.accept(to_mono_float32(samples))))

    def finish(self) -> None:
        """End the stream: what still waits is heard."""
        self._hear(self._features.accept(self._resampler.finish()))
        self._hear(self._features.finish())

    @torch.inference_mode()
    def vector(self) -> NDArray[np.float32] | None:
        """The unit vector of what was heard so far; None before the first frame.

        Nothing here asks whether it was speech: the caller knows when somebody talks.
        """
        if not self._num_frames:
            return None
        return self._model.embedding(self._state)[0].numpy()

    @torch.inference_mode()
    def _hear(self, features_TF: NDArray[np.float32]) -> None:
        if len(features_TF):
            self._state = self._model.step(torch.from_numpy(features_TF)[None], self._state)
            self._num_frames += len(features_TF)


def speech_seconds(samples_N: NDArray[np.float32]) -> float:
    """Seconds of 16 kHz samples that are loud enough to be speech."""
    num_frames = len(samples_N) // _FRAME
    if num_frames == 0:
        return 0.0
    frames = samples_N[: num_frames * _FRAME].reshape(num_frames, _FRAME).astype(np.float64)
    loudness_T = 10.0 * np.log10(np.square(frames).mean(axis=1) + 1e-12)
    loudest = float(np.quantile(loudness_T, 0.98))
    is_speech_T = loudness_T > max(_QUIETEST_DB, loudest - _RANGE_DB)
    return float(is_speech_T.sum()) * _FRAME / SAMPLE_RATE


def _enough_speech(samples_N: NDArray[np.float32], name: str) -> float:
    seconds = speech_seconds(samples_N)
    length = len(samples_N) / SAMPLE_RATE
    if seconds == 0.0:
        raise AudioError(
            f"{name} must hold speech, but it is silent ({length:.2f} s).",
            hint="Is the microphone on, and the right channel recorded?",
        )
    if seconds < LEAST_SECONDS:
        raise AudioError(
            f"{name} holds {seconds:.2f} s of speech in {length:.2f} s; a voice needs "
            f"{LEAST_SECONDS} s or more.",
            hint="Record a whole sentence: three seconds are good.",
        )
    return seconds
