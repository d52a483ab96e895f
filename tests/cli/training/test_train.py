# SPDX-License-Identifier: Apache-2.0
"""A run from the command line stops between updates, and goes on as if it had not."""

import json
import os
import re
import resource
import signal
import threading
import time
from pathlib import Path

import pytest

from evenear.checkpoint import load_model
from evenear.checkpoint.folders import shipped_models
from evenear.checkpoint.speakers import load_speaker
from evenear.config import from_json
from evenear.tokenizer import Tokenizer
from evenear.training.loop.snapshots import load_snapshot
from evenear.training.settings import TrainingConfig
from tiny_speakers import write_speakers
from training.loop.test_snapshots import same
from training.tone_words import write_corpus

UPDATES = 24
SMALL = (
    f"num_updates={UPDATES}",
    f"evaluate_every={UPDATES}",
    "snapshot_every=1",
    "data.vocabulary_size=16",
    "data.batches.seconds=3",
)


@pytest.fixture(scope="module")
def tones(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("tones"))


@pytest.fixture
def train(evenear, tones):
    """Train a little model of tones."""

    def call(out: Path, *arguments: object, data: object = tones, settings=SMALL):
        assignments = [word for setting in settings for word in ("--set", setting)]
        return evenear("train", "tiny", "--data", data, "--out", out, *assignments, *arguments)

    return call


def interrupt_when(path: Path) -> threading.Thread:
    """Press Ctrl-C once this file exists."""

    def wait_and_press() -> None:
        while not path.exists():
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=wait_and_press, daemon=True)
    thread.start()
    return thread


def files(folder: Path) -> dict[str, bytes]:
    """What a run's folder holds, apart from its log."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in found
        if path.relative_to(folder).parts[0] != "log"
    }


def test_a_run_stopped_by_ctrl_c_goes_on_bit_for_bit(train, tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    done = train(whole)
    assert (done.code, done.out) == (0, "")
    assert f"The model is in {whole / 'model'}" in done.err
    assert "dev WER" in done.err
    assert "\x1b" not in done.err

    thread = interrupt_when(stopped / "snapshot.pt")
    done = train(stopped)
    thread.join()
    assert (done.code, done.out) == (1, "")
    assert "Stopping after this update" in done.err
    assert "with the same command and --resume" in done.err
    snapshot = load_snapshot(stopped / "snapshot.pt")
    assert 0 < snapshot.update < UPDATES
    assert f"Stopped after update {snapshot.update}." in done.err

    done = train(stopped, "--resume")
    assert done.code == 0
    assert f"Going on after update {snapshot.update}." in done.err
    ends = [load_snapshot(folder / "snapshot.pt") for folder in (whole, stopped)]
    for name in ("update", "model", "average", "optimizers", "best_score"):
        assert same(getattr(ends[0], name), getattr(ends[1], name)), name
    weights = [load_model(folder / "model").model.state_dict() for folder in (whole, stopped)]
    assert same(dict(weights[0]), dict(weights[1]))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """Where a run of two updates is; made by whoever needs it first."""
    return tmp_path_factory.mktemp("runs") / "finished"


@pytest.fixture
def run(train, finished) -> Path:
    """A finished run; tests look at it, and try in vain to change it."""
    if not finished.exists():
        assert train(finished, "--seed", "3", settings=TWO).code == 0
    return finished


TWO = ("num_updates=2", *SMALL[2:])


def test_what_was_asked_for_is_recorded(run):
    config = from_json(TrainingConfig, (run / "config.json").read_text(encoding="utf-8"))
    assert (config.name, config.seed, config.num_updates) == ("tiny", 3, 2)
    assert config.data.vocabulary_size == 16
    assert load_model(run / "model").model.config.vocabulary_size == 16


def test_a_second_run_in_one_folder_is_refused(train, run):
    before = files(run)
    done = train(run, settings=TWO)
    assert done.code == 1
    assert f"{run} holds a run already" in done.err
    assert "hint: Go on with --resume" in done.err
    assert files(run) == before


def test_going_on_with_other_settings_is_refused_and_changes_nothing(train, run):
    """Other word pieces, above all, would make the run's weights worthless."""
    before = files(run)
    for settings in (("num_updates=2", "snapshot_every=1", "data.vocabulary_size=20"), TWO):
        done = train(run, "--resume", settings=settings)  # the second lacks its seed
        assert done.code == 1
        assert "of a run with other settings" in done.err
        assert files(run) == before


