# SPDX-License-Identifier: Apache-2.0
"""The two formats that hold everything: SegLST, a JSON list, and json, one JSON object.

SegLST items have `session_id, speaker, start_time, end_time, words`, as in CHiME and meeteval; ours
add `channel`, and, where they are known, `confidence` and `word_times`. Keys of other programs are
ignored, and so is a channel that is no number. Times may be strings, as in CHiME's files.

The json format has our own names, with units, and the whole text first:

    {"text": …, "segments": [{"session_id": …, "channel": …, "speaker": …, "start_seconds": …,
     "end_seconds": …, "text": …, "confidence": …, "words": [{"text": …, "start_seconds": …,
     "end_seconds": …, "confidence": …}]}]}

Source: SegLST as documented by von Neumann et al. 2023, "MeetEval", arXiv:2307.11394.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from evenear.errors import TranscriptError
from evenear.transcripts.segments import Segment, Word, at_line, milliseconds, one_line

__all__ = ["format_json", "format_seglst", "parse_json", "parse_seglst"]

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")


class _Keys(NamedTuple):
    """What a format calls the things it holds."""

    text: str
    start: str
    end: str
    words: str
    word: str


_SEGLST = _Keys("words", "start_time", "end_time", "word_times", "word")
_JSON = _Keys("text", "start_seconds", "end_seconds", "words", "text")


def format_seglst(segments: Sequence[Segment]) -> str:
    """The segments as a SegLST list, one segment per line, in their order."""
    return _json_list([_plain_segment(segment, _SEGLST) for segment in segments], "") + "\n"


def parse_seglst(text: str, session_id: str) -> list[Segment]:
    """The segments of a SegLST list; `session_id` is for items that have none.

    Raises:
        TranscriptError: It is no JSON list, or an item lacks a key or has a value that does not
            fit; the message says on which line.
    """
    start = _SPACE.match(text).end()  # pyright: ignore[reportOptionalMemberAccess]
    _check_json(text, start, "[", "a SegLST file is a JSON list of segments")
    return _segments(text, start, _SEGLST, session_id)


def format_json(segments: Sequence[Segment]) -> str:
    """The segments as one JSON object, with the whole text first, in their order."""
    text = json.dumps(
        " ".join(one_line(segment.text) for segment in segments if segment.text.split()),
        ensure_ascii=False,
    )
    items = _json_list([_plain_segment(segment, _JSON) for segment in segments], "  ")
    return f'{{\n  "text": {text},\n  "segments": {items}\n}}\n'


def parse_json(text: str, session_id: str) -> list[Segment]:
    """The segments of our JSON object; `session_id` is for segments that have none.

    Raises:
        TranscriptError: It is no such object, or a segment lacks a key or has a value that does not
            fit; the message says on which line.
    """
    start = _SPACE.match(text).end()  # pyright: ignore[reportOptionalMemberAccess]
    _check_json(text, start, "{", 'a json transcript is an object with the key "segments"')
    at = _skip(text, start + 1)
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)  # past the colon
        if key == "segments" and text[at] == "[":
            return _segments(text, at, _JSON, session_id)
        _, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)
    raise TranscriptError('Line 1: a json transcript must have a list under the key "segments".')


def _json_list(items: list[dict[str, Any]], indent: str) -> str:
    """A JSON list with one item per line."""
    lines = [f"{indent}  {json.dumps(item, ensure_ascii=False)}" for item in items]
    return "[\n" + ",\n".join(lines) + f"\n{indent}]" if lines else "[]"


def _plain_segment(segment: Segment, keys: _Keys) -> dict[str, Any]:
    item: dict[str, Any] = {
        "session_id": segment.session_id,
        "speaker": segment.speaker,
        "channel": segment.channel,
        keys.start: milliseconds(segment.start_seconds) / 1000,
        keys.end: milliseconds(segment.end_seconds) / 1000,
        keys.text: segment.text,
    }
    if segment.confidence is not None:
        item["confidence"] = round(float(segment.confidence), 4)
    if segment.words:
        item[keys.words] = [_plain_word(word, keys) for word in segment.words]
    return item


def _plain_word(word: Word, keys: _Keys) -> dict[str, Any]:
    item: dict[str, Any] = {
        keys.word: word.text,
        keys.start: milliseconds(word.start_seconds) / 1000,
        keys.end: milliseconds(word.end_seconds) / 1000,
    }
    if word.confidence is not None:
        item["confidence"] = round(float(word.confidence), 4)
    return item


def _check_json(text: str, start: int, bracket: str, wanted: str) -> None:
    """Refuse what is no JSON at all, or JSON of another kind."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise TranscriptError(f"Line {error.lineno}: {wanted}, but {error.msg}.") from None
    except (RecursionError, ValueError):  # nested too deeply, or a number of thousands of digits
        raise TranscriptError(f"Line 1: {wanted}, but this JSON is out of all bounds.") from None
    if text[start] != bracket:
        line = text.count("\n", 0, start) + 1
        raise TranscriptError(f"Line {line}: {wanted}, but it begins with {text[start]!r}.")


