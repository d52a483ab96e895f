# SPDX-License-Identifier: Apache-2.0
"""Runs are trained and scored once, stop between updates, and go on as if they had not."""

import json
from pathlib import Path

import pytest

from evenear.config import replace
from evenear.errors import EvenearError
from evenear.evaluation import load_utterances
from evenear.reproduction.runs import Job, run_all, run_one
from evenear.reproduction.scoring import listen, read_scores
from evenear.training.runs.preparation import Source, prepare
from training.tone_words import config, write_corpus

TONES = config(num_updates=4, evaluate_every=2, snapshot_every=1)


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """Corpus and test of tones, stored once."""
    folder = tmp_path_factory.mktemp("ground")
    manifest = write_corpus(folder / "tones")
    prepare([Source(manifest)], TONES.data, folder / "data", seed=0)
    features = TONES.data.store.features
    stores = listen(load_utterances(manifest)[:6], features, (10.0,), folder / "data" / "test")
    parts = tuple((name, store.parts) for name, store in stores.items())
    return folder / "data", (Source(manifest),), parts


@pytest.fixture
def job(ground, tmp_path):
    data, sources, parts = ground

    def make(name: str = "lstm", *, seed: int = 0, settings=TONES, folder: Path | None = None):
        return Job(
            variant=name,
            config=replace(settings, seed=seed),
            sources=sources,
            data_folder=data,
            test_parts=parts,
            folder=folder or tmp_path / f"{name}-{seed}",
        )

    return make


def never() -> bool:
    return False


def test_a_run_leaves_its_model_its_curve_and_its_scores(job):
    steps = []
    done = job()
    assert run_one(done, report=steps.append, is_stopped=never)
    assert done.is_done
    assert [step.update for step in steps] == [1, 2, 3, 4, 4]
    assert [step.is_done for step in steps] == [False] * 4 + [True]
    scores = read_scores(done.scores_path)
    assert {(s.condition, s.utterance_id) for s in scores} == {
        (condition, f"ann-{k}") for condition in ("clean", "10 dB") for k in range(6)
    }
    curve = json.loads(done.curve_path.read_text())
    assert [row["update"] for row in curve["history"]] == [2, 4]
    assert not (done.folder / "snapshot.pt").exists()


def test_a_finished_run_is_not_done_again(job):
    done = job()
    run_one(done, report=lambda _: None, is_stopped=never)
    before = done.scores_path.stat().st_mtime_ns
    steps = []
    assert run_all([done], num_workers=1, report=steps.append, is_stopped=never)
    assert steps == []
    assert done.scores_path.stat().st_mtime_ns == before


def test_a_stopped_run_goes_on_to_the_same_scores(job, tmp_path):
    whole = job(folder=tmp_path / "whole")
    assert run_one(whole, report=lambda _: None, is_stopped=never)
    stopped, heard = job(folder=tmp_path / "stopped"), []
    assert not run_one(stopped, report=heard.append, is_stopped=lambda: len(heard) == 2)
    assert not stopped.is_done
    assert run_one(stopped, report=heard.append, is_stopped=never)
    assert [step.update for step in heard] == [1, 2, 3, 4, 4]
    assert stopped.scores_path.read_bytes() == whole.scores_path.read_bytes()


def test_no_further_run_begins_once_stopped(job):
    first, second = job("lstm"), job("convrnn")
    assert not run_all(
        [first, second], num_workers=1, report=lambda _: None, is_stopped=lambda: True
    )
    assert not second.folder.exists()


def test_a_folder_of_another_run_is_refused_before_anything_is_done(job):
    done = job()
    run_one(done, report=lambda _: None, is_stopped=never)
    other = job(settings=replace(TONES, num_updates=5))
    fresh = job("convrnn")
    with pytest.raises(EvenearError, match="a run with other settings"):
        run_all([fresh, other], num_workers=1, report=lambda _: None, is_stopped=never)
    assert not fresh.folder.exists()


def test_seeds_change_weights_and_nothing_else(job):
    first, second = job(seed=0), job(seed=1)
    for one in (first, second):
        run_one(one, report=lambda _: None, is_stopped=never)
    tokenizers = [(one.model_folder / "tokenizer.model").read_bytes() for one in (first, second)]
    weights = [(one.model_folder / "weights.safetensors").read_bytes() for one in (first, second)]
    assert tokenizers[0] == tokenizers[1]
    assert weights[0] != weights[1]


def test_runs_side_by_side_give_what_they_give_one_after_another(job, tmp_path):
    alone = job(folder=tmp_path / "alone")
    run_one(alone, report=lambda _: None, is_stopped=never)
    pair = [job(folder=tmp_path / "first"), job(seed=1, folder=tmp_path / "second")]
    names = set()
    done = run_all(pair, num_workers=2, report=lambda step: names.add(step.name), is_stopped=never)
    assert done
    assert names == {"lstm-0", "lstm-1"}
    assert pair[0].scores_path.read_bytes() == alone.scores_path.read_bytes()


def test_runs_side_by_side_stop_after_their_update_and_go_on(job, tmp_path):
    long = config(num_updates=400, evaluate_every=400, snapshot_every=400)
    pair = [job(seed=seed, settings=long, folder=tmp_path / str(seed)) for seed in (0, 1, 2)]
    steps = []
    done = run_all(pair, num_workers=2, report=steps.append, is_stopped=lambda: len(steps) > 3)
    assert not done
    assert not pair[2].folder.exists()
    begun = [one for one in pair if (one.folder / "snapshot.pt").exists()]
    assert begun
    assert not any(one.is_done for one in pair)
    again = []
    run_one(begun[0], report=again.append, is_stopped=lambda: bool(again))
    assert again[0].update > 1


def test_a_run_that_fails_in_its_process_says_why(job, tmp_path):
    lost = job(folder=tmp_path / "lost")
    (tmp_path / "lost").mkdir()
    (tmp_path / "lost" / "snapshot.pt").write_bytes(b"no snapshot")
    with pytest.raises(EvenearError, match=r"lstm-0: The snapshot .* is damaged"):
        run_all([lost], num_workers=2, report=lambda _: None, is_stopped=never)
