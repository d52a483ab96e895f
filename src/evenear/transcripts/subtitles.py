# SPDX-License-Identifier: Apache-2.0
"""Subtitles: SRT for players, WebVTT for web pages.

WebVTT has room for the speaker (`<v Alice>`) and escapes `&`, `<` and `>`. SRT has neither: the
speaker is written before the text as `[Alice]: `, and `-->` inside a text becomes `->`. WebVTT
wants an end after its start, so a cue there lasts at least 1 ms.

Source: WebVTT: The Web Video Text Tracks Format, W3C 2019, https://www.w3.org/TR/webvtt1/. SRT has
no standard; this follows what SubRip wrote.
"""

import html
import re
from collections.abc import Sequence

from evenear.errors import TranscriptError
from evenear.transcripts.segments import (
    Segment,
    at_line,
    in_order,
    milliseconds,
    one_line,
    only_session,
)

__all__ = ["format_srt", "format_vtt", "parse_srt", "parse_vtt"]

_TIME = r"(?:(\d{1,9}):)?(\d{1,2}):(\d{1,2})[,.](\d{1,3})"
_TIMING = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")
_SRT_SPEAKER = re.compile(r"\[([^\]]*)\]:(?: |$)")
_VTT_TAG = re.compile(r"<([^>]*)>")
_VTT_VOICE = re.compile(r"v(?:\.\S*)?(?:\s+(.*))?")


def format_srt(segments: Sequence[Segment]) -> str:
    """The segments of one session as SRT, sorted by start.

    Raises:
        TranscriptError: The segments are of several sessions.
    """
    only_session(segments, "srt")
    cues = []
    for number, segment in enumerate(in_order(segments), start=1):
        start = _clock(milliseconds(segment.start_seconds), ",")
        end = _clock(milliseconds(segment.end_seconds), ",")
        text = _unarrowed(segment.text)
        speaker = _unarrowed(segment.speaker).translate({ord("["): "(", ord("]"): ")"})
        if speaker or _SRT_SPEAKER.match(text):
            text = f"[{speaker}]: {text}".rstrip()
        cues.append(f"{number}\n{start} --> {end}\n{text}\n")
    return "\n".join(cues)


def parse_srt(text: str, session_id: str) -> list[Segment]:
    """The segments of an SRT file. Cue numbers may be missing; blank lines in a text are allowed.

    Raises:
        TranscriptError: A line is neither a cue number, a timing nor the text of a cue; the message
            says which.
    """
    lines = text.split("\n")
    timings = [i for i, line in enumerate(lines) if "-->" in line]
    for i, line in enumerate(lines[: timings[0]] if timings else lines):
        if line.strip() and not line.strip().isdecimal():
            raise TranscriptError(f"Line {i + 1}: expected a cue number, got {line[:60]!r}.")
    # The number before a timing belongs to that cue, not to the text of the one before.
    ends = [i - lines[i - 1].strip().isdecimal() for i in timings[1:]]
    segments = []
    for i, end in zip(timings, [*ends, len(lines)], strict=False):
        spoken = one_line(" ".join(lines[i + 1 : end]))
        match = _SRT_SPEAKER.match(spoken)
        with at_line(i + 1):
            start_seconds, end_seconds = _timing(lines[i])
            segments.append(
                Segment(
                    session_id=session_id,
                    speaker=match[1] if match else "",
                    start_seconds=start_seconds,
                    end_seconds=end_seconds,
                    text=spoken[match.end() :] if match else spoken,
                )
            )
    return segments


