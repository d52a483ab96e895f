# SPDX-License-Identifier: Apache-2.0
"""Recognize two people who may talk at once, while they talk.

    recognizer = TwoTalkerRecognizer.load("evenear-en-duo")
    stream = recognizer.stream(sample_rate=48_000)
    for event in stream.accept(samples):                  # chunks of any length
        print(event.channel, event)
    stream.finish()

Each event says on which of the two channels it is. A
turn begins with the channel's first token. It ends when the model says so, after a pause, or at
`longest_seconds`; its words are final then. Turns are followed by greedy search; where the model
has words, a search for words reads the same frames from a little before the turn's first token on,
and is asked when the turn is over: silent channels cost no search.

Everything about one listener is in the state, and every decision is made frame by frame, so chunks
change nothing.

Legend: N audio samples, T frames, F feature width, S channels (batch of one listener), D width.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from evenear.audio import AudioSource, StreamResampler, stream_audio, to_mono_float32
from evenear.checkpoint.twotalkers import TwoTalkerBundle, load_two_talkers
from evenear.config import replace as changed
from evenear.errors import AudioError, ConfigError, StateError
from evenear.features import FeatureStream
from evenear.models.separator import NUM_CHANNELS, SeparatorTransducerState
from evenear.search import GreedySearch, Hypothesis, Search
from evenear.streaming.events import Event, Final, Partial, TurnEnded, TurnStarted
from evenear.streaming.moments import Moments
from evenear.streaming.searches import build_search
from evenear.transcripts import Segment, Word
from evenear.units import SAMPLE_RATE, FrameClock, Frames, Samples, Seconds

__all__ = [
    "ChannelState",
    "TwoTalkerRecognizer",
    "TwoTalkerState",
    "TwoTalkerStream",
    "segments_of",
]

_LONGEST_SECONDS = 40.0
_BEFORE_SECONDS = 0.6
"""A first token comes so long after its sound, at most."""
_TAIL_SECONDS = 0.6
"""Silence that is heard behind the end of a stream: its last words come out in what follows."""


@dataclass(frozen=True)
class ChannelState:
    """What is known of one channel."""

    tokens: Any
    """State of the greedy search since the turn began."""
    words: Any = None
    """State of the search for words, if there is one and a turn is open."""
    recent: tuple[Tensor, ...] = ()
    """The last frames before a turn, for the search for words."""
    started: Frames | None = None
    """The frame in which the open turn began."""
    shown: tuple[str, ...] = ()


@dataclass(frozen=True)
class TwoTalkerState:
    """All that is known of one listener, features apart."""

    encoder: SeparatorTransducerState
    channels: tuple[ChannelState, ...]
    num_frames: Frames = 0


class TwoTalkerRecognizer:
    """A two-channel model, ready to listen. It keeps nothing of any stream.

    Args:
        bundle: The model, its features, its tokenizer and its words.
        use_words: Search for words where the model has some; else spell greedily.
        endpoint_seconds: A turn ends after so long without a token; None: as the model recommends.
    """

    def __init__(
        self,
        bundle: TwoTalkerBundle,
        *,
        use_words: bool = True,
        endpoint_seconds: Seconds | None = None,
    ) -> None:
        self.bundle, self.model, self.tokenizer = bundle, bundle.model, bundle.tokenizer
        features = bundle.settings.features
        self.features = features
        self.clock: FrameClock = changed(
            features.clock, stride=features.clock.stride * self.model.stride
        )
        """The clock of encoder frames."""
        self._moments = Moments(self.clock, max(1, self.model.block_frames // self.model.stride))
        self._greedy = GreedySearch(self.model.transducer)
        self._words: Search | None = None
        if use_words and bundle.words is not None:
            self._words = build_search(bundle.channel, bundle.settings.word_search, None)
        endpoint = endpoint_seconds or bundle.settings.endpoint_seconds
        self._pause_frames = math.ceil(endpoint / self.clock.frame_seconds)
        self._before_frames = math.ceil(_BEFORE_SECONDS / self.clock.frame_seconds)
        self._longest_frames = math.ceil(_LONGEST_SECONDS / self.clock.frame_seconds)

    @classmethod
    def load(
        cls,
        name_or_folder: str | Path = "evenear-en-duo",
        *,
        use_words: bool = True,
        endpoint_seconds: Seconds | None = None,
        threads: int | None = None,
    ) -> "TwoTalkerRecognizer":
        """Load a shipped model by its name, or one from a folder.

        Raises:
            CheckpointError: There is no such model, or it is damaged.
            ConfigError: The number of threads is out of range.
        """
        if threads is not None:
            if threads < 1:
                raise ConfigError(f"Threads must be at least 1, got {threads}.")
            torch.set_num_threads(threads)
        bundle = load_two_talkers(name_or_folder)
        return cls(bundle, use_words=use_words, endpoint_seconds=endpoint_seconds)

    @torch.inference_mode()
    def initial_state(self) -> TwoTalkerState:
        """The state of a listener that has heard nothing."""
        fresh = tuple(self._fresh_channel(None) for _ in range(NUM_CHANNELS))
        return TwoTalkerState(self.model.initial_state(1), fresh)

    @torch.inference_mode()
    def step(
        self, features_TF: NDArray[np.float32], state: TwoTalkerState
    ) -> tuple[list[Event], TwoTalkerState]:
        """Hear feature frames; return what became known, and the next state.

        Args:
            features_TF: A multiple of the model's stride, so that turns are told at once.
            state: The listener's; it is not changed.
        """
        projected_STD, encoder = self.model.step(torch.from_numpy(features_TF)[None], state.encoder)
        state = replace(state, encoder=encoder)
        events, state = self._read(projected_STD, state, self._moments)
        channels = []
        for number, channel in enumerate(state.channels):
            told, channel = self._partial(number, channel, state.num_frames)
            events += told
            channels.append(channel)
        return events, replace(state, channels=tuple(channels))

    @torch.inference_mode()
    def end(
        self, features_TF: NDArray[np.float32], state: TwoTalkerState, end_seconds: Seconds
    ) -> list[Event]:
        """Hear the last feature frames, of any number, and close what is open.

        Args:
            features_TF: The frames, and those of the silence put behind the sound.
            state: The listener's; it is not changed.
            end_seconds: Where the sound ended: no moment of an event is later.
        """
        moments = self._moments._replace(end_seconds=end_seconds)
        projected_STD, encoder = self.model.step(torch.from_numpy(features_TF)[None], state.encoder)
        projected_STD = torch.cat([projected_STD, self.model.flush(encoder)], dim=1)
        events, state = self._read(projected_STD, replace(state, encoder=encoder), moments)
        for number, channel in enumerate(state.channels):
            if channel.started is not None:
                events += self._close(number, channel, state.num_frames, moments)[0]
        return events

    def stream(self, sample_rate: Samples = SAMPLE_RATE) -> "TwoTalkerStream":
        """A new listener, whose samples will come at this rate."""
        return TwoTalkerStream(self, sample_rate)

    def segments(
        self, source: AudioSource, *, session_id: str | None = None, chunk_seconds: Seconds = 1.0
    ) -> Iterator[Segment]:
        """Recognize a recording; a segment for each turn, as soon as it is over.

        Raises:
            AudioError: The file cannot be read; what could be read was handed out before.
        """
        named = isinstance(source, str | Path)
        session = session_id or (Path(source).stem if named else "") or "recording"
        stream = self.stream()
        for samples_N in stream_audio(source, chunk_seconds=chunk_seconds):
            yield from segments_of(stream.accept(samples_N), session)
        yield from segments_of(stream.finish(), session)

    def _read(
        self, projected_STD: Tensor, state: TwoTalkerState, moments: Moments
    ) -> tuple[list[Event], TwoTalkerState]:
        """Search encoder frames one by one, since a turn may end at any of them."""
        events: list[Event] = []
        channels, num_frames = list(state.channels), state.num_frames
        for t in range(projected_STD.shape[1]):
            frame_S1D = projected_STD[:, t : t + 1]
            tokens = self._greedy.step(frame_S1D, [c.tokens for c in channels])
            num_frames += 1
            for number, channel in enumerate(channels):
                channel = self._listened(
                    replace(channel, tokens=tokens[number]),
                    frame_S1D[number : number + 1],
                    num_frames,
                )
                told, channels[number] = self._observe(number, channel, num_frames, moments)
                events += told
        return events, replace(state, channels=tuple(channels), num_frames=num_frames)

    def _listened(
        self, channel: ChannelState, frame_11D: Tensor, num_frames: Frames
    ) -> ChannelState:
        """Let the search for words read a frame, if a turn is open or begins here."""
        if self._words is None:
            return channel
        if channel.words is not None:
            (words,) = self._words.step(frame_11D, [channel.words])
            return replace(channel, words=words)
        recent = (*channel.recent, frame_11D)[-self._before_frames :]
        if not self._greedy.best(channel.tokens).tokens:
            return replace(channel, recent=recent)
        start: Any = self._words.initial_state()
        start = start._replace(num_frames=num_frames - len(recent))
        (words,) = self._words.step(torch.cat(recent, dim=1), [start])
        return replace(channel, words=words, recent=())

    def _observe(
        self, number: int, channel: ChannelState, num_frames: Frames, moments: Moments
    ) -> tuple[list[Event], ChannelState]:
        """Look at a channel after another frame."""
        heard = self._greedy.best(channel.tokens)
        if not heard.tokens:
            return [], channel
        events: list[Event] = []
        if heard.tokens == (self.tokenizer.eot_id,):  # the end of nothing
            return [], self._fresh_channel(channel)
        if channel.started is None:
            channel = replace(channel, started=heard.frames[0])
            start, known = moments.at(heard.frames[0]), moments.known(num_frames)
            events.append(TurnStarted(seconds=start, known_seconds=known, channel=number))
        assert channel.started is not None
        is_over = (
            heard.tokens[-1] == self.tokenizer.eot_id
            or num_frames - 1 - heard.frames[-1] >= self._pause_frames
            or num_frames - channel.started >= self._longest_frames
        )
        if not is_over:
            return events, channel
        told, channel = self._close(number, channel, num_frames, moments)
        return events + told, channel

    def _close(
        self, number: int, channel: ChannelState, num_frames: Frames, moments: Moments
    ) -> tuple[list[Event], ChannelState]:
        """Hand out the turn's words and end it."""
        heard = self._greedy.best(channel.tokens)
        words = moments.words(heard, self.tokenizer)
        if self._words is not None:
            finalized = self._words.finalized(channel.words)
            words = moments.words(finalized, self.tokenizer) or words
        known, end = moments.known(num_frames), moments.at(heard.frames[-1])
        events: list[Event] = []
        if words:
            end = words[-1].end_seconds
            events.append(Final(seconds=end, known_seconds=known, words=words, channel=number))
        elif channel.shown:
            events.append(Partial(seconds=known, known_seconds=known, channel=number))
        events.append(TurnEnded(seconds=end, known_seconds=known, channel=number))
        return events, self._fresh_channel(channel)

    def _partial(
        self, number: int, channel: ChannelState, num_frames: Frames
    ) -> tuple[list[Event], ChannelState]:
        """The open words of a channel, if they are others than those last shown."""
        if channel.started is None:
            return [], channel
        words = self._open_words(channel)
        texts = tuple(word.text for word in words)
        if texts == channel.shown:
            return [], channel
        known = self._moments.known(num_frames)
        event = Partial(seconds=known, known_seconds=known, words=words, channel=number)
        return [event], replace(channel, shown=texts)

    def _open_words(self, channel: ChannelState) -> tuple[Word, ...]:
        reading: Hypothesis = self._greedy.best(channel.tokens)
        if self._words is not None:
            reading = self._words.best(channel.words)
        return self._moments.words(reading, self.tokenizer)

    def _fresh_channel(self, channel: ChannelState | None) -> ChannelState:
        """A channel on which no turn is open."""
        if channel is None:
            return ChannelState(self._greedy.initial_state())
        return ChannelState(self._greedy.restart(channel.tokens))


