# SPDX-License-Identifier: Apache-2.0
"""Where turns begin and end, and words with times, from the tokens of a search.

A turn begins with its first token. It ends when the model says so (its last token is end-of-turn),
or when nobody has spoken for a while. A detector of voice hears that between two blocks of the
recognizer, and the surer it is, from how it was said, that whoever spoke is done, the shorter is
that while; without a detector, a turn ends after `endpoint_seconds` without a token. Within a turn,
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
from evenear.streaming.silence import Silence
from evenear.tokenizer import Tokenizer
from evenear.transcripts import Word
from evenear.units import Frames, Seconds

__all__ = ["TurnConfig", "TurnState", "TurnTracker"]


@config
class TurnConfig:
    """When words are final, when turns end, and how long segments are."""

    endpoint_seconds: float = Field(default=0.8, gt=0)
    """A turn ends after so long without a token, where no detector of voice listens."""
    silence_seconds: tuple[float, float] = (0.5, 1.6)
    """With a detector a turn ends after so long a silence: the first where it is sure that whoever
    spoke is done, the second where it is sure of the contrary; between them according to its
    logit, from `sure_logits`."""
    sure_logits: tuple[float, float] = (4.0, 0.0)
    """From which logits of the detector on it counts as sure of an end, and of none."""
    patience_seconds: float = Field(default=3.0, gt=0)
    """With a detector a turn also ends after so long without a token, whatever is heard."""
    final_seconds: float = Field(default=4.0, gt=0)
    """A word is final at the latest so long after its end, unless it is the last one: that waits
    for the next, or for the turn's end."""
    eager_seconds: float | None = Field(default=None, gt=0)
    """After so long without a token, or with a detector so long a silence, a turn may be over: then
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

    def needed_silence(self, logit: float) -> Seconds:
        """The silence that ends a turn where the detector's logit of an end is this."""
        (sure, unsure), (least, most) = self.sure_logits, self.silence_seconds
        part = min(max((sure - logit) / (sure - unsure), 0.0), 1.0)
        return least + part * (most - least)

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
        hears_voices: Whether a detector tells of silence, by `hear`.
        channel: The channel of its events.
    """

    def __init__(
        self,
        config: TurnConfig,
        tokenizer: Tokenizer,
        moments: Moments,
        *,
        hears_voices: bool = False,
        channel: int = 0,
    ) -> None:
        self.config, self.tokenizer, self.moments = config, tokenizer, moments
        self.hears_voices, self.channel = hears_voices, channel
        frame_seconds = moments.clock.frame_seconds
        self._due_frames = max(1, round(_DUE_SECONDS / frame_seconds))
        latest = self.config.final_seconds / frame_seconds - self._due_frames
        self._latest_frames = max(1, math.floor(latest))

    def ended(self, end_seconds: Seconds) -> "TurnTracker":
        """The tracker for what is heard after the end of the sound."""
        return self._at(self.moments._replace(end_seconds=end_seconds))

    def waiting(self, heard_frames: Frames) -> "TurnTracker":
        """The tracker when so many encoder frames were heard, some of which may still wait."""
        return self._at(self.moments._replace(heard_frames=heard_frames))

    def _at(self, moments: Moments) -> "TurnTracker":
        return TurnTracker(
            self.config,
            self.tokenizer,
            moments,
            hears_voices=self.hears_voices,
            channel=self.channel,
        )

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
            events.append(self._event(TurnStarted, start, self.moments.known(num_frames)))
            state = state._replace(is_open=True, last_frame=best.frames[0])
        if best.tokens:
            state = self._noted(state, best)
        paused = self.moments.clock.seconds_at(num_frames - 1 - state.last_frame)
        longest = (
            self.config.patience_seconds if self.hears_voices else self.config.endpoint_seconds
        )
        if self._said_so(best) or paused >= longest:
            return events, state, True
        if self.hears_voices:
            return events, state, False
        known, since = self.moments.known(num_frames), self.moments.at(state.last_frame)
        told, state = self._maybe(state, best, paused, known, since)
        return events + told, state, False

    def hear(
        self, state: TurnState, best: Hypothesis, silence: Silence, num_frames: Frames
    ) -> tuple[list[Event], TurnState, bool]:
        """Look at what a detector of voice heard, between two encoder frames.

        The recognizer must have heard a little of the silence, so that the last word has come out.

        Args:
            state: What was known.
            best: The best hypothesis.
            silence: What was heard.
            num_frames: Encoder frames heard.

        Returns:
            As `observe` does.
        """
        if not state.is_open:
            return [], state, False
        began = silence.seconds - silence.quiet_seconds
        read = self.moments.clock.seconds_at(num_frames) - began
        if (
            silence.quiet_seconds >= self.config.needed_silence(silence.logit)
            and read >= _READ_SECONDS
        ):
            return [], state, True
        known = self.moments.told(silence.seconds)
        told, state = self._maybe(state, best, silence.quiet_seconds, known, began, silence.is_over)
        return told, state, False

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
        self, state: TurnState, reading: Hypothesis, num_tokens: int, known_seconds: Seconds
    ) -> tuple[list[Event], TurnState]:
        """Make the first tokens of a reading final, at a moment."""
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
        return [self._event(Final, end, known_seconds, words)], state._replace(shown=still)

    def close(
        self,
        state: TurnState,
        reading: Hypothesis,
        known_seconds: Seconds,
        confidence: float | None = None,
    ) -> tuple[list[Event], TurnState]:
        """Hand out the open words and end the turn, if there is one.

        Args:
            state: What was known.
            reading: The last word on the words.
            known_seconds: The moment.
            confidence: How sure a detector is of the end; None: the model said so, or a pause.
        """
        if reading.tokens:
            state = self._noted(state, reading)
        events, after = self.hand_out(state, reading, len(reading.tokens), known_seconds)
        if not events and state.shown:  # a beam took back what was shown
            events.append(self._event(Partial, known_seconds, known_seconds))
        if after.is_open:
            if self._said_so(reading):
                confidence = math.exp(reading.log_probs[-1])
            end = after.last_end
            events.append(self._event(TurnEnded, end, known_seconds, confidence=confidence))
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
        return [self._event(Partial, now, now, words)], state._replace(shown=texts)

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

    def _maybe(
        self,
        state: TurnState,
        best: Hypothesis,
        paused: Seconds,
        known_seconds: Seconds,
        since_seconds: Seconds,
        confidence: float | None = None,
    ) -> tuple[list[Event], TurnState]:
        """Say that a turn may be over, or that it is not after all."""
        is_ending = self.config.eager_seconds is not None and paused >= self.config.eager_seconds
        if is_ending == state.is_ending:
            return [], state
        state = state._replace(is_ending=is_ending)
        if not is_ending:
            return [self._event(TurnResumed, since_seconds, known_seconds)], state
        words = self.moments.words(best, self.tokenizer)
        event = self._event(
            EagerTurnEnd, state.last_end, known_seconds, words, confidence=confidence
        )
        return [event], state

    def _event(
        self,
        kind: type[Event],
        seconds: Seconds,
        known_seconds: Seconds,
        words: Sequence[Word] = (),
        **more: Any,
    ) -> Event:
        return kind(
            seconds=seconds,
            known_seconds=known_seconds,
            words=tuple(words),
            channel=self.channel,
            **more,
        )


_READ_SECONDS = 0.12
"""So much of a silence the recognizer must have heard before it ends a turn."""
_DUE_SECONDS = 0.25
"""How often words that can be final are looked for."""
