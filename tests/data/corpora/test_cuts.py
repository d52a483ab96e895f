# SPDX-License-Identifier: Apache-2.0
"""Cuts from rows and from JSON: exact where the row and its file agree, refused where not."""

from dataclasses import replace
from pathlib import Path

import pytest
from lhotse import MonoCut
from lhotse.cut import MultiCut

from evenear.data.corpora.cuts import cut_from_json, cuts_from_rows, refused
from evenear.data.corpora.rows import Problem, Row
from evenear.errors import ManifestError
from tiny_corpora import write_tone


@pytest.fixture
def row(tmp_path: Path) -> Row:
    audio = write_tone(tmp_path / "a.wav", 2.0)
    return Row(4, "m.jsonl", utterance_id="u", speaker="s", text="T", audio=audio)


def test_known_length_opens_no_file(row):
    unseen = replace(row, audio=Path("/no/such/file.wav"), seconds=1.25, sample_rate=8000)
    (cut,) = cuts_from_rows([unseen], read_headers=False)
    assert (cut.duration, cut.sampling_rate, cut.num_samples) == (1.25, 8000, 10_000)
    with pytest.raises(ManifestError, match=r"m.jsonl:4 \(u\).*no file"):
        list(cuts_from_rows([unseen], read_headers=True))


@pytest.mark.parametrize("read_headers", [False, True])
def test_unknown_length_comes_from_the_header(row, read_headers):
    (cut,) = cuts_from_rows([row], read_headers=read_headers)
    assert (cut.start, cut.duration, cut.recording.duration) == (0.0, 2.0, 2.0)


def test_stretch_knows_the_length_of_its_whole_file(row):
    part = replace(row, start_seconds=0.5, seconds=1.0)
    rest = replace(row, start_seconds=0.5, utterance_id="v")
    first, second = cuts_from_rows([part, rest], read_headers=False)
    assert (first.start, first.duration, first.recording.duration) == (0.5, 1.0, 2.0)
    assert (second.start, second.end) == (0.5, 2.0)
    assert first.recording_id == second.recording_id


def test_stretch_that_ends_just_after_its_file_is_clipped(row):
    (cut,) = cuts_from_rows([replace(row, start_seconds=1.5, seconds=0.55)], read_headers=True)
    assert cut.end == 2.0


@pytest.mark.parametrize(
    ("start", "seconds", "said"),
    [
        (1.5, 0.7, "ends at 2.20 s, its file at 2.00 s"),
        (2.5, None, "from 2.500 s on in a file of 2.000 s"),
        (0.5, 0.0, "is 0.000 s"),
        (-0.5, 1.0, "from -0.500 s on"),
    ],
)
def test_stretch_outside_its_file_is_refused(row, start, seconds, said):
    bad = replace(row, start_seconds=start, seconds=seconds)
    with pytest.raises(ManifestError, match=said):
        list(cuts_from_rows([bad], read_headers=True))


def test_all_channels_of_a_file_are_in_its_cut(row, tmp_path):
    stereo = replace(row, audio=write_tone(tmp_path / "b.wav", 0.5, channels=2))
    (cut,) = cuts_from_rows([stereo], read_headers=True)
    assert isinstance(cut, MultiCut)
    assert cut.channel == [0, 1]


def test_first_problem_of_a_row_refuses_it(row):
    bad = row.with_problem("json", "It is broken.").with_problem("zip", "It lost its zeros.")
    with pytest.raises(ManifestError, match="It is broken") as caught:
        list(cuts_from_rows([bad], read_headers=False))
    assert str(caught.value) == str(refused(bad.problems[0]))
    assert caught.value.hint is not None
    assert "validate" in caught.value.hint


def test_cut_survives_its_own_json(row, tmp_path):
    (cut,) = cuts_from_rows([row], read_headers=True)
    again = cut_from_json(cut.to_dict(), tmp_path)
    assert isinstance(again, MonoCut)
    assert again == cut


@pytest.mark.parametrize(
    "values", [{}, {"type": "MonoCut"}, {"type": "Nothing", "id": "x"}, {"sources": 3}]
)
def test_json_that_is_no_cut_is_refused(values, tmp_path):
    with pytest.raises(ManifestError, match="must be a lhotse cut"):
        cut_from_json(values, tmp_path)


def test_refusal_says_where_and_what_to_do():
    error = refused(Problem(2, "u", "zip", "It lost its zeros.", "m.jsonl"))
    assert str(error).startswith("m.jsonl:2 (u): It lost its zeros. `evenear data validate`")
