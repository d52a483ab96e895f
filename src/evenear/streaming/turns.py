# SPDX-License-Identifier: Apache-2.0
"""Where turns begin and end, and words with times, from the tokens of a search.

A turn begins with its first token. It ends when the model says so (its last token is end-of-turn)
or, for models that say no such thing, after `endpoint_seconds` without a token. Within a turn,
words become final as soon as all readings agree on them, and at the latest `final_seconds` after
their end: then the best reading is believed. So delay, memory and work stay bounded however long
somebody talks.

All of this is decided frame by frame from the hypotheses, so chunks change nothing.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import Field

from evenear.config import config
from evenear.errors import ConfigError
from evenear.search import Hypothesis
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
from evenear.units import Frames, Seconds

__all__ = ["TurnConfig", "TurnState", "TurnTracker"]


@config
class TurnConfig:
    """When words are final, when turns end, and how long segments are."""

    endpoint_seconds: float = Field(default=0.8, gt=0)
    """A turn ends after so long without a token."""
    final_seconds: float = Field(default=4.0, gt=0)
    """A word is final at the latest so long after its end, unless it is the last one: that waits
    for the next, or for the turn's end."""
    eager_seconds: float | None = Field(default=None, gt=0)
    """After so long without a token, less than `endpoint_seconds`, a turn may be over: then
    `EagerTurnEnd` says so, and `TurnResumed` or `TurnEnded` how it went on. None: never."""
    tail_seconds: float = Field(default=0.6, ge=0)
    """Digital silence that is heard after the end of a stream: a model says a word once it is sure,
    so the last words of a recording that ends with them come out in what follows. No time of an
    event or a word lies in it."""
    long_seconds: float = Field(default=20.0, gt=0)
    """From this length on, shorter and shorter pauses part the segments of a transcript."""
    longest_seconds: float = Field(default=40.0, gt=0)
    """At this length a segment is parted without a pause."""

    def __post_init__(self) -> None:
        if self.eager_seconds is not None and self.eager_seconds >= self.endpoint_seconds:
            raise ConfigError(
                "An eager end must come before the end of the turn, got "
                f"{self.eager_seconds} s and {self.endpoint_seconds} s."
            )

    def pause_seconds(self, length_seconds: Seconds) -> Seconds:
        """The pause that parts a segment of this length."""
        if length_seconds <= self.long_seconds:
            return self.endpoint_seconds
        left = (self.longest_seconds - length_seconds) / max(
            self.longest_seconds - self.long_seconds, 1e-9
        )
        return self.endpoint_seconds * max(left, 0.0)


class TurnState(NamedTuple):
    """What is known of the turns of one channel of one stream."""

    is_open: bool = False
    last_frame: Frames = 0
    """Frame of the last token of the open turn."""
    last_end: Seconds = 0.0
    """End of its last word."""
    shown: tuple[str, ...] = ()
    """The words of the last `Partial`."""
    is_ending: bool = False
    """Whether an `EagerTurnEnd` was told and not withdrawn."""


