# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from evenear.audit import read_table
from evenear.errors import TableError


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def segments(path, rows):
    names = ("session_id", "speaker", "start_time", "end_time", "words")
    return write(path, json.dumps([dict(zip(names, row, strict=True)) for row in rows]))


def test_kaldi_files_are_joined_by_utterance(tmp_path):
    reference = write(tmp_path / "ref", "a-1 one two\na-2 three\nb-1 four five\n")
    hypothesis = write(tmp_path / "hyp", "b-1 four\na-1 one two\na-3 extra\n")
    speakers = write(tmp_path / "utt2spk", "a-1 a\na-2 a\nb-1 b\n")
    gender = write(tmp_path / "spk2gender", "a f\nb m\n")
    table = read_table(hypothesis, reference=reference, attributes=[speakers, gender])
    assert table.frame["utterance_id"].to_list() == ["a-1", "a-2", "b-1"]
    assert table.frame["speaker"].to_list() == ["a", "a", "b"]
    assert table.frame["gender"].to_list() == ["f", "f", "m"]
    assert table.frame["errors"].to_list() == [0, 1, 1]
    told = " ".join(table.warnings)
    assert "1 utterances have no hypothesis" in told
    assert "1 hypotheses have no reference" in told
    assert "no speaker column" not in told


def test_clips_meet_whatever_their_folder_and_suffix(tmp_path):
    reference = write(
        tmp_path / "corpus.tsv", "client_id\tpath\tsentence\tage\ns1\tx/clip_1.mp3\tIt is.\tNA\n"
    )
    hypothesis = write(tmp_path / "out.tsv", "path\tprediction\nclip_1.wav\tit was\n")
    table = read_table(hypothesis, reference=reference)
    row = table.frame.row(0, named=True)
    assert (row["utterance_id"], row["speaker"], row["age"]) == ("clip_1", "s1", None)
    assert (row["words"], row["errors"]) == (2, 1)
    assert table.name == "out"


def test_columns_may_be_chosen_in_either_file(tmp_path):
    reference = write(tmp_path / "r.csv", "utt,spk,gold\nu1,s1,one two\n")
    hypothesis = write(tmp_path / "h.csv", "utt,best,second\nu1,one,one two\n")
    columns = {"reference": "gold", "hypothesis": "second"}
    assert read_table(hypothesis, reference=reference, columns=columns).errors == 0


def test_files_without_an_utterance_in_common_are_refused(tmp_path):
    reference, hypothesis = write(tmp_path / "ref", "a one\n"), write(tmp_path / "hyp", "b one\n")
    with pytest.raises(TableError, match="no utterance in common: 'a' against 'b'"):
        read_table(hypothesis, reference=reference)


def test_two_hypotheses_for_one_utterance_are_refused(tmp_path):
    reference = write(tmp_path / "ref", "a one\n")
    hypothesis = write(tmp_path / "hyp", "a one\na two\n")
    with pytest.raises(TableError, match="several hypotheses for one utterance, such as 'a'"):
        read_table(hypothesis, reference=reference)


def test_a_side_without_text_is_named(tmp_path):
    reference = write(tmp_path / "r.csv", "utt,spk\nu1,s1\n")
    hypothesis = write(tmp_path / "hyp", "u1 one\n")
    with pytest.raises(TableError, match=r"r.csv has no column for reference"):
        read_table(hypothesis, reference=reference)


def test_segments_are_joined_by_session_and_speaker_in_order_of_time(tmp_path):
    reference = segments(
        tmp_path / "ref.seglst.json",
        [("x", "alice", 5.0, 6.0, "three"), ("x", "alice", 0.0, 1.0, "one two"),
         ("x", "bob", 2.0, 3.0, "four"), ("y", "bob", 0.0, 1.0, "five")],
    )  # fmt: skip
    hypothesis = segments(
        tmp_path / "hyp.seglst.json",
        [("x", "alice", 0.0, 6.0, "one two three"), ("x", "bob", 2.0, 3.0, "for")],
    )
    table = read_table(hypothesis, reference=reference)
    rows = {row["utterance_id"]: row for row in table.frame.to_dicts()}
    assert set(rows) == {"x/alice", "x/bob", "y/bob"}
    assert rows["x/alice"]["errors"] == 0
    assert (rows["x/bob"]["speaker"], rows["x/bob"]["errors"]) == ("bob", 1)
    assert rows["y/bob"]["errors"] == 1


def test_strange_labels_are_assigned_for_the_fewest_errors(tmp_path):
    reference = segments(
        tmp_path / "ref.json",
        [("x", "alice", 0, 1, "a b c d"), ("x", "bob", 0, 1, "e f g"), ("x", "carol", 0, 1, "h")],
    )
    hypothesis = segments(
        tmp_path / "hyp.json",
        [("x", "spk1", 0, 1, "e f x"), ("x", "spk2", 0, 1, "a b c"), ("z", "spk1", 0, 1, "noise")],
    )
    table = read_table(hypothesis, reference=reference)
    errors = dict(table.frame.select("utterance_id", "errors").iter_rows())
    assert errors["x/alice"] == errors["x/bob"] == errors["x/carol"] == 1
    assert errors["z/nobody (spk1)"] == 1
    assert table.words == 8
    assert "match nobody" in " ".join(table.warnings)


def test_labels_that_are_only_numbers_name_nobody_beyond_their_session(tmp_path):
    rows = [("x", "1", 0, 1, "one"), ("y", "1", 0, 1, "two"), ("y", "2", 0, 1, "three")]
    reference, hypothesis = (segments(tmp_path / name, rows) for name in ("r.json", "h.json"))
    table = read_table(hypothesis, reference=reference)
    assert table.num_speakers == 3
    assert table.errors == 0
    assert "another person in each session" in " ".join(table.warnings)
