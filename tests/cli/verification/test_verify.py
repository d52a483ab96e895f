# SPDX-License-Identifier: Apache-2.0
"""The commands of verification, with a small network of random weights."""

import importlib.resources
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from evenear.audio import read_audio, write_audio
from evenear.checkpoint.folders import shipped_models
from evenear.checkpoint.speakers import save_speaker
from tiny_speakers import buzz, write_speakers
from verification.hearing import tiny_bundle


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a model and a few recordings."""
    folder = tmp_path_factory.mktemp("home")
    for seed in (0, 1):
        bundle = tiny_bundle(seed)
        save_speaker(folder / f"model{seed}", model=bundle.model, features=bundle.features)
    for speaker in range(3):
        for take in range(2):
            write_audio(folder / f"{speaker}{take}.wav", buzz(speaker, take, 1.5))
    write_audio(folder / "silent.wav", np.zeros(16_000, np.float32))
    write_audio(folder / "short.wav", np.append(buzz(0, 0, 0.2), np.zeros(8000, np.float32)))
    write_audio(folder / "slow.wav", buzz(0, 0, 3.0)[::2], sample_rate=8000)
    return folder


@pytest.fixture
def call(evenear, home):
    """Run a command with the small model."""

    def run(command, *arguments, model="model0"):
        return evenear(command, *arguments, "--model", home / model)

    return run


def test_two_files_have_a_score_and_no_verdict_without_a_threshold(call, home):
    done = call("verify", home / "00.wav", home / "01.wav", "--json")
    assert done.code == 0
    answer = json.loads(done.out)
    assert -1.0 <= answer["score"] <= 1.0
    assert answer["threshold"] is None
    assert answer["accept"] is None
    assert "calibrate" in answer["why_no_threshold"]


def test_a_threshold_gives_a_verdict(call, home):
    files = (home / "00.wav", home / "00.wav")
    answer = json.loads(call("verify", *files, "--json", "--threshold", "0.9").out)
    assert answer["score"] == pytest.approx(1.0, abs=1e-3)
    assert (answer["threshold"], answer["accept"]) == (0.9, True)
    assert "rejected" in call("verify", *files, "--threshold", "1.1").out


@pytest.mark.parametrize(("name", "why"), [("silent", "silent"), ("short", "s of speech")])
def test_what_has_no_voice_is_named(call, home, tmp_path, name, why):
    done = call("verify", home / "00.wav", home / f"{name}.wav", "--json")
    assert done.code == 1
    assert why in done.err
    assert f"{name}.wav" in done.err
    db = tmp_path / "voices.db"
    done = call("enroll", "ann", home / "00.wav", home / f"{name}.wav", "--db", db)
    assert done.code == 1
    assert not db.exists()


def test_another_rate_is_heard(call, home):
    assert call("verify", home / "00.wav", home / "slow.wav").code == 0


def test_a_voice_is_enrolled_verified_and_deleted(call, home, tmp_path):
    db = tmp_path / "voices.db"
    done = call("enroll", "ann", home / "00.wav", home / "01.wav", "--db", db)
    assert done.code == 0
    assert "2 recordings" in done.err
    done = call("verify", "ann", home / "00.wav", "--db", db, "--json")
    assert json.loads(done.out)["score"] > 0.5
    assert call("enroll", "ann", home / "00.wav", "--db", db).code == 1
    assert call("enroll", "ann", "--delete", "--db", db).code == 0
    done = call("verify", "ann", home / "00.wav", "--db", db)
    assert done.code == 1
    assert "Nobody" in done.err


def test_a_name_is_looked_for_where_enrolling_put_it(call, home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call("verify", "ann", home / "00.wav")
    assert done.code == 1
    assert "no file ann, and nobody is enrolled here" in done.err
    assert "--db" in done.err
    assert call("enroll", "ann", home / "00.wav").code == 0
    done = call("verify", "ann", home / "01.wav", "--json")
    assert done.code == 0
    assert "score" in json.loads(done.out)


@pytest.mark.skipif("evenear-speaker" not in shipped_models(None), reason="it takes a real model")
def test_a_recording_of_two_people_is_not_enrolled(evenear, tmp_path):
    clips = Path(str(importlib.resources.files("evenear"))) / "shipped" / "clips"
    one, two = (read_audio(clips / f"{name}.flac") for name in ("library", "park"))
    write_audio(tmp_path / "two.wav", np.concatenate([one, one, two, two]))
    write_audio(tmp_path / "one.wav", np.concatenate([one, one]))
    db = tmp_path / "voices.db"
    done = evenear("enroll", "ann", tmp_path / "one.wav", tmp_path / "two.wav", "--db", db)
    assert done.code == 1
    assert "ann was not enrolled" in done.err
    assert "two.wav" in done.err
    assert not db.exists()
    assert evenear("enroll", "ann", tmp_path / "one.wav", "--db", db).code == 0


@pytest.mark.skipif("evenear-speaker" not in shipped_models(None), reason="it takes a real model")
def test_a_file_of_somebody_else_is_not_enrolled_unless_one_insists(evenear, tmp_path):
    clips = Path(str(importlib.resources.files("evenear"))) / "shipped" / "clips"
    one, two = (read_audio(clips / f"{name}.flac") for name in ("park", "library"))
    half = len(one) // 2
    write_audio(tmp_path / "one.wav", one[:half])
    write_audio(tmp_path / "again.wav", one[half:])
    write_audio(tmp_path / "other.wav", two)
    db = tmp_path / "voices.db"
    files = [tmp_path / f"{name}.wav" for name in ("one", "other", "again")]
    done = evenear("enroll", "ann", *files, "--db", db)
    assert done.code == 1
    assert "other.wav does not sound like the other 2 recordings" in done.err
    assert "--anyway" in done.err
    done = evenear("enroll", "ann", *files[:2], "--db", db)
    assert done.code == 1
    assert "one.wav and " in done.err
    assert "do not sound like one person" in done.err
    assert not db.exists()
    assert evenear("enroll", "ann", files[0], files[2], "--db", db).code == 0
    done = evenear("enroll", "ann", *files, "--db", db, "--replace", "--anyway")
    assert done.code == 0
    assert "ann: 3 recordings" in done.err
    assert "other.wav does not sound" in done.err


def test_verifying_loads_nothing_that_it_does_not_need(home):
    """Half of a cold start was what recognizes speech and draws progress bars."""
    code = """