def _skip(text: str, at: int) -> int:
    """The next position that is not white space."""
    return _SPACE.match(text, at).end()  # pyright: ignore[reportOptionalMemberAccess]


def _items(text: str, start: int) -> Iterator[tuple[int, Any]]:
    """The items of the valid JSON list at `start`, each with its line number."""
    line = text.count("\n", 0, start) + 1
    at = _skip(text, start + 1)
    counted = start
    while text[at] != "]":
        line += text.count("\n", counted, at)
        counted = at
        item, at = _DECODER.raw_decode(text, at)
        yield line, item
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _segments(text: str, start: int, keys: _Keys, session_id: str) -> list[Segment]:
    segments = []
    for line, item in _items(text, start):
        with at_line(line):
            segments.append(_segment(item, keys, session_id))
    return segments


def _segment(item: Any, keys: _Keys, session_id: str) -> Segment:
    if not isinstance(item, dict):
        raise TranscriptError(f"a segment must be an object, got {_kind(item)}.")
    words = item.get(keys.words)
    if not isinstance(words, list | None):
        raise TranscriptError(f"{keys.words!r} must be a list of words, got {_kind(words)}.")
    channel = str(item.get("channel"))
    return Segment(
        session_id=_text(item, "session_id") if "session_id" in item else session_id,
        speaker=_text(item, "speaker") if item.get("speaker") is not None else "",
        start_seconds=_number(item, keys.start),
        end_seconds=_number(item, keys.end),
        text=_text(item, keys.text),
        words=tuple(_word(word, keys) for word in words or ()),
        channel=int(channel) if re.fullmatch("[0-9]{1,9}", channel) else 0,
        confidence=_confidence(item),
    )


def _word(item: Any, keys: _Keys) -> Word:
    if not isinstance(item, dict):
        raise TranscriptError(f"each of {keys.words!r} must be an object, got {_kind(item)}.")
    return Word(
        text=_text(item, keys.word).strip(),
        start_seconds=_number(item, keys.start),
        end_seconds=_number(item, keys.end),
        confidence=_confidence(item),
    )


def _text(item: dict[str, Any], key: str) -> str:
    if key not in item:
        raise TranscriptError(f"the key {key!r} is missing; found {', '.join(item) or 'none'}.")
    if not isinstance(item[key], str):
        raise TranscriptError(f"{key!r} must be a string, got {_kind(item[key])}.")
    return item[key]


def _number(item: dict[str, Any], key: str) -> float:
    if key not in item:
        raise TranscriptError(f"the key {key!r} is missing; found {', '.join(item) or 'none'}.")
    value = item[key]
    if not isinstance(value, int | float | str) or isinstance(value, bool):
        raise TranscriptError(f"{key!r} must be a number, got {_kind(value)}.")
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise TranscriptError(f"{key!r} must be a number, got {value!r}.") from None


def _confidence(item: dict[str, Any]) -> float | None:
    return None if item.get("confidence") is None else _number(item, "confidence")


def _kind(value: Any) -> str:
    """A JSON value for a message, shortened."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}…"