def test_a_finished_run_stays_as_it_is(train, run):
    before = load_snapshot(run / "snapshot.pt")
    done = train(run, "--resume", "--seed", "3", settings=TWO)
    assert done.code == 0
    assert same(vars(load_snapshot(run / "snapshot.pt")), vars(before))


def test_a_run_can_begin_with_the_weights_of_another(train, run, tmp_path):
    done = train(tmp_path / "next", "--start-from", run / "model", settings=TWO)
    assert done.code == 0
    own, other = (load_model(folder / "model") for folder in (tmp_path / "next", run))
    assert own.tokenizer.model == other.tokenizer.model


def test_there_is_nothing_to_go_on_with_in_a_new_folder(train, tmp_path):
    done = train(tmp_path / "new", "--resume")
    assert done.code == 1
    assert "There is no snapshot" in done.err
    assert "hint: Start the run without --resume" in done.err
    assert not (tmp_path / "new").exists()


def test_a_full_disk_ends_the_run_and_costs_no_snapshot(train, tmp_path):
    folder = tmp_path / "run"
    thread = interrupt_when(folder / "snapshot.pt")
    train(folder)
    thread.join()
    before = (folder / "snapshot.pt").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        done = train(folder, "--resume")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert done.code == 1
    assert "snapshot could not be written" in done.err
    assert "hint: The previous one is unharmed" in done.err
    assert (folder / "snapshot.pt").read_bytes() == before
    assert not list(folder.glob(".*partial"))
    assert train(folder, "--resume").code == 0
    assert load_snapshot(folder / "snapshot.pt").update == UPDATES


@pytest.mark.parametrize(
    ("settings", "message", "hint"),
    [
        (["num_update=5"], "There is no setting 'num_update'", "'num_updates'"),
        (["optimizer.peak_rat=1"], "There is no setting 'optimizer.peak_rat'", "'peak_rate'"),
        (["optimizer.peak_rate=-1"], "optimizer.peak_rate", None),
        (["optimizer.average_decay=1.5"], "optimizer.average_decay", None),
        (["data.batches.seconds=many"], "data.batches.seconds", None),
        (["num_updates"], "A setting is written field=value, got 'num_updates'", "Example"),
        (["precision=float8"], "precision", None),
    ],
)
def test_settings_that_do_not_fit_exit_with_2(train, tmp_path, settings, message, hint):
    done = train(tmp_path / "run", settings=settings)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert hint is None or hint in done.err.split("hint: ")[1]
    assert not (tmp_path / "run").exists()


def test_an_unknown_recipe_names_the_nearest(evenear, tones, tmp_path):
    done = evenear("train", "tinny", "--data", tones, "--out", tmp_path / "run")
    assert done.code == 2
    assert "There is no recipe 'tinny'" in done.err
    assert "Did you mean 'tiny'" in done.err


def test_data_and_out_must_be_given(evenear, tones):
    for arguments in (["--data", tones], ["--out", "x"]):
        assert evenear("train", "tiny", *arguments).code == 2


@pytest.mark.parametrize("repeats", ["", ":2.5"])
def test_data_that_is_not_there_is_named_with_the_nearest_that_is(train, tones, tmp_path, repeats):
    wanted = tones.parent.with_name(f"{tones.parent.name}x") / "utterances.jsonl"
    (tones.parent.parent / "zebra").mkdir(exist_ok=True)
    done = train(tmp_path / "run", data=f"{wanted}{repeats}")
    assert done.code == 1
    assert f"error: There is no {wanted}." in done.err
    assert f"hint: The nearest that is there: {tones.parent}" in done.err
    assert not (tmp_path / "run").exists()


def test_times_that_cannot_be_are_refused(train, tones, tmp_path):
    done = train(tmp_path / "run", data=f"{tones}:-1")
    assert done.code == 1
    assert "0 times or more often in an epoch, got -1.0" in done.err


