# SPDX-License-Identifier: Apache-2.0
"""Recognize speech while it is being spoken, for one listener or for many at once.

    recognizer = Recognizer.load("evenear-en-small")     # weights: load once, share
    stream = recognizer.stream(sample_rate=48_000)       # one listener
    for event in stream.accept(samples):                 # chunks of any length
        print(event)
    stream.finish()                                      # nothing of the tail is lost

A file is a stream that is fed from the disk, so a recording and a live talk give the same words,
and so do chunks of any size and batches of any company. At the end of a stream the features
complete their last window and the encoder its last group of frames: no word is cut, and no padding
is guessed.

Legend: B streams, N audio samples, T frames, F feature width, D joiner width.
"""

import functools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from evenear.audio import AudioSource, StreamResampler, stream_audio, to_mono_float32
from evenear.checkpoint import Bundle, load_model
from evenear.config import replace
from evenear.errors import AudioError, ConfigError, StateError
from evenear.features import FeatureStream
from evenear.language import NgramModel
from evenear.nn.state import split_state, stack_states
from evenear.search import BeamConfig, LexiconConfig
from evenear.streaming.events import Event, Final
from evenear.streaming.searches import build_search, changed, recommended
from evenear.streaming.turns import TurnConfig, TurnTracker
from evenear.transcripts import Segment
from evenear.units import SAMPLE_RATE, FrameClock, Samples, Seconds

__all__ = ["Recognizer", "Stream"]

_LOUDEST = 2.0
"""Decoders and resamplers overshoot full scale a little; more means another scale."""


