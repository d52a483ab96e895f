# SPDX-License-Identifier: Apache-2.0
"""New sentences from recorded ones: the first words of one utterance, words from others, the last.

A model that hears few recorded sentences learns them by heart. Parted between words and joined
anew, the same sound makes a sentence that nobody said. A splice point is a frame at which an
utterance can be parted, between two of its words; `evenear.training.splicepoints` finds them.

Legend: T frames, M mel bins.

Source: after Lam et al. 2021, arXiv:2104.01393, which replaces aligned words one by one.
Departs from the paper: runs of words are joined, and speakers may change between them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evenear.atomic import write_bytes
from evenear.data.batching.store import FrameStore

__all__ = ["SplicePoints", "Splicer", "read_splice_points", "write_splice_points"]

SplicePoints = Mapping[tuple[str, int], Sequence[int | None]]
"""By utterance and copy: the frame of the point behind each word but the last, None for none."""

_TRIES = 8
"""Utterances to try before a place in a sentence is left empty."""
_MOST_BETWEEN = 3
"""Points between the two ends of what is taken out of the middle of an utterance, and one more."""


class _Piece(NamedTuple):
    """A run of words of one utterance, and the frames in which they are said."""

    stored: int
    words: slice
    frames: slice


class Splicer:
    """Makes sentences from the stored utterances whose splice points are known.

    Args:
        store: Frames and texts.
        splice_points: Where they can be parted.
        middle_chance: Chance that words from the middle of another utterance come between the
            beginning and the ending; then again that more do.
    """

    def __init__(
        self, store: FrameStore, splice_points: SplicePoints, *, middle_chance: float = 0.5
    ) -> None:
        self.store, self.middle_chance = store, middle_chance
        self._splice_points: dict[int, list[tuple[int, int]]] = {}
        for index, one in enumerate(store.utterances):
            frames = splice_points.get((one.utterance_id, one.copy), ())
            known = [(k + 1, frame) for k, frame in enumerate(frames) if frame is not None]
            if known:
                self._splice_points[index] = known
        self._places = list(self._splice_points)

    def splice(
        self, stored: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], str] | None:
        """The beginning of a stored utterance and words of others, no longer than it was itself.

        Returns:
            Frames (T, M) and their text, or None if it cannot be parted or no ending fits.
        """
        if stored not in self._splice_points:
            return None
        words, point = self._splice_point(stored, rng)
        pieces = [_Piece(stored, slice(words), slice(point))]
        room = self.store.utterances[stored].num_frames - point
        while rng.random() < self.middle_chance:
            middle = self._fitting(self._middle, stored, room, rng)
            if middle is None:
                break
            pieces.append(middle)
            room -= middle.frames.stop - middle.frames.start
        ending = self._fitting(self._ending, stored, room, rng)
        if ending is None:
            return None
        pieces.append(ending)
        frames_TM = np.concatenate([self.store.frames(p.stored)[p.frames] for p in pieces])
        texts = (self.store.utterances[p.stored].text.split()[p.words] for p in pieces)
        return frames_TM, " ".join(word for text in texts for word in text)

    def _fitting(
        self,
        take: Callable[[int, np.random.Generator], _Piece | None],
        stored: int,
        room: int,
        rng: np.random.Generator,
    ) -> _Piece | None:
        """What `take` takes of some utterance but this one, if it finds what fits into the room."""
        for _ in range(_TRIES):
            other = self._places[int(rng.integers(len(self._places)))]
            piece = take(other, rng)
            if other != stored and piece and piece.frames.stop - piece.frames.start <= room:
                return piece
        return None

    def _ending(self, stored: int, rng: np.random.Generator) -> _Piece:
        words, point = self._splice_point(stored, rng)
        end = self.store.utterances[stored].num_frames
        return _Piece(stored, slice(words, None), slice(point, end))

    def _middle(self, stored: int, rng: np.random.Generator) -> _Piece | None:
        known = self._splice_points[stored]
        if len(known) < 2:
            return None
        first = int(rng.integers(len(known) - 1))
        last = min(first + int(rng.integers(1, _MOST_BETWEEN + 1)), len(known) - 1)
        (begin, start), (end, stop) = known[first], known[last]
        return _Piece(stored, slice(begin, end), slice(start, stop))

    def _splice_point(self, stored: int, rng: np.random.Generator) -> tuple[int, int]:
        """Words before one of its splice points, and its frame."""
        known = self._splice_points[stored]
        return known[int(rng.integers(len(known)))]


def write_splice_points(splice_points: SplicePoints, path: Path) -> None:
    """Write splice points as JSON lines, whole or not at all."""
    rows = (
        {"utterance_id": name, "copy": copy, "splice_points": list(frames)}
        for (name, copy), frames in sorted(splice_points.items())
    )
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_bytes(path, lines.encode())


def read_splice_points(path: Path) -> SplicePoints:
    """Read what `write_splice_points` wrote."""
    rows = map(json.loads, path.read_text(encoding="utf-8").split("\n")[:-1])
    return {(row["utterance_id"], row["copy"]): row["splice_points"] for row in rows}
