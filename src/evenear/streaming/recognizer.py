# SPDX-License-Identifier: Apache-2.0
"""Recognize speech while it is being spoken, for one listener or for many at once.

    recognizer = Recognizer.load("evenear-en")           # weights: load once, share
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

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from evenear.audio import AudioSource, stream_audio
from evenear.checkpoint import Bundle, load_model
from evenear.checkpoint.voices import VoiceBundle, load_voice
from evenear.config import replace
from evenear.errors import AudioError, ConfigError, StateError
from evenear.language import NgramModel
from evenear.search import BeamConfig, LexiconConfig
from evenear.shipped import DEFAULT_RECOGNIZER
from evenear.streaming.dial import ComputeMeter
from evenear.streaming.ear import Ear, set_blocks
from evenear.streaming.events import Event
from evenear.streaming.moments import Moments
from evenear.streaming.reading import TurnReader
from evenear.streaming.searches import build_search, changed, recommended
from evenear.streaming.segments import SegmentBuilder
from evenear.streaming.silence import Silence, SilenceDetector
from evenear.streaming.stream import Stream, StreamState, checked_samples
from evenear.streaming.turns import TurnConfig, TurnState, TurnTracker
from evenear.transcripts import Segment
from evenear.units import SAMPLE_RATE, FrameClock, Samples, Seconds

__all__ = ["Recognizer"]


class Recognizer:
    """A trained model, ready to listen. It keeps nothing of any stream.

    Args:
        bundle: The model, its features and its tokenizer.
        beam: How to search, for tokens or for words; None: as the model's folder recommends: for
            its words, if it has some.
        language_model: Scores tokens in a search for them; None: the model's own, if it has one.
        turns: When words are final.
        compute: The share of the encoder's computation that streams ask for, if they do not say
            otherwise; only models with gates take less than 1.
        voice: Hears when nobody speaks, so that turns end then; None: they end without tokens.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        beam: BeamConfig | LexiconConfig | None = None,
        language_model: NgramModel | None = None,
        turns: TurnConfig | None = None,
        compute: float = 1.0,
        voice: VoiceBundle | None = None,
    ) -> None:
        self.bundle, self.model, self.tokenizer = bundle, bundle.model, bundle.tokenizer
        self.turns = turns or TurnConfig()
        stride = bundle.features.stack * self.model.encoder.stride
        self.clock: FrameClock = replace(bundle.features.clock, stride=stride)
        """The clock of encoder frames."""
        self.voice = SilenceDetector(voice) if voice is not None else None
        self.search = build_search(
            bundle, beam or recommended(bundle, language_model), language_model
        )
        block_frames = max(1, self.model.encoder.block_frames // self.model.encoder.stride)
        moments = Moments(self.clock, block_frames)
        self._tracker = TurnTracker(
            self.turns, self.tokenizer, moments, hears_voices=voice is not None
        )
        self._reader = TurnReader(self.search, self._tracker)
        self.compute = compute
        self._ear = Ear(self.model)
        moments = moments._replace(right_frames=self._ear.right_frames // self.model.encoder.stride)
        self._patient_tracker = TurnTracker(
            self.turns, self.tokenizer, moments, hears_voices=voice is not None
        )
        self.meter = ComputeMeter()
        """What streams that are finished have spent."""
        self.initial_state()  # says at once whether there is such a dial

    @classmethod
    def load(
        cls,
        name_or_folder: str | Path | Bundle = DEFAULT_RECOGNIZER,
        *,
        beam: int | BeamConfig | LexiconConfig | None = None,
        lm_weight: float | None = None,
        language_model: NgramModel | None = None,
        turns: TurnConfig | None = None,
        block_milliseconds: int | None = None,
        right_milliseconds: int | None = None,
        threads: int | None = None,
        compute: float = 1.0,
        voice: str | Path | None = None,
    ) -> "Recognizer":
        """Load a shipped model by its name, or one from a folder.

        Args:
            name_or_folder: The model, or what was loaded of it; lengths of blocks are set in that.
            beam: Width of a search for tokens (1 is greedy search), or all settings of a search;
                None: as the model's folder recommends, for its words if it has some.
            lm_weight: Weight of the language model in the search; None: as recommended.
            language_model: Scores tokens instead of the model's own.
            turns: When words are final and turns end.
            block_milliseconds: Sound that the encoder looks at together, where its kind lets one
                choose: 160, 320 or 640 for `evenear-en`; longer is later and better. None: the
                model's own.
            right_milliseconds: Sound behind each block that its words wait for before they are
                final: whole blocks; 0 makes them final earlier and worse. None: the model's own.
            threads: Threads for all of torch in this process; None leaves them as they are.
            compute: The share of the encoder's computation that streams ask for.
            voice: A detector of voice that says when turns end: "evenear-voice", or a folder; None:
                they end when no token comes.

        Raises:
            CheckpointError: There is no such model, or it is damaged.
            ConfigError: A setting is out of range.
        """
        is_loaded = isinstance(name_or_folder, Bundle)
        bundle = (name_or_folder if is_loaded else load_model(name_or_folder)).with_gates()
        set_blocks(bundle, block_milliseconds, right_milliseconds)
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
        return cls(
            bundle,
            beam=settings,
            language_model=language_model,
            turns=turns,
            compute=compute,
            voice=load_voice(voice) if voice is not None else None,
        )

    def stream(self, sample_rate: Samples = SAMPLE_RATE, *, compute: float | None = None) -> Stream:
        """A new listener, whose samples will come at this rate.

        Args:
            sample_rate: Samples in a second.
            compute: The share of the encoder's computation it asks for; None: the recognizer's.

        Raises:
            ConfigError: The model has no dial, or the share is out of range.
        """
        return Stream(self, sample_rate, compute)

    def initial_state(self, compute: float | None = None) -> StreamState:
        """What is remembered of a stream that has heard nothing and asks for this share."""
        share = self.compute if compute is None else compute
        return StreamState(self._ear.initial_state(share), self.search.initial_state(), TurnState())

    @torch.inference_mode()
    def step(
        self,
        features_BTF: Tensor,
        states: Sequence[StreamState],
        silences: Sequence[Sequence[Silence]] | None = None,
    ) -> tuple[list[list[Event]], list[StreamState]]:
        """Hear equally many feature frames of each stream.

        Args:
            features_BTF: Frames of the model's features, whole blocks of the encoder; perhaps none.
            states: One for each row; they are not changed.
            silences: What a detector of voice heard of each meanwhile.

        Returns:
            The events and the next state of each stream.
        """
        if silences is not None:
            states = [s.listening(new) for s, new in zip(states, silences, strict=True)]
        groups = self._ear.alike([state.encoder for state in states])
        if len(groups) > 1:
            return self._apart(features_BTF, states, groups)
        block = self.model.encoder.block_frames
        waits = self._ear.heard_frames(states[0].encoder) is not None
        if waits and features_BTF.shape[1] > block:
            return self._one_by_one(features_BTF.split(block, dim=1), states)
        if not features_BTF.shape[1]:
            return self._reader.read(features_BTF, states, self._tracker_of(states[0]))
        heard = self._ear.step(features_BTF, [state.encoder for state in states])
        states = [s._replace(encoder=own) for s, own in zip(states, heard.states, strict=True)]
        tracker = self._tracker_of(states[0])
        events, states = self._reader.read(heard.settled_BTD, states, tracker)
        is_ahead = heard.ahead_BTD.shape[1] > 0
        # Only what is settled opens a turn, so nobody else's frames are searched ahead.
        rows = [b for b, state in enumerate(states) if state.turns.is_open or not is_ahead]
        searches = [states[b].search for b in rows]
        if is_ahead:
            searches = self.search.step(heard.ahead_BTD[rows], searches)
        for b, search in zip(rows, searches, strict=True):
            best = self.search.best(search)
            found, turns = self._tracker.partial(states[b].turns, best, search.num_frames)
            events[b] += found
            states[b] = states[b]._replace(turns=turns)
        return events, states

    @torch.inference_mode()
    def end(
        self,
        features_TF: Tensor,
        state: StreamState,
        *,
        end_seconds: Seconds = math.inf,
        silences: Sequence[Silence] = (),
    ) -> tuple[list[Event], StreamState]:
        """Hear the last frames of one stream, of any number, and what their end completes.

        Args:
            features_TF: The frames; silence may follow the sound.
            state: What is remembered of the stream.
            end_seconds: Where the sound ended.
            silences: What a detector of voice heard meanwhile.
        """
        projected_1TD, encoder = self._ear.finish(features_TF, state.encoder)
        state = state.listening(silences)._replace(encoder=encoder)
        tracker = self._tracker_of(state).ended(end_seconds)
        (events,), (state,) = self._reader.read(projected_1TD, [state], tracker)
        last, num_frames = self.search.finalized(state.search), state.search.num_frames
        found, turns = tracker.close(state.turns, last, tracker.moments.known(num_frames))
        return events + found, state._replace(turns=turns)

    @torch.inference_mode()
    def advance(self, streams: Sequence[Stream], chunks: Sequence[ArrayLike]) -> list[list[Event]]:
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
        samples = [checked_samples(chunk) for chunk in chunks]
        ready = [stream.features_of(s) for stream, s in zip(streams, samples, strict=True)]
        events: list[list[Event]] = [[] for _ in streams]
        silences = [stream.new_silences() for stream in streams]
        for num_frames in sorted({len(features_TF) for features_TF in ready}):
            group = [b for b, features_TF in enumerate(ready) if len(features_TF) == num_frames]
            features_BTF = torch.from_numpy(np.stack([ready[b] for b in group]))
            given = [streams[b].state for b in group], [silences[b] for b in group]
            found, states = self.step(features_BTF, *given)
            for b, own, state in zip(group, found, states, strict=True):
                events[b], streams[b].state = own, state
        return events

    @torch.inference_mode()
    def finish(self, streams: Sequence[Stream]) -> list[list[Event]]:
        """End many streams; each returns the events of its tail. They cannot be used any more."""
        self._check(streams)
        events = []
        for stream in streams:
            last_TF = torch.from_numpy(stream.last_features(self.turns.tail_seconds))
            found, stream.state = self.end(
                last_TF,
                stream.state,
                end_seconds=stream.heard_seconds,
                silences=stream.new_silences(),
            )
            self.meter.add(self.model.encoder, stream.state.encoder)
            events.append(found)
        return events

    def segments(
        self,
        source: AudioSource,
        *,
        session_id: str | None = None,
        chunk_seconds: Seconds = 4.0,
        channel: int | None = None,
    ) -> Iterator[Segment]:
        """Recognize a recording from its start to its end, in memory that its length does not need.

        Args:
            source: A path, or a file that is open for reading bytes.
            session_id: Name of the recording; None: the file's name without its ending.
            chunk_seconds: Sound that is computed at once; changes the speed, never the words.
            channel: The channel of the recording to hear, from 0; None: the mean of all.

        Returns:
            Segments in order, each as soon as it is final.

        Raises:
            AudioError: The file cannot be read; what could be read was handed out before.
        """
        named = isinstance(source, str | Path)
        session = session_id or (Path(source).stem if named else "") or "recording"
        chunks = stream_audio(source, chunk_seconds=chunk_seconds, channel=channel)
        return self.segments_of(chunks, session_id=session)

    def transcribe(self, source: AudioSource, *, session_id: str | None = None) -> list[Segment]:
        """Recognize a whole recording. The same as `segments`, in a list."""
        return list(self.segments(source, session_id=session_id))

    def segments_of(
        self,
        chunks: Iterable[ArrayLike],
        *,
        sample_rate: Samples = SAMPLE_RATE,
        session_id: str = "recording",
    ) -> Iterator[Segment]:
        """Recognize sound that comes in chunks, from wherever it comes.

        Args:
            chunks: Mono samples as `Stream.accept` takes them.
            sample_rate: Their rate, in Hz.
            session_id: Name of the recording.

        Returns:
            Segments in order, each as soon as it is final.

        Raises:
            AudioError: A chunk cannot be heard, or what gives them raised it; what was heard before
                is handed out first.
        """
        stream, segments = self.stream(sample_rate), SegmentBuilder(self.turns, session_id)
        broken: AudioError | None = None
        try:
            for samples_N in chunks:
                yield from segments.accept(stream.accept(samples_N))
        except AudioError as error:
            broken = error
        yield from segments.accept(stream.finish())
        if broken is not None:
            raise broken

    def _check(self, streams: Sequence[Stream]) -> None:
        if len(set(map(id, streams))) < len(streams):
            raise StateError("A stream was given twice.", hint="Join its chunks beforehand.")
        for stream in streams:
            if stream.recognizer is not self:
                raise StateError("A stream belongs to the recognizer that made it.")
            if stream.is_finished:
                raise StateError("This stream is finished.", hint="Make one for each recording.")

    def _tracker_of(self, state: StreamState) -> TurnTracker:
        """Follows the turns of a stream in what is settled."""
        heard_frames = self._ear.heard_frames(state.encoder)
        if heard_frames is not None:
            return self._tracker.waiting(heard_frames)
        return self._patient_tracker if self._ear.is_patient(state.encoder) else self._tracker

    def _one_by_one(
        self, blocks: Sequence[Tensor], states: Sequence[StreamState]
    ) -> tuple[list[list[Event]], list[StreamState]]:
        """A step for each block."""
        events: list[list[Event]] = [[] for _ in states]
        after = list(states)
        for block_BTF in blocks:
            found, after = self.step(block_BTF, after)
            events = [old + new for old, new in zip(events, found, strict=True)]
        return events, after

    def _apart(
        self, features_BTF: Tensor, states: Sequence[StreamState], groups: Sequence[Sequence[int]]
    ) -> tuple[list[list[Event]], list[StreamState]]:
        """A step for groups of streams, one group after the other."""
        events: list[list[Event]] = [[] for _ in states]
        after = list(states)
        for rows in groups:
            found, own = self.step(features_BTF[list(rows)], [states[b] for b in rows])
            for b, each, state in zip(rows, found, own, strict=True):
                events[b], after[b] = each, state
        return events, after
