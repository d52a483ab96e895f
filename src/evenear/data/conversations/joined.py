# SPDX-License-Identifier: Apache-2.0
"""Turns of several recordings: each speaker's recordings said one after another.

A corpus of single words has no turn in which one word follows another. Here a turn is a few of a
speaker's recordings, their speech cut out, with short pauses between; which ones is drawn once, so
a turn has a name and is the same whenever it is asked for.

Legend: N samples.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evenear.data.conversations.sounds import Sounds, Voice
from evenear.errors import ConfigError
from evenear.seeding import rng_for
from evenear.units import SAMPLE_RATE, Samples, Seconds

__all__ = ["JoinedSounds"]


class _Joined(NamedTuple):
    """Recordings by number, and the samples of silence behind each but the last."""

    parts: tuple[int, ...]
    pauses: tuple[Samples, ...]


class JoinedSounds(Sounds):
    """Recordings of some sounds, joined to longer ones of the same speaker.

    Args:
        sounds: What is joined.
        count: Joined recordings to draw; each speaker gets a share as large as theirs was.
        parts: Fewest and most recordings in one.
        pause_seconds: Least and greatest silence between two.
        seed: Another seed joins others.

    Raises:
        ConfigError: Fewer than one part is asked for.
    """

    def __init__(
        self,
        sounds: Sounds,
        *,
        count: int,
        parts: tuple[int, int],
        pause_seconds: tuple[Seconds, Seconds] = (0.0, 0.15),
        seed: int = 0,
    ) -> None:
        if not 1 <= parts[0] <= parts[1]:
            raise ConfigError(
                f"A turn must be of 1 recording or more, got {parts[0]} to {parts[1]}.",
                hint="Give the fewest first, such as (1, 3).",
            )
        self._sounds = sounds
        self._joined: list[_Joined] = []
        self.voices: list[Voice] = []
        for number in range(count):
            rng = rng_for(seed, "joined recordings", number)
            speaker = sounds.voices[int(rng.integers(len(sounds.voices)))].speaker
            own = sounds.by_speaker[speaker]
            size = int(rng.integers(parts[0], parts[1] + 1))
            chosen = tuple(own[int(i)] for i in rng.integers(len(own), size=size))
            pauses = rng.uniform(*pause_seconds, size=size - 1) * SAMPLE_RATE
            self._joined.append(_Joined(chosen, tuple(int(pause) for pause in pauses)))
            names = [sounds.voices[i].utterance_id for i in chosen]
            text = " ".join(sounds.voices[i].text for i in chosen)
            self.voices.append(Voice(f"{number}:{'+'.join(names)}", speaker, text))

    def bounds(self, index: int) -> tuple[Samples, Samples]:
        """The first sample of a recording's speech, and one past its last: all of it is speech."""
        joined = self._joined[index]
        places = [self._sounds.bounds(part) for part in joined.parts]
        return 0, sum(end - first for first, end in places) + sum(joined.pauses)

    def samples(self, index: int) -> NDArray[np.float32]:
        """All of a recording, its parts equally loud."""
        joined = self._joined[index]
        pieces: list[NDArray[np.float32]] = []
        for part, pause in zip(joined.parts, (*joined.pauses, 0), strict=True):
            first, end = self._sounds.bounds(part)
            speech_N = self._sounds.samples(part)[first:end]
            power = float(np.square(speech_N, dtype=np.float64).mean())
            pieces.append(speech_N * np.float32(0.05 / np.sqrt(max(power, 1e-12))))
            pieces.append(np.zeros(pause, np.float32))
        return np.concatenate(pieces)
