# SPDX-License-Identifier: Apache-2.0
"""Recognize two people who may talk at once, while they talk.

    recognizer = TwoTalkerRecognizer.load("evenear-en-duo")
    stream = recognizer.stream(sample_rate=48_000)
    for event in stream.accept(samples):                  # chunks of any length
        print(event.channel, event)
    stream.finish()

Each event says on which of the two channels it is; `twotalkers.channels` says when turns begin and
end. A model that attributes words hears otherwise, see `twotalkers.attributed`: then a channel is a
talker, and `stream` is all there is to call.

Everything about one listener is in the state, and every decision is made frame by frame, so chunks
change nothing.

Legend: N audio samples, T frames, F feature width, S channels (batch of one listener), D width.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from evenear.audio import AudioSource, StreamResampler, stream_audio, to_mono_float32
from evenear.checkpoint.twotalkers import TwoTalkerBundle, load_two_talkers
from evenear.config import replace as changed
from evenear.errors import AudioError, ConfigError, StateError
from evenear.features import FeatureStream
from evenear.models.separator import NUM_CHANNELS
from evenear.search import BeamConfig, GreedySearch, Search
from evenear.streaming.events import Event, Final
from evenear.streaming.moments import Moments
from evenear.streaming.recognizer import Recognizer
from evenear.streaming.searches import build_search
from evenear.streaming.twotalkers.attributed import AttributedStream, Attributor
from evenear.streaming.twotalkers.attribution import AttributionConfig
from evenear.streaming.twotalkers.channels import ChannelReader, ChannelState
from evenear.streaming.twotalkers.ears import BothEars, EarsState
from evenear.transcripts import Segment
from evenear.units import SAMPLE_RATE, FrameClock, Frames, Samples, Seconds

__all__ = [
    "TwoTalkerRecognizer",
    "TwoTalkerState",
    "TwoTalkerStream",
    "segments_of",
]

_TAIL_SECONDS = 0.6
"""Silence that is heard behind the end of a stream: its last words come out in what follows."""


@dataclass(frozen=True)
class TwoTalkerState:
    """All that is known of one listener, features apart."""

    ears: EarsState
    channels: tuple[ChannelState, ...]
    num_frames: Frames = 0


class TwoTalkerRecognizer:
    """A two-channel model, ready to listen. It keeps nothing of any stream.

    Args:
        bundle: The model, its features, its tokenizer and its words.
        use_words: Search for words where the model has some; else spell greedily.
        endpoint_seconds: A turn ends after so long without a token; None: as the model recommends.
        eager_seconds: After so long without a token a turn may be over: `EagerTurnEnd` says so, and
            `TurnResumed` or `TurnEnded` how it went on. None: never.

    Raises:
        ConfigError: An eager end would not come before the end.
    """

    def __init__(
        self,
        bundle: TwoTalkerBundle,
        *,
        use_words: bool = True,
        endpoint_seconds: Seconds | None = None,
        eager_seconds: Seconds | None = None,
    ) -> None:
        self.bundle, self.model, self.tokenizer = bundle, bundle.model, bundle.tokenizer
        features = bundle.settings.features
        self.features = features
        self.clock: FrameClock = changed(
            features.clock, stride=features.clock.stride * self.model.stride
        )
        """The clock of encoder frames."""
        self._attributor = None
        activity = bundle.settings.model.separator.activity
        if activity is not None and activity.where_both == "attributed":
            self._attributor = Attributor(
                bundle,
                Recognizer(bundle.channel, beam=None if use_words else BeamConfig(width=1)),
                AttributionConfig(
                    end_seconds=endpoint_seconds or bundle.settings.endpoint_seconds,
                    eager_seconds=eager_seconds,
                ),
            )
        self._ears = BothEars(self.model)
        block = max(1, self.model.block_frames // self.model.stride)
        self._moments = Moments(self.clock, block, right_frames=self._ears.late_frames)
        self._greedy = GreedySearch(self.model.transducer)
        words: Search | None = None
        if self._attributor is not None and use_words and bundle.words is not None:
            words = self._attributor.recognizer.search  # to build it takes as long as to load it
        elif use_words and bundle.words is not None:
            words = build_search(bundle.channel, bundle.settings.word_search, None)
        self._reader = ChannelReader(
            self._greedy,
            words,
            self.tokenizer,
            self.clock,
            endpoint_seconds=endpoint_seconds or bundle.settings.endpoint_seconds,
            eager_seconds=eager_seconds,
        )

    @classmethod
    def load(
        cls,
        name_or_folder: str | Path = "evenear-en-duo",
        *,
        use_words: bool = True,
        endpoint_seconds: Seconds | None = None,
        eager_seconds: Seconds | None = None,
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
        return cls(
            bundle,
            use_words=use_words,
            endpoint_seconds=endpoint_seconds,
            eager_seconds=eager_seconds,
        )

    @property
    def channels_are_talkers(self) -> bool:
        """Whether a channel is a talker; else it is whatever was free when a turn began."""
        return self._attributor is not None

    @torch.inference_mode()
    def initial_state(self) -> TwoTalkerState:
        """The state of a listener that has heard nothing."""
        fresh = tuple(self._reader.fresh() for _ in range(NUM_CHANNELS))
        return TwoTalkerState(self._ears.initial_state(), fresh)

    @torch.inference_mode()
    def step(
        self, features_TF: NDArray[np.float32], state: TwoTalkerState
    ) -> tuple[list[Event], TwoTalkerState]:
        """Hear feature frames; return what became known, and the next state.

        Args:
            features_TF: A multiple of the model's stride, so that turns are told at once.
            state: The listener's; it is not changed.
        """
        heard = self._ears.step(torch.from_numpy(features_TF), state.ears)
        state = replace(state, ears=heard.state)
        events, state = self._read(heard.settled_STD, state, self._moments)
        channels = []
        for number, channel in enumerate(state.channels):
            ahead_1TD = heard.ahead_STD[number : number + 1]
            told, channel = self._reader.partial(
                number, channel, ahead_1TD, state.num_frames, self._moments
            )
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
        heard = self._ears.finish(torch.from_numpy(features_TF), state.ears)
        events, state = self._read(heard.settled_STD, replace(state, ears=heard.state), moments)
        for number, channel in enumerate(state.channels):
            if channel.started is not None:
                events += self._reader.close(number, channel, state.num_frames, moments)[0]
        return events

    def stream(self, sample_rate: Samples = SAMPLE_RATE) -> "TwoTalkerStream | AttributedStream":
        """A new listener, whose samples will come at this rate."""
        if self._attributor is not None:
            return AttributedStream(self._attributor, sample_rate)
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
                channel = self._reader.listened(
                    replace(channel, tokens=tokens[number]),
                    frame_S1D[number : number + 1],
                    num_frames,
                )
                told, channels[number] = self._reader.observe(number, channel, num_frames, moments)
                events += told
        return events, replace(state, channels=tuple(channels), num_frames=num_frames)


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
