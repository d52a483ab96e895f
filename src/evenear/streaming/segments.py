# SPDX-License-Identifier: Apache-2.0
"""Segments of a transcript from the events of a stream.

A turn's words become final piece by piece, soon after they were said. A transcript wants whole
turns: a segment is the final words of a turn, or of a part of it where it is long: the longer, the
shorter the pause between two words that parts it.
"""

from collections.abc import Iterable, Iterator

from evenear.streaming.events import Event, Final, TurnEnded
from evenear.streaming.turns import TurnConfig
from evenear.transcripts import Segment, Word

__all__ = ["SegmentBuilder"]


class SegmentBuilder:
    """Makes segments of one stream's events.

    Args:
        config: How long a segment is.
        session: Name of the recording.
        speaker: Who speaks, if that is known.
    """

    def __init__(self, config: TurnConfig, session: str, speaker: str = "") -> None:
        self.config, self.session, self.speaker = config, session, speaker
        self._words: dict[int, list[Word]] = {}

    def accept(self, events: Iterable[Event]) -> Iterator[Segment]:
        """The segments that events complete; the end of a stream ends its turns."""
        for event in events:
            words = self._words.setdefault(event.channel, [])
            if isinstance(event, Final):
                for word in event.words:
                    if words and self._parts(words, word):
                        yield self._segment(words, event.channel)
                        words.clear()
                    words.append(word)
            elif isinstance(event, TurnEnded) and words:
                yield self._segment(words, event.channel)
                words.clear()

    def _parts(self, words: list[Word], following: Word) -> bool:
        """Whether a segment ends before a word."""
        end = words[-1].end_seconds
        pause = following.start_seconds - end
        return pause >= self.config.pause_seconds(end - words[0].start_seconds)

    def _segment(self, words: list[Word], channel: int) -> Segment:
        confidences = [word.confidence or 0.0 for word in words]
        return Segment(
            session_id=self.session,
            speaker=self.speaker,
            start_seconds=words[0].start_seconds,
            end_seconds=words[-1].end_seconds,
            text=" ".join(word.text for word in words),
            words=tuple(words),
            channel=channel,
            confidence=sum(confidences) / len(confidences),
        )
