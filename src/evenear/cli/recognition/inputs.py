# SPDX-License-Identifier: Apache-2.0
"""What is to be transcribed: files, folders of files, one channel or each, and standard input.

`-` is standard input: a whole WAV, FLAC, … file, or raw 16-bit samples of one channel whose rate
is given, which are heard while they come.
"""

import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenear.errors import AudioError, ConfigError

if TYPE_CHECKING:
    import numpy as np

    from evenear.streaming import Recognizer
    from evenear.transcripts import Segment

__all__ = ["Input", "find_inputs"]

_SOUNDS = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf", ".w64"),
    *(".m4a", ".mp4", ".mov", ".avi", ".webm", ".mkv", ".wma", ".amr", ".aac"),
)
_RAW_SECONDS = 0.16


@dataclass(frozen=True)
class Input:
    """A recording, or one channel of it."""

    path: Path
    channel: int | None = None
    """From 0; None: all together."""
    raw_rate: int | None = None
    """Rate of raw samples."""

    @property
    def is_standard_input(self) -> bool:
        """Whether it is `-`."""
        return str(self.path) == "-"

    @property
    def name(self) -> str:
        """How it is called in what is printed."""
        whole = "standard input" if self.is_standard_input else str(self.path)
        return whole if self.channel is None else f"{whole}, channel {self.channel + 1}"

    @property
    def stem(self) -> str:
        """What transcripts are named after."""
        whole = "stdin" if self.is_standard_input else self.path.stem
        return whole if self.channel is None else f"{whole}.{self.channel + 1}"

    def segments(self, recognizer: "Recognizer") -> "Iterator[Segment]":
        """What is said in it, as soon as it is final.

        Raises:
            AudioError: It cannot be read; what could be read was handed out before.
        """
        if self.raw_rate is not None and self.is_standard_input:
            chunks = _raw_chunks(self.raw_rate)
            return recognizer.segments_of(chunks, sample_rate=self.raw_rate, session_id=self.stem)
        source = io.BytesIO(sys.stdin.buffer.read()) if self.is_standard_input else self.path
        return recognizer.segments(source, session_id=self.stem, channel=self.channel)


def find_inputs(
    paths: Sequence[Path],
    *,
    recursive: bool = False,
    channel: str | None = None,
    raw_rate: int | None = None,
) -> list[Input]:
    """The recordings that paths name: files, the sound files of folders, standard input.

    Args:
        paths: As they were given.
        recursive: Look into folders within folders.
        channel: A number from 1, or "each" for a transcript of each channel.
        raw_rate: Standard input is raw samples of this rate.

    Raises:
        ConfigError: A channel is no number, or `-` comes twice.
    """
    files: list[Path] = []
    for path in paths:
        files += _sounds_in(path, recursive) if path.is_dir() else [path]
    if [str(path) for path in files].count("-") > 1:
        raise ConfigError("Standard input can be given once.")
    if raw_rate is not None and "-" not in map(str, files):
        raise ConfigError(
            "A rate of raw samples is for standard input.", hint="Give - in place of a file."
        )
    if channel is None:
        return [Input(path, raw_rate=raw_rate if str(path) == "-" else None) for path in files]
    if channel == "each":
        return [Input(path, place) for path in files for place in range(_num_channels(path))]
    if not channel.isdecimal() or int(channel) < 1:
        raise ConfigError(f"A channel is a number from 1, or 'each', got {channel!r}.")
    return [Input(path, int(channel) - 1) for path in files]


def _sounds_in(folder: Path, recursive: bool) -> list[Path]:
    """The sound files of a folder, in order."""
    every = folder.rglob("*") if recursive else folder.iterdir()
    found = sorted(path for path in every if path.suffix.lower() in _SOUNDS and path.is_file())
    return found or [folder]  # a folder without any is refused where it would be heard


def _num_channels(path: Path) -> int:
    if str(path) == "-":
        raise ConfigError("Each channel of standard input cannot be heard: name one.")
    from evenear.audio import audio_info

    try:
        return audio_info(path).channels
    except AudioError:
        return 1  # said where the file is heard, so that others are heard nevertheless


def _raw_chunks(rate: int) -> "Iterator[np.ndarray]":
    """Raw 16-bit samples of standard input as they come; half a sample at the end is dropped."""
    import numpy as np

    size = 2 * max(1, round(_RAW_SECONDS * rate))
    rest = b""
    pipe: Any = sys.stdin.buffer
    while block := pipe.read1(size):
        block = rest + block
        whole = len(block) // 2 * 2
        rest = block[whole:]
        yield np.frombuffer(block[:whole], "<i2")