def format_vtt(segments: Sequence[Segment]) -> str:
    """The segments of one session as WebVTT, sorted by start.

    Raises:
        TranscriptError: The segments are of several sessions.
    """
    only_session(segments, "vtt")
    blocks = ["WEBVTT\n"]
    for segment in in_order(segments):
        start = milliseconds(segment.start_seconds)
        end = max(milliseconds(segment.end_seconds), start + 1)
        text = html.escape(one_line(segment.text), quote=False)
        speaker = html.escape(one_line(segment.speaker), quote=False)
        voice = f"<v {speaker}>" if speaker else ""
        blocks.append(f"{_clock(start, '.')} --> {_clock(end, '.')}\n{voice}{text}\n")
    return "\n".join(blocks)


def parse_vtt(text: str, session_id: str) -> list[Segment]:
    """The segments of a WebVTT file: one for each voice of each cue. Notes and styles are skipped.

    Raises:
        TranscriptError: The header is missing, or a cue has no timing; the message says where.
    """
    (_, header), *blocks = _blocks(text.split("\n")) or [(0, [""])]
    if not re.match(r"WEBVTT(?:\s|$)", text) or "-->" in "".join(header):
        raise TranscriptError("Line 1: a WebVTT file must begin with WEBVTT and a blank line.")
    segments = []
    for start, block in blocks:
        if re.match(r"(?:NOTE|STYLE|REGION)(?:\s|$)", block[0]):
            continue
        has_name = "-->" not in block[0]
        with at_line(start + 1 + has_name):
            if has_name and len(block) == 1:
                raise TranscriptError(f"expected the timing of a cue after {block[0][:60]!r}.")
            start_seconds, end_seconds = _timing(block[has_name])
            for speaker, spoken in _voices(" ".join(block[has_name + 1 :])):
                segments.append(
                    Segment(
                        session_id=session_id,
                        speaker=speaker,
                        start_seconds=start_seconds,
                        end_seconds=end_seconds,
                        text=spoken,
                    )
                )
    return segments


def _unarrowed(text: str) -> str:
    """One line without what SRT would take for a timing."""
    return re.sub("-+->", "->", one_line(text))


def _clock(moment_milliseconds: int, mark: str) -> str:
    """A moment as 00:00:00,000, with a comma for SRT and a point for WebVTT."""
    seconds, rest = divmod(moment_milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{mark}{rest:03d}"


def _timing(line: str) -> tuple[float, float]:
    """Start and end, in seconds, from a line such as 00:00:01,000 --> 00:00:02,500."""
    match = _TIMING.fullmatch(line)
    if match is None:
        raise TranscriptError(
            f"expected a timing such as 00:00:01.000 --> 00:00:02.500, got {line[:60]!r}."
        )
    moments = []
    for hours, minutes, seconds, fraction in (match.groups()[:4], match.groups()[4:]):
        whole = (int(hours or 0) * 60 + int(minutes)) * 60 + int(seconds)
        moments.append((whole * 1000 + int(fraction.ljust(3, "0"))) / 1000)
    return moments[0], moments[1]


def _blocks(lines: list[str]) -> list[tuple[int, list[str]]]:
    """The runs of lines between blank lines, each with the position of its first line."""
    blocks: list[tuple[int, list[str]]] = []
    was_blank = True
    for i, line in enumerate(lines):
        is_blank = not line.strip()
        if not is_blank and was_blank:
            blocks.append((i, []))
        if not is_blank:
            blocks[-1][1].append(line)
        was_blank = is_blank
    return blocks


def _voices(payload: str) -> list[tuple[str, str]]:
    """Speaker and text of each voice in a cue; other tags are dropped."""
    voices = [["", ""]]
    at = 0
    for tag in _VTT_TAG.finditer(payload):
        voices[-1][1] += payload[at : tag.start()]
        at = tag.end()
        voice = _VTT_VOICE.fullmatch(tag[1])
        if voice:
            voices.append([voice[1] or "", ""])
        elif tag[1] == "/v":
            voices.append(["", ""])
    voices[-1][1] += payload[at:]
    named = [
        (one_line(html.unescape(name)), one_line(html.unescape(text))) for name, text in voices
    ]
    return [voice for voice in named if voice[1]] or [max(named)]
