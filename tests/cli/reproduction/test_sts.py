# SPDX-License-Identifier: Apache-2.0
"""`evenear reproduce sts`: from recordings to numbers and a page, and on where it stopped."""

import json

import pytest

from evenear.data.conversations.simulation import read_plans
from tiny_corpora import write_json_lines, write_tone

TEXTS = ("ONE TWO", "THREE", "FOUR FIVE SIX")


@pytest.fixture
def manifest(tmp_path):
    rows = []
    for speaker in range(6):
        for number, text in enumerate(TEXTS):
            name = f"audio/{speaker}-{number}.wav"
            write_tone(tmp_path / "corpus" / name, 0.5)
            rows.append(
                {
                    "utterance_id": f"{speaker}-{number}",
                    "speaker": f"s{speaker}",
                    "text": text,
                    "audio": name,
                    "seconds": 0.5,
                    "split": "test" if speaker > 3 else "train",
                }
            )
    return write_json_lines(tmp_path / "corpus" / "utterances.jsonl", rows)


def test_a_study_writes_numbers_a_page_and_its_mixtures_and_goes_on(evenear, manifest, tmp_path):
    out = tmp_path / "out"
    words = ("--data", manifest, "--test", manifest, "--out", out, "--variants", "sts,fastemit")
    words += ("--seeds", "1", "--updates", "1", "--first-updates", "1", "--mixtures", "4")
    done = evenear("reproduce", "sts", *words)
    assert done.code == 0, done.err
    found = json.loads((out / "sts.json").read_text())
    assert list(found["variants"]) == ["sts", "fastemit"]
    assert found["setting"]["train_speakers"] == 4
    assert found["setting"]["test_speakers"] == 2
    assert str(tmp_path) not in json.dumps(found)
    assert (out / "sts.html").read_text().startswith("<!doctype html>")
    assert len(read_plans(out / "mixtures.jsonl")) == 4
    before = (out / "runs" / "sts-0.json").read_bytes()
    again = evenear("reproduce", "sts", *words)
    assert again.code == 0
    assert "update" not in again.err
    assert (out / "runs" / "sts-0.json").read_bytes() == before


def test_turns_of_words_heard_by_a_trained_encoder(evenear, manifest, tmp_path):
    out = tmp_path / "out"
    words = ("--data", manifest, "--test", manifest, "--out", out, "--variants", "sts")
    words += ("--seeds", "1", "--updates", "1", "--first-updates", "1", "--mixtures", "3")
    done = evenear("reproduce", "sts", *words, "--words", "1-2", "--hears-with", "evenear-en-small")
    assert done.code == 0, done.err
    found = json.loads((out / "sts.json").read_text())
    assert found["command"].endswith("--words 1-2 --hears-with evenear-en-small")
    assert found["setting"]["words_of_turn"] == [1, 2]
    assert "evenear-en-small" in (out / "sts.html").read_text()


def test_what_cannot_be_studied_is_refused(evenear, manifest, tmp_path):
    words = ("--data", manifest, "--test", manifest, "--out", tmp_path / "out")
    unknown = evenear("reproduce", "sts", *words, "--variants", "fastemitt")
    assert unknown.code == 2
    assert "fastemit" in unknown.err
    backward = evenear("reproduce", "sts", *words, "--words", "3-1")
    assert backward.code == 2
    assert "--words 1-3" in backward.err
    blocks = evenear("reproduce", "sts", *words, "--hears-with", "evenear-en")
    assert blocks.code == 2
    assert "frame by frame" in blocks.err
    other = evenear("reproduce", "sts", *words, "--split", "nobody")
    assert other.code == 1
    assert "--split" in other.err
