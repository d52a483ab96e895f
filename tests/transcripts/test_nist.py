# SPDX-License-Identifier: Apache-2.0
"""CTM, STM and RTTM read back, and read by a second reader that only splits fields."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from evenear.errors import TranscriptError
from evenear.transcripts.nist import (
    format_ctm,
    format_rttm,
    format_stm,
    parse_ctm,
    parse_rttm,
    parse_stm,
)
from evenear.transcripts.segments import Segment, Word, one_line
from transcripts.strategies import anything, by_session_and_start, fields, rounded, segments

several = st.lists(segments(names=fields), max_size=5)


def segment(**changes):
    values = {"session_id": "s", "speaker": "A", "start_seconds": 1, "end_seconds": 2, "text": "hi"}
    return Segment(**(values | changes))


def word(text, start, end, confidence=None):
    return Word(text=text, start_seconds=start, end_seconds=end, confidence=confidence)


@settings(deadline=None, max_examples=60)
@given(several)
def test_stm_brings_back_everything_but_words(some):
    wanted = [
        replace(rounded(one), words=(), confidence=None, text=one_line(one.text))
        for one in by_session_and_start(some)
    ]
    assert parse_stm(format_stm(some), "other") == wanted


@settings(deadline=None, max_examples=60)
@given(several)
def test_rttm_brings_back_everything_but_what_was_said(some):
    wanted = [replace(rounded(one), words=(), text="") for one in by_session_and_start(some)]
    assert parse_rttm(format_rttm(some), "other") == wanted


@settings(deadline=None, max_examples=60)
@given(several)
def test_ctm_brings_back_the_words_of_each_channel(some):
    some = [one if one.words else replace(one, text="") for one in some]
    wanted = {}
    for one in by_session_and_start(some):
        wanted.setdefault((one.session_id, one.channel), []).extend(rounded(one).words)
    read = parse_ctm(format_ctm(some), "other")
    assert {(one.session_id, one.channel): one.words for one in read} == {
        key: tuple(sorted(words, key=lambda word: word.start_seconds))
        for key, words in wanted.items()
        if words
    }
    for one in read:
        assert one.speaker == ""
        assert one.text == " ".join(word.text for word in one.words)
        assert one.start_seconds == min(word.start_seconds for word in one.words)
        assert one.end_seconds == max(word.end_seconds for word in one.words)


@settings(deadline=None, max_examples=60)
@given(st.lists(segments(names=anything), max_size=4))
def test_whatever_the_names_each_line_has_its_fields(some):
    some = [one if one.words else replace(one, text="") for one in some]
    try:
        stm, rttm, ctm = format_stm(some), format_rttm(some), format_ctm(some)
    except TranscriptError as error:
        assume("would both be written" not in error.message)
        raise
    ordered = by_session_and_start(some)
    for line, one in zip(stm.split("\n"), [*ordered, None], strict=True):
        if one is not None:
            session, channel, _, start, end, *_ = line.split()
            assert not session.startswith(";")
            assert int(channel) == one.channel + 1
            assert Decimal(0) <= Decimal(start) <= Decimal(end)
    for line, one in zip(rttm.split("\n"), [*ordered, None], strict=True):
        if one is not None:
            kind, *_, start, duration, _, _, _, _, _ = line.split()
            assert kind == "SPEAKER"
            assert float(start) + float(duration) == pytest.approx(rounded(one).end_seconds)
    lines = [line.split() for line in ctm.split("\n")[:-1]]
    assert len(lines) == sum(len(one.words) for one in some)
    assert {len(line) for line in lines} <= {5, 6}
    assert all(Decimal(line[3]) >= 0 for line in lines)


def test_the_lines_are_as_the_standards_show_them():
    some = [
        segment(speaker="B b", text="so  it is", start_seconds=1.5, confidence=0.5),
        segment(
            text="hi you",
            words=(word("you", 1.2504, 1.3), word("hi", 1.1, 1.2, 0.98765)),
            channel=1,
        ),
    ]
    assert format_stm(some) == "s 2 A 1.000 2.000 hi you\ns 1 B_b 1.500 2.000 so it is\n"
    assert format_rttm(some) == (
        "SPEAKER s 2 1.000 1.000 <NA> <NA> A <NA> <NA>\n"
        "SPEAKER s 1 1.500 0.500 <NA> <NA> B_b 0.5000 <NA>\n"
    )
    assert format_ctm(some[1:]) == "s 2 1.100 0.100 hi 0.9877\ns 2 1.250 0.050 you\n"


@pytest.mark.parametrize("write", [format_ctm, format_stm, format_rttm])
def test_no_segments_are_an_empty_file(write):
    assert write([]) == ""


@pytest.mark.parametrize("read", [parse_ctm, parse_stm, parse_rttm])
def test_comments_and_blank_lines_are_no_segments(read):
    assert read(";; a comment of any length\n\n  \n", "s") == []


def test_a_missing_speaker_stays_missing():
    some = [segment(speaker="", session_id="", text="")]
    assert parse_stm(format_stm(some), "other") == some
    assert parse_rttm(format_rttm(some), "other") == some


def test_names_that_would_become_one_are_refused():
    some = [segment(speaker="Ann Lee"), segment(speaker="Ann_Lee")]
    with pytest.raises(TranscriptError, match="speakers 'Ann Lee' and 'Ann_Lee' would both be"):
        format_stm(some)
    some = [segment(session_id="a b", text=""), segment(session_id="a  b", text="")]
    for write in (format_ctm, format_stm, format_rttm):
        with pytest.raises(TranscriptError, match="sessions 'a b' and 'a  b' would both be"):
            write(some)


def test_a_segment_without_word_times_does_not_fit_into_ctm():
    with pytest.raises(TranscriptError, match=r"needs the time of each word; 'hi' .*Use stm"):
        format_ctm([segment()])


def test_ctm_interleaves_speakers_who_share_a_channel():
    ann = segment(words=(word("a", 1.0, 1.1), word("c", 1.4, 1.5)))
    bob = segment(speaker="B", words=(word("b", 1.2, 1.3),))
    assert [one.text for one in parse_ctm(format_ctm([ann, bob]), "s")] == ["a b c"]


@pytest.mark.parametrize(
    ("written", "expected"), [(["1", "2"], [0, 1]), (["0", "1"], [0, 1]), (["A", "b"], [0, 1])]
)
def test_channels_count_from_one_or_zero_or_are_letters(written, expected):
    stm = "".join(f"s {channel} A 0 1 hi\n" for channel in written)
    assert [one.channel for one in parse_stm(stm, "s")] == expected
    ctm = "".join(f"s {channel} 0 1 hi\n" for channel in written)
    assert [one.channel for one in parse_ctm(ctm, "s")] == expected


def test_start_plus_duration_has_no_rounding_noise():
    assert parse_ctm("s 1 0.1 0.2 hi NA\n", "s")[0].end_seconds == 0.3
    assert parse_rttm("SPEAKER s 1 0.1 0.2 <NA> <NA> A <NA>\n", "s")[0].end_seconds == 0.3


def test_stm_labels_are_dropped_but_words_in_brackets_stay():
    text = "s 1 A 0 1 <o,f0,male> hi\ns 1 A 1 2 <unk> hi\ns 1 A 2 3\n"
    assert [one.text for one in parse_stm(text, "s")] == ["hi", "<unk> hi", ""]


def test_rttm_lines_of_other_types_are_skipped():
    text = (
        "SPKR-INFO s 1 <NA> <NA> <NA> unknown A <NA> <NA>\n"
        "LEXEME s 1 0.1 0.2 hi lex A 0.9 <NA>\nSPEAKER s 1 0 1 <NA> <NA> A <NA> <NA>\n"
    )
    assert parse_rttm(text, "s") == [segment(start_seconds=0.0, end_seconds=1.0, text="")]


@pytest.mark.parametrize(
    ("read", "line", "reason"),
    [
        (parse_ctm, "s 1 0 1", "expected session channel start duration word .*, got 4 fields"),
        (parse_ctm, "s 1 0 1 a b c", "got 7 fields"),
        (parse_ctm, "s 1 x 1 hi", "the start must be a number of seconds, got 'x'"),
        (parse_ctm, "s 1 0 nan hi", "the duration must be a number of seconds, got 'nan'"),
        (parse_ctm, "s 1 1 -2 hi", r"Word 'hi' must start at 0 s or later and end no earlier"),
        (parse_ctm, "s 1 0 1 hi sure", "the confidence must be a number, got 'sure'"),
        (parse_ctm, "s 1 0 1 hi 7", "confidence from 0 to 1, got 7"),
        (parse_ctm, "s ? 0 1 hi", "the channel must be a number or a letter, got '.'"),
        (parse_stm, "s 1 A 0", "expected session channel speaker start end"),
        (parse_stm, "s 1 A 2 1 hi", "end no earlier than it starts, got 2.0 s to 1.0 s"),
        (parse_rttm, "SPEAKER s 1 0 1", "expected SPEAKER session channel .*, got 5 fields"),
        (parse_rttm, "a b c d e f g h i", "expected SPEAKER session channel"),
        (parse_rttm, "SPEAKER s 1 0 inf <NA> <NA> A <NA>", "the duration must be a number"),
    ],
)
def test_a_mistake_is_named_with_its_line(read, line, reason):
    with pytest.raises(TranscriptError, match=f"^Line 2: .*{reason}"):
        read(f";; first\n{line}\n", "s")
