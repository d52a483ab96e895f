# SPDX-License-Identifier: Apache-2.0
"""Transcript files: the format is found, the file is whole, and mistakes name the file."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.errors import TranscriptError
from evenear.transcripts import (
    FORMATS,
    Segment,
    Word,
    format_transcript,
    parse_transcript,
    read_transcript,
    write_transcript,
)
from transcripts.strategies import segments

WORDS = (
    Word(text="grüß", start_seconds=0.5, end_seconds=0.75, confidence=0.5),
    Word(text="dich", start_seconds=0.75, end_seconds=1.0, confidence=0.25),
)
SEGMENTS = [
    Segment(
        session_id="talk.2",
        speaker="Zoë",
        start_seconds=0.5,
        end_seconds=1.0,
        text="grüß dich",
        words=WORDS,
    )
]
SUFFIXES = {"text": ".txt"} | {name: f".{name}" for name in FORMATS if name != "text"}


def test_the_formats_are_those_of_the_command_line():
    assert sorted(FORMATS) == sorted(["text", "json", "srt", "vtt", "ctm", "stm", "rttm", "seglst"])


@pytest.mark.parametrize("form", FORMATS)
def test_the_suffix_says_the_format_and_the_name_the_session(tmp_path, form):
    path = tmp_path / f"talk.2{SUFFIXES[form]}"
    write_transcript(SEGMENTS, path)
    assert path.read_text(encoding="utf-8") == format_transcript(SEGMENTS, form)
    (again,) = read_transcript(path)
    assert again.session_id == "talk.2"
    assert again.text == ("" if form == "rttm" else "grüß dich")
    assert again.speaker == ("" if form in ("text", "ctm") else "Zoë")


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_reads_the_empty_transcript(tmp_path, form):
    write_transcript([], tmp_path / "a", form)
    assert read_transcript(tmp_path / "a", form) == []
    assert parse_transcript(format_transcript([], form), form) == []


@pytest.mark.parametrize("form", FORMATS)
def test_windows_line_ends_and_byte_order_marks_change_nothing(tmp_path, form):
    text = format_transcript(SEGMENTS, form)
    windows = "\ufeff" + text.replace("\n", "\r\n")
    assert parse_transcript(windows, form) == parse_transcript(text, form)
    (tmp_path / f"a{SUFFIXES[form]}").write_bytes(windows.encode())
    assert read_transcript(tmp_path / f"a{SUFFIXES[form]}") == parse_transcript(
        text, form, session_id="a"
    )


@pytest.mark.parametrize("form", ["json", "seglst", "srt", "vtt", "rttm"])
def test_a_format_that_shows_itself_need_not_be_said(tmp_path, form):
    text = format_transcript(SEGMENTS, form)
    assert read_transcript(text) == parse_transcript(text, form)
    (tmp_path / "talk").write_text(text, encoding="utf-8")
    assert read_transcript(tmp_path / "talk") == parse_transcript(text, form, session_id="talk")


@pytest.mark.parametrize("form", FORMATS)
def test_a_damaged_file_is_read_or_refused_but_never_crashes(form):
    piece = st.text(max_size=6) | st.sampled_from(
        ["\n", " ", "-->", "9" * 5000, "1e9999999", "nan", "<v", "{", "]", '"', "-1", "²", "0"]
    )

    @settings(deadline=None, max_examples=100)
    @given(st.lists(segments(sessions=st.just("s"), names=st.just("A")), max_size=2), st.data())
    def holds(some, data):
        some = [one for one in some if one.words]
        text = format_transcript(some, form)
        for _ in range(3):
            start = data.draw(st.integers(0, len(text)))
            end = start + data.draw(st.integers(0, 5))
            text = text[:start] + data.draw(piece) + text[end:]
        try:
            again = parse_transcript(text, form)
        except TranscriptError as error:
            assert error.message.startswith("Line ")  # noqa: PT017
        else:
            assert parse_transcript(format_transcript(again, form), form) is not None

    holds()


def test_a_json_file_may_be_seglst(tmp_path):
    write_transcript(SEGMENTS, tmp_path / "a.json", "seglst")
    assert read_transcript(tmp_path / "a.json") == SEGMENTS
    write_transcript(SEGMENTS, tmp_path / "b.seglst.json")
    assert (tmp_path / "b.seglst.json").read_bytes() == (tmp_path / "a.json").read_bytes()
    assert read_transcript(str(tmp_path / "b.seglst.json")) == SEGMENTS


def test_a_text_that_shows_no_format_asks_for_it():
    with pytest.raises(TranscriptError, match=r"does not show which format it has.*format="):
        read_transcript("s 1 A 0 1 hi\n")
    assert read_transcript("s 1 A 0 1 hi\n", "stm")[0].text == "hi"


def test_an_unknown_format_lists_the_nearest():
    for attempt in (
        lambda: format_transcript([], "webvtt"),
        lambda: parse_transcript("", "webvtt"),
        lambda: write_transcript([], "a.vtt", "webvtt"),
    ):
        with pytest.raises(TranscriptError, match=r"no transcript format 'webvtt'.*'vtt'"):
            attempt()


def test_a_mistake_names_the_file_and_the_line(tmp_path):
    (tmp_path / "a.ctm").write_text("s 1 0 1 hi\nhello\n", encoding="utf-8")
    with pytest.raises(TranscriptError, match=r"a\.ctm: Line 2: expected session"):
        read_transcript(tmp_path / "a.ctm")


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(TranscriptError, match=r"There is no file nowhere\.srt"):
        read_transcript("nowhere.srt")
    with pytest.raises(TranscriptError, match="cannot be read: Is a directory"):
        read_transcript(tmp_path)
    (tmp_path / "a.srt").write_bytes("1\nGrüß".encode("latin1"))
    with pytest.raises(TranscriptError, match=r"must be UTF-8 text, but byte 4 is 0xfc.*iconv"):
        read_transcript(tmp_path / "a.srt")


def test_files_that_cannot_be_written_are_named_and_leave_nothing(tmp_path):
    with pytest.raises(TranscriptError, match="cannot be written: No such file or directory"):
        write_transcript(SEGMENTS, tmp_path / "missing" / "a.srt")
    with pytest.raises(TranscriptError, match="does not show which format it has"):
        write_transcript(SEGMENTS, tmp_path / "a.doc")
    half = Segment(session_id="s", speaker="", start_seconds=0, end_seconds=1, text="\ud800")
    with pytest.raises(TranscriptError, match="cannot be written as UTF-8"):
        write_transcript([half], tmp_path / "a.stm")
    (tmp_path / "b.srt").mkdir()
    with pytest.raises(TranscriptError, match="must be a file"):
        write_transcript(SEGMENTS, tmp_path / "b.srt")
    assert [path.name for path in tmp_path.iterdir()] == ["b.srt"]


def test_a_full_disk_keeps_the_old_file(tmp_path):
    write_transcript(SEGMENTS, tmp_path / "a.srt")
    old = (tmp_path / "a.srt").read_bytes()
    program = (
        "import resource, signal, sys\n"
        "from evenear.errors import TranscriptError\n"
        "from evenear.transcripts import Segment, write_transcript\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "long = Segment(\n"
        "    session_id='s', speaker='', start_seconds=0, end_seconds=1, text='hi ' * 1000\n"
        ")\n"
        "try:\n"
        "    write_transcript([long], sys.argv[1])\n"
        "except TranscriptError as error:\n"
        "    sys.exit(str(error))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a.srt")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "cannot be written: File too large" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.srt"]
    assert (tmp_path / "a.srt").read_bytes() == old


def test_transcripts_need_neither_numpy_nor_torch():
    program = (
        "import sys, evenear.transcripts\n"
        "sys.exit(str({'numpy', 'torch', 'soundfile'} & set(sys.modules) or ''))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.stderr.strip() == ""
