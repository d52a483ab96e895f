# SPDX-License-Identifier: Apache-2.0
"""One output channel of a two-talker recognizer: when its turns begin and end, and their words.

A turn begins with the channel's first token. It ends when the model says so, after a pause, or when
it is very long; its words are final then. Turns are followed by greedy search; where the model has
words, a search for words reads the same frames from a little before the turn's first token on, and
is asked when the turn is over: silent channels cost no search. All of this is decided frame by
frame, so chunks change nothing.

Legend: D width of an encoder frame.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from evenear.errors import ConfigError
from evenear.search import GreedySearch, Hypothesis, Search
from evenear.streaming.events import (
    EagerTurnEnd,
    Event,
    Final,
    Partial,
    TurnEnded,
    TurnResumed,
    TurnStarted,
)
from evenear.streaming.moments import Moments
from evenear.tokenizer import Tokenizer
from evenear.transcripts import Word
from evenear.units import FrameClock, Frames, Seconds

__all__ = ["ChannelReader", "ChannelState"]

_LONGEST_SECONDS = 40.0
_BEFORE_SECONDS = 0.6
"""A first token comes so long after its sound, at most."""


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
    is_ending: bool = False
    """Whether an `EagerTurnEnd` was told and not withdrawn."""


class ChannelReader:
    """Follows the turns of any channel. It keeps nothing of them.

    Args:
        greedy: The search that says where turns are.
        words: The search for their words; None: they are spelled by the other.
        tokenizer: Makes words of tokens.
        clock: The clock of encoder frames.
        endpoint_seconds: A turn ends after so long without a token.
        eager_seconds: It may be over after so long; None: that is not said.

    Raises:
        ConfigError: An eager end would not come before the end.
    """

    def __init__(
        self,
        greedy: GreedySearch,
        words: Search | None,
        tokenizer: Tokenizer,
        clock: FrameClock,
        *,
        endpoint_seconds: Seconds,
        eager_seconds: Seconds | None = None,
    ) -> None:
        self._greedy, self._words, self.tokenizer = greedy, words, tokenizer
        self._pause_frames = math.ceil(endpoint_seconds / clock.frame_seconds)
        self._eager_frames = None
        if eager_seconds is not None:
            if not 0 < eager_seconds < endpoint_seconds:
                raise ConfigError(
                    "An eager end must come before the end of the turn, got "
                    f"{eager_seconds} s and {endpoint_seconds} s."
                )
            self._eager_frames = math.ceil(eager_seconds / clock.frame_seconds)
        self._before_frames = math.ceil(_BEFORE_SECONDS / clock.frame_seconds)
        self._longest_frames = math.ceil(_LONGEST_SECONDS / clock.frame_seconds)

    def listened(
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

    def observe(
        self, number: int, channel: ChannelState, num_frames: Frames, moments: Moments
    ) -> tuple[list[Event], ChannelState]:
        """Look at a channel after another frame."""
        heard = self._greedy.best(channel.tokens)
        if not heard.tokens:
            return [], channel
        events: list[Event] = []
        if heard.tokens == (self.tokenizer.eot_id,):  # the end of nothing
            return [], self.fresh(channel)
        if channel.started is None:
            channel = replace(channel, started=heard.frames[0])
            start, known = moments.at(heard.frames[0]), moments.known(num_frames)
            events.append(TurnStarted(seconds=start, known_seconds=known, channel=number))
        assert channel.started is not None
        paused = num_frames - 1 - heard.frames[-1]
        is_over = (
            heard.tokens[-1] == self.tokenizer.eot_id
            or paused >= self._pause_frames
            or num_frames - channel.started >= self._longest_frames
        )
        if not is_over:
            told, channel = self._maybe(number, channel, paused, num_frames, moments)
            return events + told, channel
        told, channel = self.close(number, channel, num_frames, moments)
        return events + told, channel

    def close(
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
        return events, self.fresh(channel)

    def partial(
        self,
        number: int,
        channel: ChannelState,
        ahead_1TD: Tensor,
        num_frames: Frames,
        moments: Moments,
    ) -> tuple[list[Event], ChannelState]:
        """The open words of a channel, if they are others than those last shown.

        Args:
            number: Which channel it is.
            channel: What is known of it.
            ahead_1TD: Frames behind those read so far that will come again, better; perhaps none.
            num_frames: Frames that were read.
            moments: When what is known.
        """
        if channel.started is None:
            return [], channel
        words = self._open_words(self._ahead(channel, ahead_1TD), moments)
        texts = tuple(word.text for word in words)
        if texts == channel.shown:
            return [], channel
        known = moments.known(num_frames)
        event = Partial(seconds=known, known_seconds=known, words=words, channel=number)
        return [event], replace(channel, shown=texts)

    def fresh(self, before: ChannelState | None = None) -> ChannelState:
        """A channel on which no turn is open: at the start, or after a turn."""
        if before is None:
            return ChannelState(self._greedy.initial_state())
        return ChannelState(self._greedy.restart(before.tokens))

    def _ahead(self, channel: ChannelState, ahead_1TD: Tensor) -> ChannelState:
        """A channel as it will be if frames ahead stay what they are."""
        if not ahead_1TD.shape[1]:
            return channel
        if self._words is not None:
            (words,) = self._words.step(ahead_1TD, [channel.words])
            return replace(channel, words=words)
        (tokens,) = self._greedy.step(ahead_1TD, [channel.tokens])
        return replace(channel, tokens=tokens)

    def _maybe(
        self,
        number: int,
        channel: ChannelState,
        paused: Frames,
        num_frames: Frames,
        moments: Moments,
    ) -> tuple[list[Event], ChannelState]:
        """Say that a turn may be over, or that it is not after all."""
        is_ending = self._eager_frames is not None and paused >= self._eager_frames
        if is_ending == channel.is_ending:
            return [], channel
        known = moments.known(num_frames)
        last = self._greedy.best(channel.tokens).frames[-1]
        event: Event
        if is_ending:
            words = self._open_words(channel, moments)
            end = words[-1].end_seconds if words else moments.at(last + 1)
            event = EagerTurnEnd(seconds=end, known_seconds=known, words=words, channel=number)
        else:
            event = TurnResumed(seconds=moments.at(last), known_seconds=known, channel=number)
        return [event], replace(channel, is_ending=is_ending)

    def _open_words(self, channel: ChannelState, moments: Moments) -> tuple[Word, ...]:
        reading: Hypothesis = self._greedy.best(channel.tokens)
        if self._words is not None:
            reading = self._words.best(channel.words)
        return moments.words(reading, self.tokenizer)