class Recognizer:
    """A trained model, ready to listen. It keeps nothing of any stream.

    Args:
        bundle: The model, its features and its tokenizer.
        beam: How to search, for tokens or for words; None: as the model's folder recommends: for
            its words, if it has some.
        language_model: Scores tokens in a search for them; None: the model's own, if it has one.
        turns: When words are final.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        beam: BeamConfig | LexiconConfig | None = None,
        language_model: NgramModel | None = None,
        turns: TurnConfig | None = None,
    ) -> None:
        self.bundle, self.model, self.tokenizer = bundle, bundle.model, bundle.tokenizer
        self.turns = turns or TurnConfig()
        stride = bundle.features.stack * self.model.encoder.stride
        self.clock: FrameClock = replace(bundle.features.clock, stride=stride)
        """The clock of encoder frames."""
        self._remembered_frames = math.ceil(self.turns.endpoint_seconds / self.clock.frame_seconds)
        self.search = build_search(
            bundle, beam or recommended(bundle, language_model), language_model
        )

    @classmethod
    def load(
        cls,
        name_or_folder: str | Path = "evenear-en-small",
        *,
        beam: int | BeamConfig | LexiconConfig | None = None,
        lm_weight: float | None = None,
        language_model: NgramModel | None = None,
        turns: TurnConfig | None = None,
        threads: int | None = None,
    ) -> "Recognizer":
        """Load a shipped model by its name, or one from a folder.

        Args:
            name_or_folder: The model.
            beam: Width of a search for tokens (1 is greedy search), or all settings of a search;
                None: as the model's folder recommends, for its words if it has some.
            lm_weight: Weight of the language model in the search; None: as recommended.
            language_model: Scores tokens instead of the model's own.
            turns: When words are final and turns end.
            threads: Threads for all of torch in this process; None leaves them as they are.

        Raises:
            CheckpointError: There is no such model, or it is damaged.
            ConfigError: A setting is out of range.
        """
        bundle = load_model(name_or_folder)
        if beam == 1 and lm_weight is None:
            settings = BeamConfig(width=1)
        elif isinstance(beam, int):
            settings = changed(bundle.search, width=beam)
        else:
            settings = beam or recommended(bundle, language_model)
        if lm_weight is not None:
            settings = changed(settings, lm_weight=lm_weight)
        if threads is not None:
            if threads < 1:
                raise ConfigError(f"Threads must be at least 1, got {threads}.")
            torch.set_num_threads(threads)
        return cls(bundle, beam=settings, language_model=language_model, turns=turns)

    def stream(self, sample_rate: Samples = SAMPLE_RATE) -> "Stream":
        """A new listener, whose samples will come at this rate."""
        return Stream(self, sample_rate)

    @torch.inference_mode()
    def advance(
        self, streams: Sequence["Stream"], chunks: Sequence[ArrayLike]
    ) -> list[list[Event]]:
        """Let many listeners hear a chunk each, computing for all of them at once.

        Args:
            streams: Different streams of this recognizer.
            chunks: One for each stream, of any lengths, as `Stream.accept` takes them.

        Returns:
            The events of each stream, the same as if it were alone.

        Raises:
            AudioError: A chunk cannot be heard; then no stream has heard anything.
            StateError: A stream is finished, of another recognizer, or given twice.
        """
        self._check(streams)
        if len(streams) != len(chunks):
            raise StateError(
                f"Every stream needs a chunk, got {len(streams)} streams, {len(chunks)} chunks."
            )
        samples = [_checked_samples(chunk) for chunk in chunks]
        ready = [stream._features_of(s) for stream, s in zip(streams, samples, strict=True)]
        events: list[list[Event]] = [[] for _ in streams]
        for num_frames in sorted({len(features_TF) for features_TF in ready} - {0}):
            group = [b for b, features_TF in enumerate(ready) if len(features_TF) == num_frames]
            features_BTF = torch.from_numpy(np.stack([ready[b] for b in group]))
            found = self._hear([streams[b] for b in group], features_BTF)
            for b, own in zip(group, found, strict=True):
                events[b] = own
        return events

    @torch.inference_mode()
    def finish(self, streams: Sequence["Stream"]) -> list[list[Event]]:
        """End many streams; each returns the events of its tail. They cannot be used any more."""
        self._check(streams)
        return [self._finish(stream) for stream in streams]

    def segments(
        self,
        source: AudioSource,
        *,
        session_id: str | None = None,
        chunk_seconds: Seconds = 4.0,
    ) -> Iterator[Segment]:
        """Recognize a recording from its start to its end, in memory that its length does not need.

        Args:
            source: A path, or a file that is open for reading bytes.
            session_id: Name of the recording; None: the file's name without its ending.
            chunk_seconds: Sound that is computed at once; changes the speed, never the words.

        Returns:
            Segments in order, each as soon as it is final.

        Raises:
            AudioError: The file cannot be read; what could be read was handed out before.
        """
        named = isinstance(source, str | Path)
        session = session_id or (Path(source).stem if named else "") or "recording"
        chunks = stream_audio(source, chunk_seconds=chunk_seconds)
        return self._segments(chunks, session)

    def transcribe(self, source: AudioSource, *, session_id: str | None = None) -> list[Segment]:
        """Recognize a whole recording. The same as `segments`, in a list."""
        return list(self.segments(source, session_id=session_id))

    def _segments(self, chunks: Iterator[NDArray[np.float32]], session: str) -> Iterator[Segment]:
        stream = self.stream()
        broken: AudioError | None = None
        try:
            for samples_N in chunks:
                yield from _finals(stream.accept(samples_N), session)
        except AudioError as error:
            broken = error
        yield from _finals(stream.finish(), session)
        if broken is not None:
            raise broken

    def _check(self, streams: Sequence["Stream"]) -> None:
        if len(set(map(id, streams))) < len(streams):
            raise StateError("A stream was given twice.", hint="Join its chunks beforehand.")
        for stream in streams:
            if stream.recognizer is not self:
                raise StateError("A stream belongs to the recognizer that made it.")
            if stream.is_finished:
                raise StateError("This stream is finished.", hint="Make one for each recording.")

    def _hear(self, streams: Sequence["Stream"], features_BTF: Tensor) -> list[list[Event]]:
        """Encode and search equally many frames of each stream."""
        alone = len(streams) == 1
        states = [stream._encoder_state for stream in streams]
        state = states[0] if alone else stack_states(states)
        projected_BTD, state = self.model.step(features_BTF, state)
        for stream, own in zip(
            streams, [state] if alone else split_state(state, len(streams)), strict=True
        ):
            stream._encoder_state = own
        events = self._read(streams, projected_BTD)
        for stream, own in zip(streams, events, strict=True):
            state = stream._search_state
            own += stream._turns.partial(self.search.best(state), state.num_frames)
        return events

    def _read(self, streams: Sequence["Stream"], projected_BTD: Tensor) -> list[list[Event]]:
        """Search encoder frames one by one, since a turn may end at any of them."""
        events: list[list[Event]] = [[] for _ in streams]
        states = [stream._search_state for stream in streams]
        for t in range(projected_BTD.shape[1]):
            states = self.search.step(projected_BTD[:, t : t + 1], states)
            for b, stream in enumerate(streams):
                state = states[b]
                best = self.search.best(state)
                settled = functools.partial(self.search.settled, state)
                own, is_done = stream._turns.observe(best, state.num_frames, settled)
                events[b] += own
                if is_done:
                    states[b] = self.search.restart(state)
                elif not best.tokens:
                    oldest = state.num_frames - self._remembered_frames
                    states[b] = self.search.without_stale(state, oldest)
        for stream, state in zip(streams, states, strict=True):
            stream._search_state = state
        return events

    def _finish(self, stream: "Stream") -> list[Event]:
        last_TF = stream._last_features()
        projected_BTD, state = self.model.step(
            torch.from_numpy(last_TF)[None], stream._encoder_state
        )
        projected_BTD = torch.cat([projected_BTD, self.model.flush(state)], dim=1)
        (events,) = self._read([stream], projected_BTD)
        found = stream._search_state
        last = self.search.settled(found)
        return events + stream._turns.close(last, found.num_frames, ends_turn=True)


class Stream:
    """One listener: what it has heard and not yet handed out. Made by `Recognizer.stream`."""

    def __init__(self, recognizer: Recognizer, sample_rate: Samples) -> None:
        self.recognizer = recognizer
        self.is_finished = False
        self._resampler = StreamResampler(sample_rate, SAMPLE_RATE)
        features = recognizer.bundle.features
        self._features = FeatureStream(features)
        self._waiting_TF = np.zeros((0, features.dim), np.float32)
        self._encoder_state = recognizer.model.encoder.initial_state(1)
        self._search_state = recognizer.search.initial_state()
        self._turns = TurnTracker(recognizer.turns, recognizer.tokenizer, recognizer.clock)

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

    def _features_of(self, samples_N: NDArray[np.float32]) -> NDArray[np.float32]:
        """Feature frames that are ready: always a multiple of the encoder's stride."""
        new_TF = self._features.accept(self._resampler.accept(samples_N))
        joined_TF = np.concatenate([self._waiting_TF, new_TF])
        stride = self.recognizer.model.encoder.stride
        num_ready = len(joined_TF) // stride * stride
        self._waiting_TF = joined_TF[num_ready:]
        return joined_TF[:num_ready]

    def _last_features(self) -> NDArray[np.float32]:
        """The feature frames of the tail, of any number."""
        self.is_finished = True
        tail_TF = self._features.accept(self._resampler.finish())
        return np.concatenate([self._waiting_TF, tail_TF, self._features.finish()])


def _checked_samples(chunk: ArrayLike) -> NDArray[np.float32]:
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


def _finals(events: Sequence[Event], session: str) -> Iterator[Segment]:
    """A segment for each final."""
    for event in events:
        if isinstance(event, Final):
            confidences = [word.confidence or 0.0 for word in event.words]
            yield Segment(
                session_id=session,
                speaker="",
                start_seconds=event.words[0].start_seconds,
                end_seconds=event.words[-1].end_seconds,
                text=event.text,
                words=event.words,
                channel=event.channel,
                confidence=sum(confidences) / len(confidences),
            )
