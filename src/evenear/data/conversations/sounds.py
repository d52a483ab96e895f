# SPDX-License-Identifier: Apache-2.0
"""Recordings of single speakers, ready to be mixed: their sound, and where in it the speech is.

Recordings often begin and end with silence, and whoever learns when a turn ends must know when the
speech ends, not the file. So the speech is found by its level, once, and everything else is
relative to it. `FileSounds` decodes files when they are asked for; `SoundStore` keeps decoded
16-bit sound in one array on the disk, for training.

Legend: N samples, W windows.

Our reading: speech begins and ends with the first and last windows of 10 ms that are less than 40
dB below the loudest ones, with 30 ms around them.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evenear.atomic import write_bytes, writing
from evenear.audio import read_audio
from evenear.data.corpora.manifests import Utterance
from evenear.errors import ManifestError
from evenear.units import SAMPLE_RATE, Samples

__all__ = ["FileSounds", "SoundStore", "Sounds", "Voice", "build_sound_store", "speech_bounds"]

_WINDOW = 160
_MARGIN_WINDOWS = 3
_BELOW_LOUDEST_DB = 40.0
_FEWEST = 800


@dataclass(frozen=True)
class Voice:
    """One recording of one speaker."""

    utterance_id: str
    speaker: str
    text: str
    corpus: str = ""
    """Where it comes from: those who talk to each other were recorded alike."""


class Sounds(ABC):
    """Recordings to choose from, by number."""

    voices: Sequence[Voice]

    @abstractmethod
    def bounds(self, index: int) -> tuple[Samples, Samples]:
        """The first sample of a recording's speech, and one past its last."""

    @abstractmethod
    def samples(self, index: int) -> NDArray[np.float32]:
        """All of a recording, in [-1, 1]."""

    def by_id(self) -> dict[str, int]:
        """The number of each recording."""
        return {voice.utterance_id: index for index, voice in enumerate(self.voices)}

    @cached_property
    def by_speaker(self) -> dict[str, list[int]]:
        """The numbers of each speaker's recordings; found once, as every conversation asks."""
        found: dict[str, list[int]] = {}
        for index, voice in enumerate(self.voices):
            found.setdefault(voice.speaker, []).append(index)
        return found

    @cached_property
    def by_corpus(self) -> dict[str, list[str]]:
        """The speakers of each corpus, in the order of `by_speaker`."""
        found: dict[str, list[str]] = {}
        for speaker, own in self.by_speaker.items():
            found.setdefault(self.voices[own[0]].corpus, []).append(speaker)
        return found


class FileSounds(Sounds):
    """Recordings that are decoded when they are asked for.

    Args:
        utterances: Where they are and what is said.
        cached: Decoded recordings to keep.
    """

    def __init__(self, utterances: Sequence[Utterance], *, cached: int = 64) -> None:
        self.utterances = utterances
        self.voices = [
            Voice(u.utterance_id, u.speaker, u.text, str(u.attributes.get("corpus", "")))
            for u in utterances
        ]
        self._read = lru_cache(cached)(self._decode)
        self._bounds: dict[int, tuple[Samples, Samples]] = {}

    def bounds(self, index: int) -> tuple[Samples, Samples]:
        """The first sample of a recording's speech, and one past its last."""
        if index not in self._bounds:
            self._bounds[index] = speech_bounds(self._read(index))
        return self._bounds[index]

    def samples(self, index: int) -> NDArray[np.float32]:
        """All of a recording, in [-1, 1]."""
        return self._read(index)

    def _decode(self, index: int) -> NDArray[np.float32]:
        one = self.utterances[index]
        samples_N = read_audio(one.audio)
        if one.is_partial:
            first = round(one.start_seconds * SAMPLE_RATE)
            samples_N = samples_N[first : first + round(one.seconds * SAMPLE_RATE)]
        return samples_N


class SoundStore(Sounds):
    """Decoded recordings in one array on the disk, made by `build_sound_store`.

    Args:
        folder: Where it is.
    """

    def __init__(self, folder: Path) -> None:
        rows = json.loads((folder / "sounds.json").read_text(encoding="utf-8"))
        self.voices = [Voice(*row[:-4]) for row in rows]
        self._places = [tuple(row[-4:]) for row in rows]
        self._sound_N = np.load(folder / "sounds.npy", mmap_mode="r")

    def bounds(self, index: int) -> tuple[Samples, Samples]:
        """The first sample of a recording's speech, and one past its last."""
        _, _, first, end = self._places[index]
        return first, end

    def samples(self, index: int) -> NDArray[np.float32]:
        """All of a recording, in [-1, 1]."""
        offset, length, _, _ = self._places[index]
        return np.asarray(self._sound_N[offset : offset + length], np.float32) / 32768.0


def build_sound_store(
    utterances: Sequence[Utterance],
    folder: Path,
    progress: Callable[[int], None] | None = None,
) -> SoundStore:
    """Decode recordings into a store, or open the one that is there if it holds the same.

    Recordings without any sound are left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [u.utterance_id for u in utterances]
    listed = folder / "wanted.json"
    if listed.exists() and json.loads(listed.read_text(encoding="utf-8")) == wanted:
        return SoundStore(folder)
    files = FileSounds(utterances, cached=1)
    rows, parts, offset = [], [], 0
    for index, voice in enumerate(files.voices):
        samples_N = files.samples(index)
        first, end = files.bounds(index)
        if end - first >= _FEWEST:
            parts.append(np.round(samples_N.clip(-1, 1) * 32767).astype(np.int16))
            place = (offset, len(samples_N), first, end)
            rows.append([*astuple(voice), *place])
            offset += len(samples_N)
        if progress is not None:
            progress(1)
    if not rows:
        raise ManifestError("A store of sounds needs at least one recording with speech in it.")
    with writing(folder / "sounds.npy") as file:
        np.save(file, np.concatenate(parts))
    write_bytes(folder / "sounds.json", json.dumps(rows).encode())
    write_bytes(listed, json.dumps(wanted).encode())  # last: it vouches for the rest
    return SoundStore(folder)


def speech_bounds(samples_N: NDArray[np.float32]) -> tuple[Samples, Samples]:
    """The first sample of the speech, and one past its last; (0, 0) if there is only silence."""
    num_windows = len(samples_N) // _WINDOW
    if not num_windows:
        return (0, len(samples_N)) if np.any(samples_N) else (0, 0)
    windows_WN = samples_N[: num_windows * _WINDOW].reshape(num_windows, _WINDOW)
    power_W = np.square(windows_WN, dtype=np.float64).mean(axis=1)
    loudest = float(np.percentile(power_W, 95))
    if loudest <= 0:
        return (0, len(samples_N)) if np.any(samples_N) else (0, 0)
    (loud,) = np.nonzero(power_W > loudest * 10 ** (-_BELOW_LOUDEST_DB / 10))
    first = max(0, int(loud[0]) - _MARGIN_WINDOWS) * _WINDOW
    end = min(len(samples_N), (int(loud[-1]) + 1 + _MARGIN_WINDOWS) * _WINDOW)
    return first, end
