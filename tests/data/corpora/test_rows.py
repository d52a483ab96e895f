# SPDX-License-Identifier: Apache-2.0
"""Rows: every line of a file comes back, as itself or as what is wrong with it."""

import gzip
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.data.corpora.rows import (
    Problem,
    Row,
    ends_beyond,
    lengths_agree,
    measure_audio,
    read_json_objects,
    read_lines,
    read_nemo_rows,
    read_utterance_rows,
    with_attributes,
)
from evenear.errors import AudioError
from tiny_corpora import write_json_lines, write_tone

GOOD = {"utterance_id": "u", "speaker": "s", "text": "T", "audio": "a.wav"}


def only_row(folder: Path, **changes: object) -> Row:
    """The row of a good object with some fields changed; None removes a field."""
    values = {k: v for k, v in {**GOOD, **changes}.items() if v is not None}
    (row,) = read_utterance_rows(write_json_lines(folder / "utterances.jsonl", [values]))
    return row


@given(st.lists(st.text(st.characters(exclude_characters="\r\n\ufeff", exclude_categories=["Cs"]))))
@settings(deadline=None, max_examples=80)
def test_lines_come_back_with_their_numbers_plain_and_packed(tmp_path_factory, lines):
    folder = tmp_path_factory.getbasetemp()
    content = "".join(line + "\n" for line in lines).encode()
    (folder / "plain.txt").write_bytes(content)
    (folder / "packed.txt.gz").write_bytes(gzip.compress(content))
    expected = [(n, line) for n, line in enumerate(lines, start=1) if line.strip()]
    assert list(read_lines(folder / "plain.txt")) == expected
    assert list(read_lines(folder / "packed.txt.gz")) == expected


def test_byte_order_mark_and_windows_line_ends_are_no_part_of_a_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\n\r\ntwo")
    assert list(read_lines(path)) == [(1, "one"), (3, "two")]


def test_line_in_another_encoding_is_a_problem_and_the_next_is_read(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("one\ncafé\nthree\n".encode("latin-1"))
    first, second, third = (line for _, line in read_lines(path))
    assert (first, third) == ("one", "three")
    assert isinstance(second, Problem)
    assert (second.row, second.kind) == (2, "encoding")
    assert "0xe9" in second.message


@pytest.mark.parametrize("damage", ["cut", "flipped", "plain"])
def test_broken_gzip_is_a_problem_after_what_can_be_read(tmp_path, damage):
    content = gzip.compress(b"\n".join(str(n).encode() * 40 for n in range(999)))
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        middle = len(content) // 2
        content = content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
    else:
        content = b"no gzip at all"
    path = tmp_path / "a.txt.gz"
    path.write_bytes(content)
    *_, (_, last) = read_lines(path)
    assert isinstance(last, Problem)
    assert last.kind == "encoding"
    assert "gzip" in last.message


def test_lines_that_are_no_objects_are_problems(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n{"a": \n[1]\n"x"\n' + "[" * 100_000 + "\n{}\n", encoding="utf-8")
    found = list(read_json_objects(path))
    assert [n for n, v in found if isinstance(v, Problem)] == [2, 3, 4, 5]
    assert [v for _, v in found if isinstance(v, dict)] == [{"a": 1}, {}]
    assert len(max(str(v) for _, v in found)) < 300


def test_row_holds_what_the_object_says(tmp_path):
    row = only_row(tmp_path, seconds=2, start_seconds=0.5, sample_rate=8000, region="north")
    assert row == Row(
        1,
        "utterances.jsonl",
        utterance_id="u",
        speaker="s",
        text="T",
        audio=tmp_path / "a.wav",
        start_seconds=0.5,
        seconds=2.0,
        sample_rate=8000,
        attributes={"region": "north"},
    )


def test_absolute_audio_stays_where_it_is(tmp_path):
    assert only_row(tmp_path, audio=str(tmp_path / "x/b.wav")).audio == tmp_path / "x/b.wav"


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"audio": None, "audoi": "a.wav"}, "missing-field", "'audio' is missing.*'audoi'"),
        ({"text": None}, "missing-field", "'text' is missing. It has: utterance_id, speaker"),
        ({"speaker": None}, "missing-field", "'speaker'"),
        ({"utterance_id": ""}, "missing-field", "'utterance_id' is empty"),
        ({"text": 7}, "field-type", "'text' must be text, got 7"),
        ({"speaker": True}, "field-type", "'speaker' must be text, got True"),
        ({"audio": ["a.wav"]}, "field-type", "'audio' must be text"),
        ({"seconds": "2.5"}, "field-type", "'seconds' must be a number, got '2.5'"),
        ({"seconds": float("nan")}, "field-type", "'seconds' must be a number, got nan"),
        ({"sample_rate": False}, "field-type", "'sample_rate' must be a number"),
    ],
)
def test_field_that_is_missing_or_of_another_type_is_said(tmp_path, changes, kind, said):
    (problem,) = only_row(tmp_path, **changes).problems
    assert problem.kind == kind
    assert re.search(said, problem.message)


