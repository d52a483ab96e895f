# SPDX-License-Identifier: Apache-2.0
"""The formats that hold everything, read back and read by another reader."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.errors import TranscriptError
from evenear.transcripts.segments import Segment, Word
from evenear.transcripts.structured import format_json, format_seglst, parse_json, parse_seglst
from transcripts.strategies import rounded, segments

FORMATS = [(format_seglst, parse_seglst), (format_json, parse_json)]


@pytest.mark.parametrize(("write", "read"), FORMATS)
def test_everything_comes_back_in_its_order(write, read):
    @settings(deadline=None, max_examples=60)
    @given(st.lists(segments(), max_size=4))
    def holds(some):
        assert read(write(some), "other") == [rounded(segment) for segment in some]

    holds()


@settings(deadline=None, max_examples=60)
@given(st.lists(segments(), max_size=4))
def test_seglst_has_the_keys_that_others_read(some):
    for item, segment in zip(json.loads(format_seglst(some)), some, strict=True):
        assert item["session_id"] == segment.session_id
        assert item["speaker"] == segment.speaker
        assert item["words"] == segment.text
        assert 0 <= segment.start_seconds - item["start_time"] + 0.0005001 <= 0.0010002
        assert item["start_time"] <= item["end_time"]
        assert item["channel"] == segment.channel


def test_the_json_object_is_as_documented():
    word = Word(text="hi", start_seconds=0.1, end_seconds=0.2, confidence=0.98765)
    some = [
        Segment(
            session_id="s",
            speaker="A",
            start_seconds=0,
            end_seconds=1,
            text="hi\nthere",
            words=(word,),
        ),
        Segment(session_id="s", speaker="B", start_seconds=0, end_seconds=1, text="you"),
    ]
    assert json.loads(format_json(some)) == {
        "text": "hi there you",
        "segments": [
            {
                "session_id": "s",
                "speaker": "A",
                "channel": 0,
                "start_seconds": 0.0,
                "end_seconds": 1.0,
                "text": "hi\nthere",
                "words": [
                    {"text": "hi", "start_seconds": 0.1, "end_seconds": 0.2, "confidence": 0.9877}
                ],
            },
            {
                "session_id": "s",
                "speaker": "B",
                "channel": 0,
                "start_seconds": 0.0,
                "end_seconds": 1.0,
                "text": "you",
            },
        ],
    }


def test_files_of_other_programs_are_read():
    chime = """[{"end_time": "11.370", "start_time": "11.000", "words": "So, um", "speaker": "P03",
      "session_id": "S11", "ref": "U06", "channel": "left"},
     {"start_time": 1, "end_time": 2, "words": "no session", "channel": "2"}]"""
    first, second = parse_seglst(chime, "name of the file")
    assert (first.session_id, first.speaker, first.text) == ("S11", "P03", "So, um")
    assert (first.start_seconds, first.end_seconds, first.channel) == (11.0, 11.37, 0)
    assert (second.session_id, second.speaker, second.channel) == ("name of the file", "", 2)


def test_the_segments_of_a_json_object_are_found_wherever_they_are():
    text = '{"a": {"segments": [1]}, "segments" : [\n\n], "b": "]"}'
    assert parse_json(text, "s") == []
    assert parse_json('{"b": [], "segments": []}', "s") == []


ITEM = '{"session_id": "s", "speaker": "A", "start_time": 1, "end_time": 2, "words": "hi"'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Line 1: a SegLST file is a JSON list"),
        ("hello", "Line 1: a SegLST file is a JSON list"),
        (f"[\n{ITEM}}},\n{ITEM}\n]", "Line 4: a SegLST file is a JSON list"),
        ("\n{}", "Line 2: a SegLST file is a JSON list of segments, but it begins with '{'"),
        (f"[\n{ITEM}}},\n\n7]", "Line 4: a segment must be an object, got 7"),
        (f"[\n{ITEM}}},\n{{}}]", "Line 3: the key 'start_time' is missing; found none"),
        (f"[\n{ITEM[:-15]}}}]", "Line 2: the key 'words' is missing; found session_id, speaker"),
        (f'[{ITEM}, "end_time": 0.5}}]', "Line 1: The segment of speaker 'A' in session 's' must"),
        (f'[{ITEM}, "end_time": "x"}}]', "Line 1: 'end_time' must be a number, got 'x'"),
        (f'[{ITEM}, "end_time": true}}]', "Line 1: 'end_time' must be a number, got true"),
        (f'[{ITEM}, "end_time": NaN}}]', "got 1.0 s to nan s"),
        (f'[{ITEM}, "end_time": 1{"0" * 400}}}]', "must be a number"),
        (f'[{ITEM}, "words": ["hi"]}}]', "'words' must be a string, got .\"hi\"."),
        (f'[{ITEM}, "word_times": 3}}]', "'word_times' must be a list of words, got 3"),
        (f'[{ITEM}, "word_times": [3]}}]', "each of 'word_times' must be an object, got 3"),
        (f'[{ITEM}, "confidence": 2}}]', "confidence from 0 to 1"),
        ("[" * 100_000, "Line 1: a SegLST file is a JSON list .*out of all bounds"),
        (f"[{'1' * 5000}]", "out of all bounds"),
    ],
)
def test_a_mistake_in_seglst_is_named_with_its_line(text, reason):
    with pytest.raises(TranscriptError, match=reason):
        parse_seglst(text, "s")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", 'Line 1: a json transcript is an object with the key "segments", but it begins'),
        ("{}", "must have a list under the key"),
        ('{"segments": 3}', "must have a list under the key"),
        ('{"text": "",\n "segments": [\n{"text": "hi"}]}', "Line 3: the key 'start_seconds' is"),
    ],
)
def test_a_mistake_in_json_is_named_with_its_line(text, reason):
    with pytest.raises(TranscriptError, match=reason):
        parse_json(text, "s")
