# SPDX-License-Identifier: Apache-2.0
"""New sentences from recorded ones: the first words of one utterance and the last of another.

A model that hears few recorded sentences learns them by heart. Parted between words and joined
anew, the same sound makes a sentence that nobody said. A seam is a frame at which an utterance can
be parted, between two of its words; `evenear.training.seams` finds them.

Legend: T frames, M mel bins.

Source: after Lam et al. 2021, arXiv:2104.01393, which replaces aligned words one by one.
Departs from the paper: two utterances are parted once each, and speakers may change there.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evenear.atomic import write_bytes
from evenear.data.store import FrameStore

__all__ = ["Seams", "Splicer", "read_seams", "write_seams"]

Seams = Mapping[tuple[str, int], Sequence[int | None]]
"""By utterance and copy: the frame of the seam behind each word but the last, None for none."""

_TRIES = 8
"""Pairs to try before an utterance is left as it is."""


class Splicer:
    """Makes sentences from the stored utterances whose seams are known.

    Args:
        store: Frames and texts.
        seams: Where they can be parted.
    """

    def __init__(self, store: FrameStore, seams: Seams) -> None:
        self.store = store
        self._seams: dict[int, list[tuple[int, int]]] = {}
        for index, one in enumerate(store.utterances):
            frames = seams.get((one.utterance_id, one.copy), ())
            known = [(k + 1, frame) for k, frame in enumerate(frames) if frame is not None]
            if known:
                self._seams[index] = known
        self._places = list(self._seams)

    def splice(
        self, stored: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], str] | None:
        """The beginning of a stored utterance, and an ending no longer than its own was.

        Returns:
            Frames (T, M) and their text, or None if it cannot be parted or no ending fits.
        """
        if stored not in self._seams:
            return None
        words, seam = self._one(stored, rng)
        room = self.store.utterances[stored].num_frames - seam
        for _ in range(_TRIES):
            other = self._places[int(rng.integers(len(self._places)))]
            skipped, start = self._one(other, rng)
            if other == stored or self.store.utterances[other].num_frames - start > room:
                continue
            frames_TM = np.concatenate(
                [self.store.frames(stored)[:seam], self.store.frames(other)[start:]]
            )
            first = self.store.utterances[stored].text.split()[:words]
            last = self.store.utterances[other].text.split()[skipped:]
            return frames_TM, " ".join([*first, *last])
        return None

    def _one(self, stored: int, rng: np.random.Generator) -> tuple[int, int]:
        """Words before one of its seams, and its frame."""
        known = self._seams[stored]
        return known[int(rng.integers(len(known)))]


def write_seams(seams: Seams, path: Path) -> None:
    """Write seams as JSON lines, whole or not at all."""
    rows = (
        {"utterance_id": name, "copy": copy, "seams": list(frames)}
        for (name, copy), frames in sorted(seams.items())
    )
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_bytes(path, lines.encode())


def read_seams(path: Path) -> Seams:
    """Read what `write_seams` wrote."""
    rows = map(json.loads, path.read_text(encoding="utf-8").split("\n")[:-1])
    return {(row["utterance_id"], row["copy"]): row["seams"] for row in rows}