class TwoTalkerStream:
    """One listener at any sample rate. Made by `TwoTalkerRecognizer.stream`."""

    def __init__(self, recognizer: TwoTalkerRecognizer, sample_rate: Samples) -> None:
        self.recognizer = recognizer
        self.is_finished = False
        self.state = recognizer.initial_state()
        self._resampler = StreamResampler(sample_rate, SAMPLE_RATE)
        self._features = FeatureStream(recognizer.features)
        self._waiting_TF = np.zeros((0, recognizer.features.dim), np.float32)
        self._num_samples = 0

    def accept(self, samples: ArrayLike) -> list[Event]:
        """Hear a chunk of mono samples, of any length; return what became known.

        Raises:
            AudioError: The samples are not mono; nothing was heard.
            StateError: The stream is finished.
        """
        self._expect_open()
        array = np.asarray(samples)
        if array.ndim != 1:
            raise AudioError(
                f"Expected mono samples of shape (n,), got {array.shape}.",
                hint="Mix down first, with `evenear.audio.to_mono_float32`.",
            )
        samples_N = self._resampler.accept(to_mono_float32(array))
        self._num_samples += len(samples_N)
        joined_TF = np.concatenate([self._waiting_TF, self._features.accept(samples_N)])
        num_ready = len(joined_TF) // self.recognizer.model.stride * self.recognizer.model.stride
        self._waiting_TF = joined_TF[num_ready:]
        if not num_ready:
            return []
        events, self.state = self.recognizer.step(joined_TF[:num_ready], self.state)
        return events

    def finish(self) -> list[Event]:
        """End the stream; return the events of its tail.

        Some silence is heard behind it, so that words that end with the sound come out.

        Raises:
            StateError: The stream is finished already.
        """
        self._expect_open()
        self.is_finished = True
        last_N = self._resampler.finish()
        self._num_samples += len(last_N)
        num_silent = round(_TAIL_SECONDS * SAMPLE_RATE) if self._num_samples else 0
        last_N = np.concatenate([last_N, np.zeros(num_silent, np.float32)])
        heard_TF = [self._features.accept(last_N), self._features.finish()]
        end_seconds = self._num_samples / SAMPLE_RATE
        last_TF = np.concatenate([self._waiting_TF, *heard_TF])
        return self.recognizer.end(last_TF, self.state, end_seconds)

    def _expect_open(self) -> None:
        if self.is_finished:
            raise StateError("This stream is finished.", hint="Make one for each recording.")


def segments_of(events: Iterable[Event], session: str) -> Iterator[Segment]:
    """A segment for each final."""
    for event in events:
        if isinstance(event, Final):
            confidences = [word.confidence or 0.0 for word in event.words]
            yield Segment(
                session_id=session,
                speaker=f"channel-{event.channel + 1}",
                start_seconds=event.words[0].start_seconds,
                end_seconds=event.words[-1].end_seconds,
                text=event.text,
                words=event.words,
                channel=event.channel,
                confidence=sum(confidences) / len(confidences),
            )
