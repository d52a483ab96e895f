# SPDX-License-Identifier: Apache-2.0
"""The formats of NIST's scoring tools: CTM (words), STM (segments) and RTTM (turns).

    CTM    session channel start duration word [confidence]
    STM    session channel speaker start end [<label>] text
    RTTM   SPEAKER session channel start duration <NA> <NA> speaker confidence <NA>

Fields are divided by white space, so white space inside a name becomes `_`; an empty name is
written `<NA>`. Channels count from 1 here (they may be letters when read, or count from 0 if a file
has a channel 0), and from 0 in a `Segment`. Lines that begin with `;;` are comments.

Source: Fiscus et al., SCTK, NIST; "The 2009 (RT-09) Rich Transcription Meeting Recognition
Evaluation Plan", NIST 2009, appendix A.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal, InvalidOperation

from evenear.errors import TranscriptError
from evenear.transcripts.segments import (
    Segment,
    Word,
    at_line,
    in_order,
    milliseconds,
    one_line,
)

__all__ = ["format_ctm", "format_rttm", "format_stm", "parse_ctm", "parse_rttm", "parse_stm"]

_MISSING = "<NA>"
_STM_LABEL = re.compile(r"<(?:[^<>\s]*,[^<>\s]*|NA)>")
_MOST_DIGITS = 12  # of seconds: about 30,000 years
_OTHER_RTTM_TYPES = (
    *("A/P", "CB", "EDIT", "FILLER", "IP", "LEXEME", "NON-LEX", "NON-SPEECH", "NOSCORE"),
    *("NO_RT_METADATA", "SEGMENT", "SPKR-INFO", "SU"),
)


def format_ctm(segments: Sequence[Segment]) -> str:
    """The words of the segments as CTM, by session, channel and start. Speakers are lost.

    Raises:
        TranscriptError: A segment has text but no word times, or two sessions would get one name.
    """
    for segment in segments:
        if segment.text.split() and not segment.words:
            raise TranscriptError(
                f"A ctm file needs the time of each word; {segment.text[:40]!r} in session "
                f"{segment.session_id!r} has none.",
                hint="Use stm, which needs times of segments only.",
            )
    names = _field_names("sessions", (segment.session_id for segment in segments))
    words: dict[tuple[str, int], list[Word]] = {}
    for segment in in_order(segments):
        words.setdefault((names[segment.session_id], segment.channel), []).extend(segment.words)
    order = {name: i for i, name in enumerate(names.values())}
    lines = []
    for name, channel in sorted(words, key=lambda key: (order[key[0]], key[1])):
        heard = words[name, channel]
        for word in sorted(heard, key=lambda word: milliseconds(word.start_seconds)):
            start, end = milliseconds(word.start_seconds), milliseconds(word.end_seconds)
            tail = "" if word.confidence is None else f" {word.confidence:.4f}"
            line = f"{name} {channel + 1} {_seconds(start)} {_seconds(end - start)} {word.text}"
            lines.append(f"{line}{tail}\n")
    return "".join(lines)


def parse_ctm(text: str, session_id: str) -> list[Segment]:  # noqa: ARG001
    """The words of a CTM file, as one segment per session and channel, with no speaker.

    Raises:
        TranscriptError: A line does not have the fields; the message says which.
    """
    rows = list(_rows(text, (5, 6), "session channel start duration word [confidence]"))
    first = _first_channel(fields[1] for _, fields in rows)
    words: dict[tuple[str, int], list[Word]] = {}
    for number, (name, channel, start, duration, spoken, *confidence) in rows:
        with at_line(number):
            word = Word(
                text=spoken,
                start_seconds=float(_decimal("start", start)),
                end_seconds=float(_decimal("start", start) + _decimal("duration", duration)),
                confidence=_confidence(confidence[0] if confidence else _MISSING),
            )
            key = _unnamed(name), _channel(channel, first)
        words.setdefault(key, []).append(word)
    segments = []
    for (name, channel), unsorted in words.items():
        heard = sorted(unsorted, key=lambda word: word.start_seconds)
        segments.append(
            Segment(
                session_id=name,
                speaker="",
                start_seconds=heard[0].start_seconds,
                end_seconds=max(word.end_seconds for word in heard),
                text=" ".join(word.text for word in heard),
                words=tuple(heard),
                channel=channel,
            )
        )
    return segments


def format_stm(segments: Sequence[Segment]) -> str:
    """The segments as STM, by session and start.

    Raises:
        TranscriptError: Two sessions, or two speakers, would get one name.
    """
    sessions = _field_names("sessions", (segment.session_id for segment in segments))
    speakers = _field_names("speakers", (segment.speaker for segment in segments))
    lines = []
    for segment in in_order(segments):
        words = one_line(segment.text)
        if _STM_LABEL.match(words):
            words = f"{_MISSING} {words}"
        fields = (
            sessions[segment.session_id],
            str(segment.channel + 1),
            speakers[segment.speaker],
            _seconds(milliseconds(segment.start_seconds)),
            _seconds(milliseconds(segment.end_seconds)),
            words,
        )
        lines.append(" ".join(fields).rstrip() + "\n")
    return "".join(lines)


def parse_stm(text: str, session_id: str) -> list[Segment]:  # noqa: ARG001
    """The segments of an STM file; labels such as `<o,f0,male>` are dropped.

    Raises:
        TranscriptError: A line does not have the fields; the message says which.
    """
    wanted = "session channel speaker start end [<label>] text"
    rows = list(_rows(text, (5, None), wanted))
    first = _first_channel(fields[1] for _, fields in rows)
    segments = []
    for number, (name, channel, speaker, start, end, *words) in rows:
        with at_line(number):
            segments.append(
                Segment(
                    session_id=_unnamed(name),
                    speaker=_unnamed(speaker),
                    start_seconds=float(_decimal("start", start)),
                    end_seconds=float(_decimal("end", end)),
                    text=" ".join(words[1:] if words and _STM_LABEL.fullmatch(words[0]) else words),
                    channel=_channel(channel, first),
                )
            )
    return segments


def format_rttm(segments: Sequence[Segment]) -> str:
    """The segments as RTTM turns, by session and start. What was said is lost.

    Raises:
        TranscriptError: Two sessions, or two speakers, would get one name.
    """
    sessions = _field_names("sessions", (segment.session_id for segment in segments))
    speakers = _field_names("speakers", (segment.speaker for segment in segments))
    lines = []
    for segment in in_order(segments):
        start, end = milliseconds(segment.start_seconds), milliseconds(segment.end_seconds)
        confidence = _MISSING if segment.confidence is None else f"{segment.confidence:.4f}"
        lines.append(
            f"SPEAKER {sessions[segment.session_id]} {segment.channel + 1} {_seconds(start)} "
            f"{_seconds(end - start)} <NA> <NA> {speakers[segment.speaker]} {confidence} <NA>\n"
        )
    return "".join(lines)


def parse_rttm(text: str, session_id: str) -> list[Segment]:  # noqa: ARG001
    """The turns of an RTTM file, without text. Lines of other types than SPEAKER are skipped.

    Raises:
        TranscriptError: A line has an unknown type, or not the fields; the message says which.
    """
    wanted = "SPEAKER session channel start duration <NA> <NA> speaker confidence [<NA>]"
    rows = []
    for number, fields in _rows(text, (9, 10), wanted):
        if fields[0] == "SPEAKER":
            rows.append((number, fields))
        elif fields[0] not in _OTHER_RTTM_TYPES:
            raise TranscriptError(f"Line {number}: expected {wanted}, got {' '.join(fields)!r}.")
    first = _first_channel(fields[2] for _, fields in rows)
    segments = []
    for number, (_, name, channel, start, duration, _, _, speaker, confidence, *_) in rows:
        with at_line(number):
            segments.append(
                Segment(
                    session_id=_unnamed(name),
                    speaker=_unnamed(speaker),
                    start_seconds=float(_decimal("start", start)),
                    end_seconds=float(_decimal("start", start) + _decimal("duration", duration)),
                    text="",
                    channel=_channel(channel, first),
                    confidence=_confidence(confidence),
                )
            )
    return segments


def _rows(
    text: str, num_fields: tuple[int, int | None], wanted: str
) -> Iterator[tuple[int, list[str]]]:
    """The fields of each line that is neither blank nor a comment, with its number."""
    fewest, most = num_fields
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.split()
        if not fields or fields[0].startswith(";;"):
            continue
        if len(fields) < fewest or (most is not None and len(fields) > most):
            got = f"{len(fields)} fields: {line.strip()[:80]!r}"
            raise TranscriptError(f"Line {number}: expected {wanted}, got {got}.")
        yield number, fields


def _field_names(what: str, names: Iterable[str]) -> dict[str, str]:
    """Each name as one field. Two names must not become one: that would merge what they name."""
    fields: dict[str, str] = {}
    owners: dict[str, str] = {}
    for name in dict.fromkeys(names):
        field = re.sub("^;", "_", "_".join(name.split())) or _MISSING
        if field in owners:
            raise TranscriptError(
                f"The {what} {owners[field]!r} and {name!r} would both be written {field!r}.",
                hint="Rename one of them, or use seglst, which holds names as they are.",
            )
        fields[name] = field
        owners[field] = name
    return fields


def _unnamed(field: str) -> str:
    return "" if field == _MISSING else field


def _seconds(moment_milliseconds: int) -> str:
    """Milliseconds as seconds with three decimals, exactly."""
    return f"{moment_milliseconds // 1000}.{moment_milliseconds % 1000:03d}"


def _decimal(what: str, field: str) -> Decimal:
    """A time, kept decimal so that start plus duration has no rounding noise."""
    try:
        value = Decimal(field)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or value.adjusted() > _MOST_DIGITS:
        raise TranscriptError(f"the {what} must be a number of seconds, got {field!r}.")
    return value


def _confidence(field: str) -> float | None:
    if field in (_MISSING, "NA"):
        return None
    try:
        return float(field)
    except ValueError:
        raise TranscriptError(f"the confidence must be a number, got {field!r}.") from None


def _channel(field: str, first: int) -> int:
    """A channel, a letter or a number that counts from `first`, as a number from 0."""
    if re.fullmatch("[A-Za-z]", field):
        return ord(field.upper()) - ord("A")
    if re.fullmatch("[0-9]{1,9}", field):
        return int(field) - first
    raise TranscriptError(f"the channel must be a number or a letter, got {field!r}.")


def _first_channel(fields: Iterable[str]) -> int:
    """Whether the channels of a file count from 0 or from 1."""
    return 0 if any(field.strip("0") == "" for field in fields) else 1
