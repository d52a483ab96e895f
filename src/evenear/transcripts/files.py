# SPDX-License-Identifier: Apache-2.0
"""Transcript files: which format they have, reading them, and writing them whole or not at all."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from evenear.atomic import write_bytes
from evenear.errors import TranscriptError, nearest_names
from evenear.transcripts.nist import (
    format_ctm,
    format_rttm,
    format_stm,
    parse_ctm,
    parse_rttm,
    parse_stm,
)
from evenear.transcripts.plain import format_text, parse_text
from evenear.transcripts.segments import Segment
from evenear.transcripts.structured import format_json, format_seglst, parse_json, parse_seglst
from evenear.transcripts.subtitles import format_srt, format_vtt, parse_srt, parse_vtt

__all__ = [
    "FORMATS",
    "format_transcript",
    "parse_transcript",
    "read_transcript",
    "write_transcript",
]


class _Format(NamedTuple):
    write: Callable[[Sequence[Segment]], str]
    read: Callable[[str, str], list[Segment]]


_FORMATS = {
    "text": _Format(format_text, parse_text),
    "json": _Format(format_json, parse_json),
    "seglst": _Format(format_seglst, parse_seglst),
    "srt": _Format(format_srt, parse_srt),
    "vtt": _Format(format_vtt, parse_vtt),
    "ctm": _Format(format_ctm, parse_ctm),
    "stm": _Format(format_stm, parse_stm),
    "rttm": _Format(format_rttm, parse_rttm),
}

FORMATS: tuple[str, ...] = tuple(_FORMATS)
"""The names of the formats that can be read and written."""

_SUFFIXES = {f".{name}": name for name in FORMATS if name != "text"} | {".txt": "text"}


def format_transcript(segments: Sequence[Segment], format: str) -> str:  # noqa: A002
    """The segments as the text of a file.

    Args:
        segments: In any order; they may overlap.
        format: One of `FORMATS`.

    Raises:
        TranscriptError: The format is unknown, or cannot hold these segments.
    """
    return _format_named(format).write(segments)


def parse_transcript(
    text: str,
    format: str,  # noqa: A002
    *,
    session_id: str = "session",
) -> list[Segment]:
    """The segments in the text of a file; the inverse of `format_transcript`.

    Args:
        text: What the file holds.
        format: One of `FORMATS`.
        session_id: The session, where the format does not name it.

    Raises:
        TranscriptError: The text does not have this format; the message says on which line.
    """
    normal = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return _format_named(format).read(normal, session_id)


def read_transcript(
    path_or_text: str | os.PathLike[str],
    format: str | None = None,  # noqa: A002
) -> list[Segment]:
    """Read a transcript file, or the text of one.

    Args:
        path_or_text: A path; or, if it is a `str` with a line break in it, or "", the text itself.
        format: One of `FORMATS`; if None, it follows from the suffix or the first line.

    Returns:
        The segments. Where the format does not name the session, it is the file's name without its
        suffix.

    Raises:
        TranscriptError: The file is missing or not UTF-8, or does not have the format; the message
            says on which line.
    """
    if isinstance(path_or_text, str) and (path_or_text == "" or "\n" in path_or_text):
        form = format or _format_of_text(path_or_text, "This text")
        return parse_transcript(path_or_text, form)
    path = Path(path_or_text)
    text = _read_text(path)
    form = format or _format_of_path(path, text)
    session_id = path.name.removesuffix(path.suffix) or path.name
    try:
        return parse_transcript(text, form, session_id=session_id)
    except TranscriptError as error:
        raise TranscriptError(f"{path}: {error.message}", hint=error.hint) from None


def write_transcript(
    segments: Sequence[Segment],
    path: str | os.PathLike[str],
    format: str | None = None,  # noqa: A002
) -> None:
    """Write a transcript file. The file appears whole, or not at all.

    Args:
        segments: In any order; they may overlap.
        path: An existing file is replaced.
        format: One of `FORMATS`; if None, it follows from the suffix.

    Raises:
        TranscriptError: The format is unknown, or cannot hold these segments, or the file cannot be
            written.
    """
    target = Path(path)
    form = format or _format_of_path(target, "")
    try:
        content = format_transcript(segments, form).encode()
    except UnicodeEncodeError as error:
        raise TranscriptError(f"{target} cannot be written as UTF-8: {error}.") from None
    if target.exists() and not target.is_file():
        raise TranscriptError(f"{target} must be a file, or not exist yet.")
    try:
        write_bytes(target, content)
    except OSError as error:
        raise TranscriptError(f"{target} cannot be written: {error.strerror}.") from error


def _format_named(name: str) -> _Format:
    if name not in _FORMATS:
        raise TranscriptError(
            f"There is no transcript format {name!r}.", hint=nearest_names(name, FORMATS)
        )
    return _FORMATS[name]


def _format_of_path(path: Path, text: str) -> str:
    """The format, from the suffix, and for .json from the text if there is one."""
    suffix = path.suffix.lower()
    if path.name.lower().endswith(".seglst.json"):
        return "seglst"
    if suffix == ".json" and text.lstrip("\ufeff \t\r\n").startswith("["):
        return "seglst"
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    return _format_of_text(text, str(path))


def _format_of_text(text: str, name: str) -> str:
    """The format, from how the text begins, where that is unmistakable."""
    stripped = text.lstrip("\ufeff \t\r\n")
    first_lines = stripped.split("\n", 2)[:2]
    if stripped.startswith("WEBVTT"):
        return "vtt"
    if stripped.startswith("["):
        return "seglst"
    if stripped.startswith("{"):
        return "json"
    if any("-->" in line for line in first_lines):
        return "srt"
    if stripped.startswith("SPEAKER ") and len(first_lines[0].split()) in (9, 10):
        return "rttm"
    raise TranscriptError(
        f"{name} does not show which format it has.",
        hint=f"Say it with format=…, one of {', '.join(FORMATS)}.",
    )


def _read_text(path: Path) -> str:
    if not path.exists():
        raise TranscriptError(f"There is no file {path}.", hint="Check the name and the folder.")
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise TranscriptError(
            f"{path} must be UTF-8 text, but byte {error.start} is 0x{byte:02x}.",
            hint="If it is an old subtitle file: iconv -f latin1 -t utf-8 OLD > NEW",
        ) from None
    except OSError as error:
        raise TranscriptError(f"{path} cannot be read: {error.strerror}.") from None