import sys
from evenear.cli import main
try:
    main()
except SystemExit as done:
    assert not done.code, done.code
tops = {name.partition(".")[0] for name in sys.modules}
heavy = {"lhotse", "scipy", "sklearn", "numba", "pandas", "polars", "tensorboard", "accelerate",
         "onnxruntime", "sentencepiece", "sqlite3", "rich"}
ours = {"evenear.checkpoint.bundles", "evenear.data", "evenear.language", "evenear.search",
        "evenear.models.transducer", "evenear.streaming", "evenear.training"}
sys.exit(" ".join(sorted(heavy & tops | ours & set(sys.modules))) or 0)
"""
    files = [home / "00.wav", home / "01.wav"]
    command = [sys.executable, "-c", code, "verify", *files, "--json", "--model", home / "model0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "score" in json.loads(done.stdout)


def test_voices_of_another_model_are_refused(call, home, tmp_path):
    db = tmp_path / "voices.db"
    call("enroll", "ann", home / "00.wav", "--db", db)
    done = call("verify", "ann", home / "00.wav", "--db", db, model="model1")
    assert done.code == 1
    assert "enrolled with the model" in done.err


def test_enrolling_asks_for_files_or_a_deletion(call, home, tmp_path):
    assert call("enroll", "ann", "--db", tmp_path / "voices.db").code == 2
    done = call("enroll", "ann", home / "00.wav", "--delete", "--db", tmp_path / "voices.db")
    assert done.code == 2


def test_embeddings_are_one_row_a_file_and_broken_files_are_named(call, home, tmp_path):
    out = tmp_path / "e.parquet"
    files = [home / "00.wav", home / "silent.wav", home / "10.wav"]
    done = call("embed", *files, "--out", out)
    assert done.code == 1
    assert "silent.wav" in done.err
    table = pl.read_parquet(out)
    assert table.columns == ["path", "embedding"]
    assert table["path"].to_list() == [str(files[0]), str(files[2])]
    assert all(len(vector) == 9 for vector in table["embedding"])
    assert call("embed", home / "00.wav", "--out", tmp_path / "e.csv").code == 2


def test_a_threshold_comes_from_ones_own_recordings(call, tmp_path):
    manifest = write_speakers(tmp_path / "people", num_speakers=6, num_each=3)
    db = tmp_path / "voices.db"
    asked = ("--by", "gender", "--false-accepts", "0.05", "--most-false-rejects", "1", "--db", db)
    done = call("calibrate", manifest, *asked, "--json")
    assert done.code == 0
    found = json.loads(done.out)
    assert (found["speakers"], found["targets"], found["others"]) == (6, 18, 135)
    assert [row["group"] for row in found["groups"]] == [
        "everyone",
        "gender=female",
        "gender=male",
    ]
    assert "differ in gender" in done.err
    wavs = (tmp_path / "people" / "s0-0.wav", tmp_path / "people" / "s0-1.wav")
    answer = json.loads(call("verify", *wavs, "--db", db, "--json").out)
    assert answer["threshold"] == found["threshold"]
    assert answer["accept"] in (True, False)


def test_no_threshold_says_why(call, tmp_path):
    manifest = write_speakers(tmp_path / "people", num_speakers=3, num_each=2)
    done = call("calibrate", manifest, "--false-accepts", "0.2")
    assert done.code == 0
    assert "No threshold: 3 speakers say too little" in done.out


def test_unknown_attributes_are_refused(call, tmp_path):
    manifest = write_speakers(tmp_path / "people", num_speakers=2, num_each=2)
    done = call("calibrate", manifest, "--by", "height")
    assert done.code == 1
    assert "age, gender" in done.err
