# SPDX-License-Identifier: Apache-2.0
"""Turns of two talkers from who speaks, and words of one recognizer given to them.

    attribution = Attribution(AttributionConfig(), voices.talking, group_seconds=0.08)
    events = attribution.group(active_C, known)         # who speaks in the next group of frames
    events = attribution.heard(event)                   # what the recognizer told
    events = attribution.finish(end_seconds)

Both must come in the order in which they became known. A turn begins once somebody was decided to
speak for a while, and ends after a while without them; both are told at once. Its words come in one
`Final`, when it is over and the recognizer will not change any word before its end: mostly behind
its `TurnEnded`. Whose a word is, is asked when it is final, when more was heard of both voices than
when its turn began. No word is lost or given twice.

Legend: C channels, G groups of frames.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evenear.config import config
from evenear.errors import ConfigError
from evenear.models.separator import NUM_CHANNELS
from evenear.streaming.events import (
    EagerTurnEnd,
    Event,
    Final,
    Partial,
    TurnEnded,
    TurnResumed,
    TurnStarted,
)
from evenear.transcripts import Word
from evenear.units import Seconds

__all__ = ["Attribution", "AttributionConfig"]

_NEAR_SECONDS = 0.5
"""A word so far outside a turn still belongs to it."""
_LATE_SECONDS = 0.3
"""A word's last token may come so long after its turn's end."""
_LONGEST_SECONDS = 40.0
"""The words of a longer turn become final in parts."""
_UNSETTLED_SECONDS = 0.7
"""Where the recognizer has no open turn, it may still begin one with a word so long ago."""


@config
class AttributionConfig:
    """How turns follow from who speaks, and whose words are."""

    start_groups: int = Field(default=2, ge=1)
    """Groups of frames that somebody must speak until a turn begins."""
    both_chance: float = Field(default=0.25, gt=0, lt=1)
    """From this probability on both are taken to speak: a turn that begins over another is told
    late if it is waited for to be sure."""
    end_seconds: float = Field(default=0.4, gt=0)
    """A turn ends after so long without its talker."""
    eager_seconds: float | None = Field(default=None, gt=0)
    """It may be over after so long: then `EagerTurnEnd` says so. None: never."""
    late_seconds: float = Field(default=0.1, ge=0)
    """A word is said so long before its first token is told."""
    switch_cost: float = Field(default=1.0, ge=0)
    """Groups of evidence that words must bring to go to another channel than those before."""

    def __post_init__(self) -> None:
        if self.eager_seconds is not None and self.eager_seconds >= self.end_seconds:
            raise ConfigError(
                "An eager end must come before the end of the turn, got "
                f"{self.eager_seconds} s and {self.end_seconds} s."
            )


@dataclass
class _Turn:
    """A turn; its end is known once it is over."""

    start: Seconds
    end: Seconds | None = None
    words: list[Word] = field(default_factory=list)


@dataclass
class _Channel:
    """What is known of a channel: how long its talker speaks or is silent, and its turns."""

    speaking: int = 0
    silent: int = 0
    is_ending: bool = False
    turns: list[_Turn] = field(default_factory=list)
    """Those whose words are not final, the open one last."""
    shown: tuple[str, ...] = ()

    @property
    def open(self) -> _Turn | None:
        """The open turn."""
        return self.turns[-1] if self.turns and self.turns[-1].end is None else None


class Attribution:
    """Follows one listener.

    Args:
        config: How turns follow from who speaks, and whose words are.
        talking: Whose voice it was in the groups from one on, (C, G), as it looks when it is asked.
        group_seconds: Length of a group of frames.
    """

    def __init__(
        self,
        config: AttributionConfig,
        talking: Callable[[int], NDArray[np.float64]],
        *,
        group_seconds: Seconds,
    ) -> None:
        self.config, self._talking, self._group_seconds = config, talking, group_seconds
        self._channels = tuple(_Channel() for _ in range(NUM_CHANNELS))
        self._num_groups = 0
        self._scores = [0.0] * NUM_CHANNELS
        """How well each channel explains the words so far, at best 0."""
        self._is_hearing = False
        """Whether the recognizer has an open turn."""
        self._settled: Seconds = 0.0
        """No word before this moment will come or change."""

    def group(
        self, active_C: Sequence[bool] | None, known: Seconds, *, before: int = 0
    ) -> list[Event]:
        """Take the next group of frames.

        Args:
            active_C: Who speaks in it; None: somebody, and it is not known who.
            known: When that became known.
            before: So many groups before it, for which that was not known, are as it is.
        """
        self._num_groups += 1
        events: list[Event] = []
        for number, channel in enumerate(self._channels if active_C is not None else ()):
            speaks = active_C is not None and bool(active_C[number])
            if not speaks:
                channel.silent += before
            elif not channel.speaking:
                channel.speaking = before
            events += self._followed(number, channel, speaks, known)
        if not self._is_hearing:
            self._settled = max(self._settled, known - _UNSETTLED_SECONDS)
        return events + self._finals(known)

    def heard(self, event: Event) -> list[Event]:
        """Take what the recognizer told; its own turns are not handed on."""
        if isinstance(event, Partial):
            return self._partials(event)
        if isinstance(event, TurnStarted):
            self._is_hearing = True
        elif isinstance(event, TurnEnded):
            self._is_hearing = False
            self._settled = max(self._settled, event.known_seconds - _UNSETTLED_SECONDS)
        events: list[Event] = []
        if isinstance(event, Final):
            places, self._scores = self._channels_of(event.words)
            for place, word in zip(places, event.words, strict=True):
                events += self._given(place, word, event.known_seconds)
            self._settled = max(self._settled, event.words[-1].end_seconds)
        return events + self._finals(event.known_seconds)

    def finish(self, end_seconds: Seconds) -> list[Event]:
        """End every turn, and hand out what is left."""
        self._settled = math.inf
        events: list[Event] = []
        for number, channel in enumerate(self._channels):
            turn = channel.open
            if turn is not None:
                spoken = (self._num_groups - channel.silent) * self._group_seconds
                turn.end = min(max(spoken, turn.start), end_seconds)
                events.append(
                    TurnEnded(seconds=turn.end, known_seconds=end_seconds, channel=number)
                )
        return events + self._finals(end_seconds)

    def _followed(
        self, number: int, channel: _Channel, speaks: bool, known: Seconds
    ) -> list[Event]:
        """What a group in which a talker speaks, or does not, says of their turns."""
        events: list[Event] = []
        now = self._num_groups * self._group_seconds
        channel.speaking = channel.speaking + 1 if speaks else 0
        channel.silent = 0 if speaks else channel.silent + 1
        turn = channel.open
        if turn is None:
            if channel.speaking >= self.config.start_groups:
                start = now - channel.speaking * self._group_seconds
                channel.turns.append(_Turn(start))
                events.append(TurnStarted(seconds=start, known_seconds=known, channel=number))
            return events
        silence = channel.silent * self._group_seconds
        if silence >= self.config.end_seconds:
            turn.end, channel.is_ending = now - silence, False
            events.append(TurnEnded(seconds=turn.end, known_seconds=known, channel=number))
            return events
        eager = self.config.eager_seconds
        is_ending = eager is not None and silence >= eager
        if is_ending and not channel.is_ending:
            end, words = now - silence, tuple(turn.words)
            events.append(
                EagerTurnEnd(seconds=end, known_seconds=known, words=words, channel=number)
            )
        elif channel.is_ending and not is_ending:
            events.append(TurnResumed(seconds=now, known_seconds=known, channel=number))
        channel.is_ending = is_ending
        return events

    def _channels_of(self, words: Sequence[Word]) -> tuple[list[int], list[float]]:
        """Whose each word is, and the scores behind the last: the best way through all of them.

        A word speaks for a channel by the groups in which its talker speaks; to change channels
        costs. Scores of the words before go on, so a Final's first word is not judged alone.
        """
        scores, came_from = self._scores, []
        cost, seconds = self.config.switch_cost, self._group_seconds
        spans = [
            (math.floor((w.start_seconds - self.config.late_seconds) / seconds), w.end_seconds)
            for w in words
        ]
        begin = max(0, min((first for first, _ in spans), default=0))
        speaking_CG = self._talking(begin) if words else np.zeros((NUM_CHANNELS, 0))
        for first, end in spans:
            last = max(first + 1, math.ceil(end / seconds))
            spoken_C = speaking_CG[:, max(0, first - begin) : max(0, last - begin)].sum(axis=1)
            best = [max((scores[c], c), (scores[1 - c] - cost, 1 - c))[1] for c in range(2)]
            scores = [
                scores[best[c]] - cost * (best[c] != c) + float(spoken_C[c])
                for c in range(NUM_CHANNELS)
            ]
            scores = [score - max(scores) for score in scores]
            came_from.append(best)
        place = scores.index(max(scores))
        places = []
        for best in reversed(came_from):
            places.append(place)
            place = best[place]
        return places[::-1], scores

    def _given(self, number: int, word: Word, known: Seconds) -> list[Event]:
        """Give a final word to a turn of a channel: to a new one, if none is near."""
        channel = self._channels[number]
        middle = 0.5 * (word.start_seconds + word.end_seconds)
        near = [(_distance(turn, middle), place) for place, turn in enumerate(channel.turns)]
        distance, place = min(near, default=(math.inf, 0))
        if distance <= _NEAR_SECONDS or channel.open is not None:
            channel.turns[place].words.append(word)
            return []
        turn = _Turn(word.start_seconds, word.end_seconds, [word])
        channel.turns.append(turn)
        channel.turns.sort(key=lambda one: one.start)  # none is open
        return [
            TurnStarted(seconds=turn.start, known_seconds=known, channel=number),
            TurnEnded(seconds=word.end_seconds, known_seconds=known, channel=number),
        ]

    def _finals(self, known: Seconds) -> list[Event]:
        """The words of turns that are over and settled, and parts of long ones."""
        events: list[Event] = []
        for number, channel in enumerate(self._channels):
            while channel.turns:
                turn = channel.turns[0]
                is_over = turn.end is not None and turn.end + _LATE_SECONDS <= self._settled
                words = tuple(turn.words)
                is_long = bool(words) and (
                    words[-1].end_seconds - words[0].start_seconds >= _LONGEST_SECONDS
                )
                if words and (is_over or is_long):
                    end = words[-1].end_seconds
                    events.append(
                        Final(seconds=end, known_seconds=known, words=words, channel=number)
                    )
                    turn.words, channel.shown = [], ()
                elif is_over and channel.shown:
                    events.append(Partial(seconds=known, known_seconds=known, channel=number))
                    channel.shown = ()
                if not is_over:
                    break
                channel.turns.pop(0)
        return events

    def _partials(self, event: Partial) -> list[Event]:
        """The open words of each channel, if they changed."""
        words: list[list[Word]] = [
            [word for turn in channel.turns for word in turn.words] for channel in self._channels
        ]
        for place, word in zip(self._channels_of(event.words)[0], event.words, strict=True):
            words[place].append(word)
        events: list[Event] = []
        for number, (channel, own) in enumerate(zip(self._channels, words, strict=True)):
            texts = tuple(word.text for word in own)
            if texts != channel.shown:
                channel.shown = texts
                seconds, known = event.seconds, event.known_seconds
                events.append(
                    Partial(seconds=seconds, known_seconds=known, words=tuple(own), channel=number)
                )
        return events


def _distance(turn: _Turn, moment: Seconds) -> Seconds:
    """How far a moment is from a turn."""
    end = math.inf if turn.end is None else turn.end
    return max(turn.start - moment, moment - end, 0.0)
