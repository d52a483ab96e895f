# SPDX-License-Identifier: Apache-2.0
"""Where turns begin and end, and words with times, from the tokens of a search.

A turn begins with its first token. It ends when the model says so (its last token is end-of-turn)
or, for models that say no such thing, after `endpoint_seconds` without a token. A turn that goes on
for long is handed out in parts: the longer it is, the shorter the pause that parts it, and at
`longest_seconds` none is needed. So memory stays bounded, and a new part begins between words
wherever there is a pause.

All of this is decided frame by frame from the best hypothesis, so chunks change nothing.
"""

import math
from collections.abc import Callable, Sequence

from pydantic import Field

from evenear.config import config
from evenear.search import Hypothesis
from evenear.streaming.events import Event, Final, Partial, TurnEnded, TurnStarted
from evenear.tokenizer import Tokenizer
from evenear.transcripts import Word
from evenear.units import FrameClock, Frames, Seconds

__all__ = ["TurnConfig", "TurnTracker", "words_of"]


@config
class TurnConfig:
    """When words are final and turns end."""

    endpoint_seconds: float = Field(default=0.8, gt=0)
    """A turn ends after so long without a token."""
    long_seconds: float = Field(default=20.0, gt=0)
    """From this length on, shorter and shorter pauses part a turn."""
    longest_seconds: float = Field(default=40.0, gt=0)
    """At this length a turn is parted without a pause."""

    def pause_seconds(self, length_seconds: Seconds) -> Seconds:
        """The pause that parts a turn of this length."""
        if length_seconds <= self.long_seconds:
            return self.endpoint_seconds
        left = (self.longest_seconds - length_seconds) / max(
            self.longest_seconds - self.long_seconds, 1e-9
        )
        return self.endpoint_seconds * max(left, 0.0)


class TurnTracker:
    """The turns of one output channel.

    Args:
        config: When turns end.
        tokenizer: Makes words of tokens.
        clock: The clock of encoder frames.
    """

    def __init__(self, config: TurnConfig, tokenizer: Tokenizer, clock: FrameClock) -> None:
        self.config, self.tokenizer, self.clock = config, tokenizer, clock
        self._part_start: Frames | None = None
        self._in_turn = False
        self._last_frame: Frames = 0
        self._last_end: Seconds = 0.0
        self._shown: tuple[str, ...] = ()

    def observe(
        self,
        best: Hypothesis,
        num_frames: Frames,
        settled: Callable[[], Hypothesis] | None = None,
    ) -> tuple[list[Event], bool]:
        """Look at the best hypothesis after another frame.

        Args:
            best: The hypothesis.
            num_frames: Encoder frames heard.
            settled: Called for the reading to hand out when a part is over; None: the best.

        Returns:
            Events, and whether the hypothesis is done: then the search must begin a new one.
        """
        if not best.tokens:
            if self._part_start is None:
                return self._end_of_parted_turn(num_frames), False
            last = self._part_start  # the best hypothesis lost its only tokens
        else:
            last = best.frames[-1]
        events: list[Event] = []
        if self._part_start is None:
            self._part_start = best.frames[0]
            if not self._in_turn:
                self._in_turn = True
                start = self.clock.seconds_at(best.frames[0])
                events.append(self._event(TurnStarted, start, num_frames))
        said_so = bool(best.tokens) and best.tokens[-1] == self.tokenizer.eot_id
        paused = self.clock.seconds_at(num_frames - 1 - last)
        length = self.clock.seconds_at(num_frames - self._part_start)
        if not said_so and paused < self.config.pause_seconds(length):
            return events, False
        ends_turn = said_so or paused >= self.config.endpoint_seconds
        final = settled() if settled is not None else best
        return events + self.close(final, num_frames, ends_turn=ends_turn), True

    def close(self, best: Hypothesis, num_frames: Frames, *, ends_turn: bool) -> list[Event]:
        """Hand out the open words, and end the turn if it is over."""
        events: list[Event] = []
        words = words_of(best, self.tokenizer, self.clock)
        if best.tokens:
            self._last_frame = best.frames[-1]
        elif self._part_start is not None:
            self._last_frame = self._part_start
        if words:
            self._last_end = words[-1].end_seconds
        elif self._part_start is not None:
            self._last_end = self.clock.seconds_at(self._part_start + 1)
        if words:
            events.append(self._event(Final, self._last_end, num_frames, words))
        elif self._shown:  # a beam took back what was shown
            events.append(self._event(Partial, self.clock.seconds_at(num_frames), num_frames))
        if ends_turn and self._in_turn:
            events.append(self._event(TurnEnded, self._last_end, num_frames))
            self._in_turn = False
        self._part_start, self._shown = None, ()
        return events

    def partial(self, best: Hypothesis, num_frames: Frames) -> list[Event]:
        """The open words, if they are others than those last shown."""
        words = words_of(best, self.tokenizer, self.clock)
        texts = tuple(word.text for word in words)
        if texts == self._shown:
            return []
        self._shown = texts
        return [self._event(Partial, self.clock.seconds_at(num_frames), num_frames, words)]

    def _end_of_parted_turn(self, num_frames: Frames) -> list[Event]:
        """End a turn whose last part was handed out, once its pause is long enough."""
        paused = self.clock.seconds_at(num_frames - 1 - self._last_frame)
        if not self._in_turn or paused < self.config.endpoint_seconds:
            return []
        self._in_turn = False
        return [self._event(TurnEnded, self._last_end, num_frames)]

    def _event(
        self,
        kind: type[Event],
        seconds: Seconds,
        num_frames: Frames,
        words: Sequence[Word] = (),
    ) -> Event:
        return kind(
            seconds=seconds,
            known_seconds=self.clock.seconds_at(num_frames),
            words=tuple(words),
        )


def words_of(hypothesis: Hypothesis, tokenizer: Tokenizer, clock: FrameClock) -> tuple[Word, ...]:
    """Words with times and confidences.

    A word starts with the encoder frame that emitted its first token and ends with the one that
    emitted its last. A transducer emits a token once it is sure, so both come somewhat late: by
    the emission latency, for which training decides. The confidence is the geometric mean of the
    tokens' probabilities.
    """
    words = []
    for text, first, end in tokenizer.word_spans(hypothesis.tokens):
        mean = sum(hypothesis.log_probs[first:end]) / (end - first)
        word = Word(
            text=text,
            start_seconds=clock.seconds_at(hypothesis.frames[first]),
            end_seconds=clock.seconds_at(hypothesis.frames[end - 1] + 1),
            confidence=min(1.0, math.exp(mean)),
        )
        words.append(word)
    return tuple(words)
