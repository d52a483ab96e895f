# SPDX-License-Identifier: Apache-2.0
"""Subtitles read back, read by a second reader, and files from the wild."""

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.errors import TranscriptError
from evenear.transcripts.segments import Segment, one_line
from evenear.transcripts.subtitles import format_srt, format_vtt, parse_srt, parse_vtt
from transcripts.strategies import by_session_and_start, rounded, segments

one_session = st.lists(segments(sessions=st.just("s")), max_size=4)


def segment(start, end, text, speaker=""):
    return Segment(session_id="s", speaker=speaker, start_seconds=start, end_seconds=end, text=text)


def held(some, shortest_seconds=0.0):
    """What subtitles hold of segments."""
    kept = []
    for one in map(rounded, by_session_and_start(some)):
        end = max(one.end_seconds, round((one.start_seconds + shortest_seconds) * 1000) / 1000)
        kept.append(segment(one.start_seconds, end, one_line(one.text), one_line(one.speaker)))
    return kept


@settings(deadline=None, max_examples=60)
@given(one_session)
def test_webvtt_brings_back_speaker_times_and_text(some):
    assert parse_vtt(format_vtt(some), "s") == held(some, shortest_seconds=0.001)


@settings(deadline=None, max_examples=60)
@given(one_session)
def test_srt_brings_back_speaker_times_and_text(some):
    def without_arrows(text):
        return re.sub("-+->", "->", text)

    wanted = [
        replace(
            one,
            speaker=without_arrows(one.speaker).replace("[", "(").replace("]", ")"),
            text=without_arrows(one.text),
        )
        for one in held(some)
    ]
    assert parse_srt(format_srt(some), "s") == wanted


def strict_cues(text, timing):
    """A second reader: blocks between blank lines, each of which must be exactly one cue."""
    for block in re.split(r"\n\n+", text.strip("\n")):
        match = re.fullmatch(timing, block)
        assert match, block
        yield match


@settings(deadline=None, max_examples=60)
@given(st.lists(segments(texts=st.just("some text"), sessions=st.just("s")), min_size=1))
def test_a_strict_reader_finds_the_same_cues_in_srt(some):
    cue = r"(\d+)\n(\d\d+):(\d\d):(\d\d),(\d{3}) --> (\d\d+:\d\d:\d\d,\d{3})\n(.*)"
    cues = list(strict_cues(format_srt(some), cue))
    assert [int(match[1]) for match in cues] == list(range(1, len(some) + 1))
    for match, one in zip(cues, held(some), strict=True):
        hours, minutes, seconds, fraction = (int(match[i]) for i in (2, 3, 4, 5))
        assert hours * 3600 + minutes * 60 + seconds + fraction / 1000 == pytest.approx(
            one.start_seconds, abs=1e-6
        )
        assert minutes < 60
        assert seconds < 60


@settings(deadline=None, max_examples=60)
@given(one_session)
def test_a_strict_reader_finds_the_same_cues_in_webvtt(some):
    header, _, body = format_vtt(some).partition("\n")
    assert header == "WEBVTT"
    if not some:
        return
    clock = r"(\d\d+:\d\d:\d\d\.\d{3})"
    cue = rf"{clock} --> {clock}(?:\n(?:<v (?:[^<>&\n]|&\w+;)*>)?(?:[^<>&\n]|&\w+;)*)?"
    cues = list(strict_cues(body, cue))
    assert len(cues) == len(some)
    for match in cues:
        assert (len(match[1]), match[1]) < (len(match[2]), match[2])


def test_subtitles_look_as_players_expect():
    some = [
        segment(3661.5, 3662.0004, "R&D <3", "Zoë"),
        segment(0, 1.25, "first\nline"),
    ]
    assert format_srt(some) == (
        "1\n00:00:00,000 --> 00:00:01,250\nfirst line\n\n"
        "2\n01:01:01,500 --> 01:01:02,000\n[Zoë]: R&D <3\n"
    )
    assert format_vtt(some) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.250\nfirst line\n\n"
        "01:01:01.500 --> 01:01:02.000\n<v Zoë>R&amp;D &lt;3\n"
    )


def test_no_segments_are_an_empty_file():
    assert format_srt([]) == ""
    assert parse_srt("", "s") == []
    assert format_vtt([]) == "WEBVTT\n"
    assert parse_vtt("WEBVTT\n", "s") == []


@pytest.mark.parametrize("write", [format_srt, format_vtt])
def test_two_sessions_do_not_fit_into_one_file(write):
    some = [segment(0, 1, "a"), replace(segment(0, 1, "b"), session_id="t")]
    with pytest.raises(TranscriptError, match="must be about one session, got 2"):
        write(some)


def test_srt_from_the_wild_is_read():
    text = (
        "\n1\n0:00:01,5 --> 00:00:02.25  X1:100 X2:200\nOne\n\ntwo\n\n"
        "00:00:02,000 --> 00:00:03,000\nno number\n"
        "3\n00:00:03,000 --> 00:00:04,000\n1984\n\n4\n00:00:05,000 --> 00:00:06,000\n"
    )
    assert parse_srt(text, "s") == [
        segment(1.5, 2.25, "One two"),
        segment(2, 3, "no number"),
        segment(3, 4, "1984"),
        segment(5, 6, ""),
    ]


def test_webvtt_from_the_wild_is_read():
    text = (
        "WEBVTT - a title\nKind: captions\n\nNOTE\na note\n\nSTYLE\n::cue {}\n\n"
        "intro\n00:01.000 --> 00:02.000 align:start\n<v.loud Ann Lee>Hi <i>there</i>\nyou</v>\n\n"
        "00:02.000 --> 00:03.000\n<v Ann>One</v> <v Bob>two &amp; three\n\n"
        "100:00:00.000 --> 100:00:01.000\n<00:01.000><c>plain</c>&nbsp;text\n"
    )
    assert parse_vtt(text, "s") == [
        segment(1, 2, "Hi there you", "Ann Lee"),
        segment(2, 3, "One", "Ann"),
        segment(2, 3, "two & three", "Bob"),
        segment(360_000, 360_001, "plain text"),
    ]


@pytest.mark.parametrize(
    ("read", "text", "reason"),
    [
        (parse_srt, "1\nhello\n", "Line 2: expected a cue number, got 'hello'"),
        (parse_srt, "1\n00:00 --> soon\n", "Line 2: expected a timing such as"),
        (parse_srt, "1\n00:00:02,000 --> 00:00:01,000\nhi\n", r"Line 2: .* got 2\.0 s to 1\.0 s"),
        (parse_vtt, "", "Line 1: a WebVTT file must begin with WEBVTT"),
        (parse_vtt, "\n\nWEBVTT\n", "Line 1: a WebVTT file must begin with WEBVTT"),
        (parse_vtt, "WEBVTTX\n", "Line 1: a WebVTT file must begin with WEBVTT"),
        (parse_vtt, "WEBVTT\n00:01.000 --> 00:02.000\nhi\n", "and a blank line"),
        (parse_vtt, "WEBVTT\n\nname\nhi\n", "Line 4: expected a timing such as .* got 'hi'"),
        (parse_vtt, "WEBVTT\n\nname\n", "Line 4: expected the timing of a cue after 'name'"),
        (parse_vtt, "WEBVTT\n\n00:02.000 --> 00:01.000\nhi\n", "Line 3: .* got 2"),
    ],
)
def test_a_mistake_is_named_with_its_line(read, text, reason):
    with pytest.raises(TranscriptError, match=reason):
        read(text, "s")
