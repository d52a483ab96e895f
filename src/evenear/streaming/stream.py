# SPDX-License-Identifier: Apache-2.0
"""One listener: samples in, events out.

What a listener has heard is a `StreamState`, a value. Only the resampler, the extractor of features
and the detector of voice, if there is one, keep something themselves.

Legend: B streams, N audio samples, T frames, F feature width.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evenear.audio import StreamResampler, to_mono_float32
from evenear.checkpoint import Bundle
from evenear.errors import AudioError
from evenear.features import FeatureStream
from evenear.models.transducer import Transducer
from evenear.streaming.dial import share_spent
from evenear.streaming.events import Event
from evenear.streaming.silence import Silence, SilenceDetector
from evenear.streaming.turns import TurnState
from evenear.units import SAMPLE_RATE, Samples, Seconds

__all__ = ["Hearing", "Stream", "StreamState", "checked_samples"]

_LOUDEST = 2.0
"""Decoders and resamplers overshoot full scale a little; more means another scale."""


class StreamState(NamedTuple):
    """All that a recognizer remembers of one stream. It never changes; the next one is made."""

    encoder: Any
    """State of the encoder, for a batch of one."""
    search: Any
    """State of the search."""
    turns: TurnState
    """The turns of the stream's only channel."""
    silences: tuple[Silence, ...] = ()
    """What a detector of voice heard behind the block that the encoder waits for."""

    def listening(self, silences: Sequence[Silence]) -> "StreamState":
        """The state when a detector of voice has heard more."""
        return self._replace(silences=(*self.silences, *silences))


class Hearing(Protocol):
    """What a listener needs of the recognizer that hears for it."""

    bundle: Bundle
    model: Transducer
    voice: SilenceDetector | None

    def initial_state(self, compute: float | None = None) -> StreamState:
        """What is remembered of a stream that has heard nothing and asks for this share."""
        ...

    def advance(
        self, streams: "Sequence[Stream]", chunks: Sequence[ArrayLike]
    ) -> list[list[Event]]:
        """Let many listeners hear a chunk each."""
        ...

    def finish(self, streams: "Sequence[Stream]") -> list[list[Event]]:
        """End many streams."""
        ...


class Stream:
    """One listener: what it has heard and not yet handed out. Made by `Recognizer.stream`."""

    def __init__(
        self, recognizer: Hearing, sample_rate: Samples, compute: float | None = None
    ) -> None:
        self.recognizer = recognizer
        self.is_finished = False
        self.state: StreamState = recognizer.initial_state(compute)
        """What the recognizer remembers of this stream."""
        self._resampler = StreamResampler(sample_rate, SAMPLE_RATE)
        features = recognizer.bundle.features
        self._features = FeatureStream(features)
        self._voice = recognizer.voice.stream() if recognizer.voice is not None else None
        self._silences: list[Silence] = []
        self._waiting_TF = np.zeros((0, features.dim), np.float32)
        self._num_samples = 0

    @property
    def compute(self) -> float:
        """The share of the dense encoder's multiply-accumulates that was spent so far."""
        return share_spent(self.recognizer.model.encoder, self.state.encoder)

    def accept(self, samples: ArrayLike) -> list[Event]:
        """Hear a chunk; return what became known.

        Args:
            samples: Mono samples of shape (n,), of any length: float in [-1, 1], or int16.

        Raises:
            AudioError: The samples are not mono, not finite or of another scale; nothing was heard.
            StateError: The stream is finished.
        """
        return self.recognizer.advance([self], [samples])[0]

    def finish(self) -> list[Event]:
        """End the stream; return the events of its tail.

        Raises:
            StateError: The stream is finished already.
        """
        return self.recognizer.finish([self])[0]

    def features_of(self, samples_N: NDArray[np.float32]) -> NDArray[np.float32]:
        """Feature frames (T, F) that new samples complete: whole blocks of the encoder."""
        new_TF = self._heard(self._resampler.accept(samples_N))
        joined_TF = np.concatenate([self._waiting_TF, new_TF])
        block = self.recognizer.model.encoder.block_frames
        num_ready = len(joined_TF) // block * block
        self._waiting_TF = joined_TF[num_ready:]
        return joined_TF[:num_ready]

    def last_features(self, tail_seconds: Seconds = 0.0) -> NDArray[np.float32]:
        """The feature frames of the tail, (T, F), of any number; nothing can be heard any more.

        Args:
            tail_seconds: Silence to put behind the sound, if there was any.
        """
        self.is_finished = True
        tail_TF = self._heard(self._resampler.finish())
        num_silent = round(tail_seconds * SAMPLE_RATE) if self._num_samples else 0
        silence_TF = self._features.accept(np.zeros(num_silent, np.float32))
        return np.concatenate([self._waiting_TF, tail_TF, silence_TF, self._features.finish()])

    def new_silences(self) -> list[Silence]:
        """What a detector of voice heard since it was asked last; nothing without one."""
        found, self._silences = self._silences, []
        return found

    @property
    def heard_seconds(self) -> Seconds:
        """How long the sound is that was heard."""
        return self._num_samples / SAMPLE_RATE

    def _heard(self, samples_N: NDArray[np.float32]) -> NDArray[np.float32]:
        """The feature frames that samples of the right rate complete."""
        self._num_samples += len(samples_N)
        if self._voice is not None:
            self._silences += self._voice.accept(samples_N)
        return self._features.accept(samples_N)


def checked_samples(chunk: ArrayLike) -> NDArray[np.float32]:
    """Mono float32 samples, or an error that says what is wrong with them."""
    array = np.asarray(chunk)
    if array.ndim != 1:
        raise AudioError(
            f"Expected mono samples of shape (n,), got {array.shape}.",
            hint="Mix down first, with `evenear.audio.to_mono_float32`.",
        )
    samples_N = to_mono_float32(array)
    peak = float(np.abs(samples_N).max(initial=0.0))
    if peak > _LOUDEST:
        raise AudioError(
            f"Float samples must be in [-1, 1], got one of size {peak:.6g}.",
            hint="If these are 16-bit values, convert them to int16 or divide them by 32768.",
        )
    return samples_N