def test_one_row_may_have_several_problems(tmp_path):
    row = only_row(tmp_path, text=None, speaker=None, seconds="x")
    assert [p.kind for p in row.problems] == ["missing-field", "missing-field", "field-type"]
    assert {p.utterance_id for p in row.problems} == {"u"}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=9), v, max_size=3),
    ),
    st.sampled_from([*GOOD, "seconds", "start_seconds", "sample_rate", "lat", "zip"]),
)
@settings(deadline=None, max_examples=200)
def test_no_value_of_any_field_stops_the_reader(tmp_path_factory, value, name):
    path = tmp_path_factory.getbasetemp() / "utterances.jsonl"
    path.write_text(json.dumps({**GOOD, name: value}) + "\n{}\n", encoding="utf-8")
    assert [row.number for row in read_utterance_rows(path)] == [1, 2]
    assert [row.number for row in read_nemo_rows(path)] == [1, 2]


def test_attributes_get_their_usual_names_unless_both_are_there():
    row = Row(1, "a")
    found = with_attributes(row, {"Lat": 1, "lon": 2, "zip_code": "02138", "empty": "", "no": None})
    assert found.attributes == {"latitude": 1, "longitude": 2, "zip": "02138"}
    both = with_attributes(row, {"lat": 1, "latitude": 2})
    assert both.attributes == {"lat": 1, "latitude": 2}


def test_problem_reads_as_place_person_and_matter():
    problem = Row(3, "utterances.jsonl", utterance_id="u9").problem("zip", "It lost its zeros.")
    assert str(problem) == "utterances.jsonl:3 (u9): It lost its zeros."
    assert str(Problem(0, None, "empty", "Nothing.", "a.jsonl")) == "a.jsonl: Nothing."


def test_lengths_agree_within_a_tenth_of_a_second_or_two_percent():
    assert lengths_agree(1.09, 1.0)
    assert not lengths_agree(1.11, 1.0)
    assert lengths_agree(101.9, 100.0)
    assert not lengths_agree(97.9, 100.0)


def test_measured_audio_is_what_was_written(tmp_path):
    info = measure_audio(write_tone(tmp_path / "a.flac", 0.75, sample_rate=8000))
    assert (info.seconds, info.num_samples, info.sample_rate) == (0.75, 6000, 8000)


def test_length_that_a_header_does_not_say_is_counted(tmp_path):
    path = write_tone(tmp_path / "a.flac", 0.75)
    content = bytearray(path.read_bytes())
    assert content[:4] == b"fLaC"
    content[21] &= 0xF0  # the low 36 bits at byte 21 are the number of samples; 0: not known
    content[22:26] = bytes(4)
    path.write_bytes(content)
    assert measure_audio(path).seconds == 0.75


def test_missing_audio_is_an_audio_error(tmp_path):
    with pytest.raises(AudioError):
        measure_audio(tmp_path / "missing.wav")


def test_nemo_audio_elsewhere_is_named_by_its_whole_path(tmp_path):
    """Two speakers' folders may both hold a 001.wav."""
    path = tmp_path / "lists" / "train.json"
    path.parent.mkdir()
    lines = [
        json.dumps({"audio_filepath": f"/corpus/{who}/001.wav", "text": "A", "duration": 1.0})
        for who in ("ann", "bob")
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    ids = [row.utterance_id for row in read_nemo_rows(path)]
    assert ids == ["corpus/ann/001", "corpus/bob/001"]


def test_an_utterance_may_end_a_little_after_its_file_however_long_that_is():
    assert not ends_beyond(3595.0, 5.09, 3600.0)
    assert ends_beyond(3595.0, 5.11, 3600.0)
    assert ends_beyond(3595.0, 65.0, 3600.0)
    assert not ends_beyond(0.0, 101.9, 100.0)
