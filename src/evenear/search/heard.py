# SPDX-License-Identifier: Apache-2.0
"""The encoder frames that a search keeps, so that others may judge what it read in them.

    | words that were said, final  | open tail, not yet final |
    ^ first                        ^ open                     ^ the frame the stream is at

Only so much is kept that memory and work stay bounded however long somebody talks.

Legend: T frames, D width.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from evenear.units import Frames

__all__ = ["MOST_JUDGED_FRAMES", "HeardFrames"]

MOST_JUDGED_FRAMES: Frames = 160
"""Of a longer open tail only the last frames are judged; work stays bounded whatever is said."""


class HeardFrames(NamedTuple):
    """Frames of one stream, in the pieces in which they came."""

    pieces: tuple[Tensor, ...] = ()
    first: Frames = 0
    """The frame of the stream at which they begin."""
    open: Frames = 0
    """The frame at which the open tail begins."""
    said: tuple[tuple[int, Frames], ...] = ()
    """Words before the open tail, and the frame behind each; 0 is one that was cut."""

    @property
    def num_frames(self) -> Frames:
        """How many there are."""
        return sum(map(len, self.pieces))

    @property
    def words(self) -> tuple[int, ...]:
        """The words before the open tail."""
        return tuple(word for word, _ in self.said if word)

    def whole(self) -> Tensor:
        """All frames (T, D)."""
        return torch.cat(self.pieces)

    def tail(self) -> Tensor:
        """The last frames (T, D) of the open tail; not more than may be judged."""
        return self.whole()[max(0, self.open - self.first) :][-MOST_JUDGED_FRAMES:]

    def more(self, frames_TD: Tensor) -> "HeardFrames":
        """With frames that follow."""
        longer = self._replace(pieces=(*self.pieces, frames_TD))
        if len(longer.pieces) < 2 * MOST_JUDGED_FRAMES and not longer._is_long():
            return longer
        if longer._is_long():
            longer = longer.since(longer.first + longer.num_frames - MOST_JUDGED_FRAMES)
        return longer._replace(pieces=(longer.whole(),))

    def settled(
        self, words: Iterable[tuple[int, Frames]], frame: Frames, most_before: Frames
    ) -> "HeardFrames":
        """When the first open words became final.

        Args:
            words: The words, and the frame behind each.
            frame: Where the open tail begins now.
            most_before: Frames that are kept of what was said.
        """
        frame = max(frame, self.first)
        said = (*self.said, *words)
        starts = (self.first, *(end for _, end in said), frame)
        start = min(start for start in starts if start >= frame - most_before)
        return self._replace(open=frame, said=said).since(start)

    def since(self, frame: Frames) -> "HeardFrames":
        """Without what lies before a frame: words that ended there or were cut by it, too."""
        frame = max(frame, self.first)
        starts = (self.first, *(end for _, end in self.said))
        said = tuple(
            (word if start >= frame else 0, end)
            for start, (word, end) in zip(starts, self.said, strict=False)
            if end > frame
        )
        left, pieces = self.num_frames - (frame - self.first), self.pieces
        if left < self.num_frames:
            pieces = (self.whole()[-left:],) if left > 0 else ()
        return HeardFrames(pieces, frame, max(frame, self.open), said)

    def _is_long(self) -> bool:
        return self.first + self.num_frames - self.open >= 2 * MOST_JUDGED_FRAMES
