# SPDX-License-Identifier: Apache-2.0
"""`evenear reproduce convrnnt`: from two corpora to numbers and a page, and on where it stopped."""

import json
import re
import shutil
from pathlib import Path

import pytest

from cli.training.test_train import interrupt_when
from reproduction.test_experiment import write_strangers
from training.tone_words import write_corpus

SMALL = (
    "data.vocabulary_size=16",
    "data.dev_speakers=1",
    "data.store.copies=1",
    "precision=float32",
)


@pytest.fixture(scope="module")
def tones(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tones")
    return write_corpus(folder / "train"), write_strangers(folder / "strangers")


@pytest.fixture
def reproduce(evenear, tones):
    """Two updates of little runs."""

    def call(out: Path, *arguments: object, variants: str = "lstm", settings=SMALL, **places):
        data, test = places.get("data", tones[0]), places.get("test", tones[1])
        words = ["--data", data, "--test", test, "--out", out, "--variants", variants]
        words += ["--seeds", "1", "--updates", "2", "--limit", "6"]
        words += [word for setting in settings for word in ("--set", setting)]
        return evenear("reproduce", "convrnnt", *words, *arguments)

    return call


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("reproduced") / "out"


@pytest.fixture
def finished(reproduce, place) -> Path:
    """A reproduction of two variants; made by whoever needs it first."""
    if not place.exists():
        done = reproduce(place, variants="lstm,convrnn")
        assert done.code == 0, done.err
        assert "RNN-T: WER clean" in done.out
        assert "ConvRNN-T computes less than Conformer" in done.out
        assert "convrnn-0: trained and scored." in done.err
        assert "\x1b" not in done.err
    return place


def test_it_leaves_numbers_a_page_and_counts_for_each_utterance(finished):
    results = json.loads((finished / "results.json").read_text())
    assert [variant["name"] for variant in results["variants"]] == ["lstm", "convrnn"]
    assert results["setting"]["num_utterances"] == 6
    command = results["setting"]["command"]
    assert re.match(r"evenear reproduce convrnnt --data [\w.-]+/utterances.jsonl --test ", command)
    assert str(finished.parent.parent) not in json.dumps(results)
    page = (finished / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    rows = (finished / "runs" / "convrnn-0" / "scores.jsonl").read_text().splitlines()
    assert len(rows) == 6 * 4
    assert {"errors", "words", "speaker", "condition"} <= json.loads(rows[0]).keys()


def test_the_same_command_again_trains_nothing_and_says_the_same(reproduce, finished):
    before = (finished / "results.json").read_bytes()
    done = reproduce(finished, variants="lstm,convrnn")
    assert done.code == 0
    assert "2 runs, 2 done." in done.err
    assert "trained and scored" not in done.err
    assert (finished / "results.json").read_bytes() == before


def test_other_settings_in_one_folder_are_refused(reproduce, finished):
    done = reproduce(finished, settings=(*SMALL, "optimizer.peak_rate=0.01"))
    assert done.code == 1
    assert "holds a run with other settings" in done.err
    assert "hint: Give the --updates and --set it was begun with" in done.err


def test_ctrl_c_stops_between_updates_and_the_same_command_goes_on(reproduce, finished, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(finished / "data", out / "data")
    thread = interrupt_when(out / "runs" / "lstm-0" / "snapshot.pt")
    done = reproduce(out)
    thread.join()
    assert (done.code, done.out) == (1, "")
    assert "Stopping after this update of each run" in done.err
    assert "Go on with the same command." in done.err
    assert not (out / "results.json").exists()
    done = reproduce(out)
    assert done.code == 0
    names = [out / "runs" / "lstm-0", finished / "runs" / "lstm-0"]
    ours, theirs = ((folder / "scores.jsonl").read_bytes() for folder in names)
    assert ours == theirs


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ({"variants": "lstm,convrn"}, "There is no variant 'convrn'", "'convrnn'"),
        ({"variants": ","}, "A comparison needs variants", "Known:"),
        ({"settings": ("optimizer.peak_rat=1",)}, "There is no setting", "'peak_rate'"),
        ({"settings": ("precision=float8",)}, "precision", None),
    ],
)
def test_what_was_not_understood_exits_with_2(reproduce, tmp_path, arguments, message, hint):
    done = reproduce(tmp_path / "out", **arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert hint is None or hint in done.err.split("hint: ")[1]
    assert not (tmp_path / "out").exists()


def test_corpora_that_are_not_there_are_named(reproduce, tones, tmp_path):
    for place in ("data", "test"):
        done = reproduce(tmp_path / "out", **{place: tones[0].parent / "nowhere"})
        assert done.code == 1
        assert f"There is no {tones[0].parent / 'nowhere'}" in done.err
    assert not (tmp_path / "out").exists()


def test_a_test_that_was_trained_on_is_refused(reproduce, tones, tmp_path):
    done = reproduce(tmp_path / "out", test=tones[0])
    assert done.code == 1
    assert "are in the training data" in done.err


def test_a_table_must_be_named(evenear):
    done = evenear("reproduce")
    assert done.code in (0, 2)
    assert "convrnnt" in done.out + done.err