class TurnTracker:
    """Follows the turns of one output channel. It keeps nothing itself.

    Args:
        config: When turns end.
        tokenizer: Makes words of tokens.
        moments: The clock of encoder frames, and how many become known together.
        channel: The channel of its events.
    """

    def __init__(
        self,
        config: TurnConfig,
        tokenizer: Tokenizer,
        moments: Moments,
        *,
        channel: int = 0,
    ) -> None:
        self.config, self.tokenizer, self.moments = config, tokenizer, moments
        self.channel = channel
        frame_seconds = moments.clock.frame_seconds
        self._due_frames = max(1, round(_DUE_SECONDS / frame_seconds))
        latest = self.config.final_seconds / frame_seconds - self._due_frames
        self._latest_frames = max(1, math.floor(latest))

    def ended(self, end_seconds: Seconds) -> "TurnTracker":
        """The tracker for what is heard after the end of the sound."""
        moments = self.moments._replace(end_seconds=end_seconds)
        return TurnTracker(self.config, self.tokenizer, moments, channel=self.channel)

    def observe(
        self, state: TurnState, best: Hypothesis, num_frames: Frames
    ) -> tuple[list[Event], TurnState, bool]:
        """Look at the best hypothesis after another frame.

        Args:
            state: What was known.
            best: The hypothesis.
            num_frames: Encoder frames heard.

        Returns:
            Events, what is known now, and whether the turn is over: then it must be closed.
        """
        events: list[Event] = []
        if not best.tokens and not state.is_open:
            return events, state, False
        if not state.is_open:
            start = self.moments.at(best.frames[0])
            events.append(self._event(TurnStarted, start, num_frames))
            state = state._replace(is_open=True, last_frame=best.frames[0])
        if best.tokens:
            state = self._noted(state, best)
        paused = self.moments.clock.seconds_at(num_frames - 1 - state.last_frame)
        if self._said_so(best) or paused >= self.config.endpoint_seconds:
            return events, state, True
        eager = self.config.eager_seconds is not None and paused >= self.config.eager_seconds
        if eager and not state.is_ending:
            words = self.moments.words(best, self.tokenizer)
            events.append(self._event(EagerTurnEnd, state.last_end, num_frames, words))
        elif state.is_ending and not eager:
            since = self.moments.at(state.last_frame)
            events.append(self._event(TurnResumed, since, num_frames))
        return events, state._replace(is_ending=eager), False

    def is_due(self, num_frames: Frames) -> bool:
        """Whether it is time to look for words that can be final."""
        return num_frames % self._due_frames == 0

    def num_ready(self, best: Hypothesis, num_shared: int) -> int:
        """How many first tokens can be final because all readings share them: whole words."""
        return self._num_tokens(best, num_shared, 2**62)

    def is_late(self, best: Hypothesis, num_frames: Frames) -> bool:
        """Whether the first word must become final now."""
        return self._num_tokens(best, len(best.tokens), num_frames - 1 - self._latest_frames) > 0

    def num_late(self, reading: Hypothesis, num_frames: Frames) -> int:
        """How many first tokens of a reading to believe once its first word is late.

        Half of what may wait becomes final at once, so that this is not asked at every frame.
        """
        newest = num_frames - 1 - (self._latest_frames + 1) // 2
        return self._num_tokens(reading, len(reading.tokens), newest)

    def hand_out(
        self, state: TurnState, reading: Hypothesis, num_tokens: int, num_frames: Frames
    ) -> tuple[list[Event], TurnState]:
        """Make the first tokens of a reading final."""
        part = Hypothesis(
            reading.tokens[:num_tokens],
            reading.frames[:num_tokens],
            reading.log_probs[:num_tokens],
            reading.log_prob,
        )
        words = self.moments.words(part, self.tokenizer)
        if not words:
            return [], state
        texts = tuple(word.text for word in words)
        still = state.shown[len(texts) :] if state.shown[: len(texts)] == texts else ()
        end = words[-1].end_seconds
        return [self._event(Final, end, num_frames, words)], state._replace(shown=still)

    def close(
        self, state: TurnState, reading: Hypothesis, num_frames: Frames
    ) -> tuple[list[Event], TurnState]:
        """Hand out the open words and end the turn, if there is one."""
        if reading.tokens:
            state = self._noted(state, reading)
        events, after = self.hand_out(state, reading, len(reading.tokens), num_frames)
        if not events and state.shown:  # a beam took back what was shown
            events.append(self._event(Partial, self.moments.known(num_frames), num_frames))
        if after.is_open:
            sure = math.exp(reading.log_probs[-1]) if self._said_so(reading) else None
            end = after.last_end
            events.append(self._event(TurnEnded, end, num_frames, confidence=sure))
        return events, TurnState()

    def partial(
        self, state: TurnState, best: Hypothesis, num_frames: Frames
    ) -> tuple[list[Event], TurnState]:
        """The open words, if they are others than those last shown."""
        words = self.moments.words(best, self.tokenizer)
        texts = tuple(word.text for word in words)
        if texts == state.shown:
            return [], state
        now = self.moments.known(num_frames)
        return [self._event(Partial, now, num_frames, words)], state._replace(shown=texts)

    def _noted(self, state: TurnState, best: Hypothesis) -> TurnState:
        """The moment of the last token, and the end of the last word."""
        last = best.frames[-1]
        return state._replace(last_frame=last, last_end=self.moments.at(last + 1))

    def _said_so(self, reading: Hypothesis) -> bool:
        return bool(reading.tokens) and reading.tokens[-1] == self.tokenizer.eot_id

    def _num_tokens(self, reading: Hypothesis, num_tokens: int, newest: Frames) -> int:
        """Tokens of the first whole words among some that ended at a frame or before."""
        count = 0
        for _, _, end in self.tokenizer.word_spans(reading.tokens)[:-1]:
            if end > num_tokens or reading.frames[end - 1] > newest:
                break
            count = end
        return count

    def _event(
        self,
        kind: type[Event],
        seconds: Seconds,
        num_frames: Frames,
        words: Sequence[Word] = (),
        **more: Any,
    ) -> Event:
        known = self.moments.known(num_frames)
        return kind(
            seconds=seconds, known_seconds=known, words=tuple(words), channel=self.channel, **more
        )


_DUE_SECONDS = 0.25
"""How often words that can be final are looked for."""