def broken(tones: Path, folder: Path, number: int, line: str) -> Path:
    """A copy of the manifest with another line in this place."""
    lines = tones.read_text(encoding="utf-8").replace('"audio/', f'"{tones.parent}/audio/')
    rows = lines.splitlines()
    rows[number] = line
    folder.mkdir(exist_ok=True)
    (folder / "utterances.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return folder


def test_a_broken_row_is_named(train, tones, tmp_path):
    data = broken(tones, tmp_path / "data", 7, '{"utterance_id": "x", "speaker": "ann"}')
    done = train(tmp_path / "run", data=data)
    assert (done.code, done.out) == (1, "")
    assert "utterances.jsonl:8" in done.err
    assert "hint: " in done.err or "data validate" in done.err


def test_missing_audio_is_named(train, tones, tmp_path):
    row = '{"utterance_id": "x", "speaker": "ann", "text": "LOW", "audio": "x.wav", "seconds": 1}'
    done = train(tmp_path / "run", data=broken(tones, tmp_path / "data", 7, row))
    assert (done.code, done.out) == (1, "")
    assert f"There is no file {tmp_path / 'data' / 'x.wav'}" in done.err


def test_too_few_speakers_to_hold_one_out_say_so(train, tones, tmp_path):
    done = train(tmp_path / "run", settings=[*SMALL, "data.dev_speakers=3"])
    assert done.code == 1
    assert "needs more of them, got 3" in done.err
    assert "data.dev_speakers" in done.err


def test_a_file_where_the_folder_should_go_is_an_error(train, tones):
    done = train(tones)
    assert done.code == 1
    assert f"{tones} must be a folder to write to, but it is a file" in done.err
    done = train(tones / "run")
    assert done.code == 1
    assert f"The folder {tones / 'run'} cannot be made: Not a directory" in done.err


def test_a_model_of_another_shape_is_no_beginning(train, model, tmp_path):
    done = train(tmp_path / "run", "--start-from", model)
    assert done.code == 1
    assert "another shape" in done.err


def test_word_pieces_are_learned_from_the_training_texts(run):
    tokenizer = Tokenizer.load(run / "tokenizer.model")
    assert tokenizer.decode(tokenizer.encode("LOW HIGH MID")) == "LOW HIGH MID"


def test_a_recipe_for_a_verifier_trains_one(evenear, tmp_path):
    data = write_speakers(tmp_path / "speakers")
    done = evenear("train", "tiny-speaker", "--data", data, "--out", tmp_path / "run")
    assert done.code == 0
    assert "dev EER" in done.err
    assert load_speaker(tmp_path / "run" / "model").model.config.embedding_dim == 16


def test_a_verifier_begins_with_no_recognizer(evenear, tmp_path):
    data = write_speakers(tmp_path / "speakers", num_speakers=7, num_each=2)
    out = tmp_path / "run"
    start = ("--start-from", "evenear-en-small")
    done = evenear("train", "tiny-speaker", "--data", data, "--out", out, *start)
    assert done.code == 1
    assert "is a recognizer, where a speaker is needed" in done.err


@pytest.mark.skipif("evenear-en" not in shipped_models(), reason="it needs a stem")
def test_the_shipped_verifiers_recipe_solves_for_one_and_resumes_nothing(evenear, tmp_path):
    data = write_speakers(tmp_path / "speakers")
    asked = ("train", "evenear-speaker", "--data", data, "--out", tmp_path / "run")
    small = ("--set", "data.dev_speakers=2", "--set", "model.embedding_dim=4")
    done = evenear(*asked, *small)
    assert done.code == 0
    assert "6 speakers" in done.err
    assert "dev EER" in done.err
    files = (tmp_path / "speakers" / "s0-0.wav", tmp_path / "speakers" / "s0-1.wav")
    heard = evenear("verify", *files, "--json", "--model", tmp_path / "run" / "model")
    assert json.loads(heard.out)["score"] > 0.5
    for wrong in (("--resume",), ("--start-from", tmp_path / "run" / "model")):
        done = evenear(*asked, *small, *wrong)
        assert done.code == 2
        assert "stem_from" in done.err


def test_a_separators_distance_is_no_percentage(evenear, tmp_path):
    data, out = write_speakers(tmp_path / "speakers"), tmp_path / "run"
    asked = ("num_updates=1", "dev_mixtures=1", "dev_speakers=2", "batches.num_mixtures=1")
    small = [word for setting in asked for word in ("--set", setting)]
    done = evenear("train", "evenear-en-duo", "--data", data, "--out", out, *small)
    assert done.code == 0, done.err
    assert re.search(r"dev distance \d+\.\d+$", done.err, re.MULTILINE)
    assert "%" not in done.err.split("update 1", 1)[1].split("x real time")[0]
