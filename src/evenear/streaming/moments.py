# SPDX-License-Identifier: Apache-2.0
"""When what was said was said, and when it became known.

An encoder that works in blocks gives all frames of a block at once, when its last has been heard:
nothing of a block is known before. Behind the end of a recording some silence is heard, so that
last words come out; no moment lies in it.
"""

import math
from dataclasses import replace
from typing import NamedTuple

from evenear.search import Hypothesis
from evenear.tokenizer import Tokenizer
from evenear.transcripts import Word
from evenear.units import FrameClock, Frames, Seconds

__all__ = ["Moments", "words_of"]


class Moments(NamedTuple):
    """The clock of encoder frames, their blocks, and where the sound ended, if it did."""

    clock: FrameClock
    block_frames: Frames = 1
    """Encoder frames that become known together."""
    end_seconds: Seconds = math.inf
    right_frames: Frames = 0
    """Encoder frames behind a block that are heard before it is known."""
    heard_frames: Frames | None = None
    """Encoder frames heard by now, where blocks wait for as long as it takes; None: they do not."""

    def at(self, frame: Frames) -> Seconds:
        """When a frame begins."""
        return min(self.clock.seconds_at(frame), self.end_seconds)

    def known(self, num_frames: Frames) -> Seconds:
        """When the last of so many frames was known."""
        if self.heard_frames is not None:
            return min(self.clock.seconds_at(self.heard_frames), self.end_seconds)
        heard = -(-num_frames // self.block_frames) * self.block_frames + self.right_frames
        return min(self.clock.seconds_at(heard), self.end_seconds)

    def order(self, num_frames: Frames) -> Seconds:
        """What is heard before this moment is considered before the last of so many frames.

        That is when the frame is known. Where blocks wait, it is when it was said: all that comes
        later waits with it.
        """
        if self.heard_frames is not None:
            return self.clock.seconds_at(num_frames)
        return self.known(num_frames)

    def told(self, seconds: Seconds) -> Seconds:
        """When something that was heard at a moment is told: later, where it waited for blocks."""
        return seconds if self.heard_frames is None else max(seconds, self.known(0))

    def words(self, reading: Hypothesis, tokenizer: Tokenizer) -> tuple[Word, ...]:
        """Words with times; one that came out after the sound was at its end."""
        found = words_of(reading, tokenizer, self.clock)
        last = max(0.0, self.end_seconds - self.clock.frame_seconds)
        return tuple(
            word
            if word.end_seconds <= self.end_seconds
            else replace(
                word, start_seconds=min(word.start_seconds, last), end_seconds=self.end_seconds
            )
            for word in found
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
