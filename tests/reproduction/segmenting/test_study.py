# SPDX-License-Identifier: Apache-2.0
"""A seed's variants begin with one model of single talkers, and a stopped study goes on."""

import pytest
import torch

from evenear.errors import CohortError
from evenear.reproduction.segmenting.listening import EncoderFrames
from evenear.reproduction.segmenting.study import Study
from tiny_corpora import spoken_tone


@pytest.fixture
def study(tmp_path) -> Study:
    train = [spoken_tone(tmp_path / f"{n}.wav", f"train-{n}", "ONE TWO", 0.5) for n in range(4)]
    test = [spoken_tone(tmp_path / f"{n}.wav", f"test-{n}", "TWO", 0.5) for n in range(3)]
    return Study.prepare(train, test, tmp_path / "out", updates=1, first_updates=1, num_mixtures=3)


def test_runs_are_done_once_and_all_counts_come_back(study):
    said: list[str] = []
    for rows in study.run(["none", "sts"], 1, said.append):
        found = rows
    assert [len(found[name][0]) for name in ("none", "sts")] == [3, 3]
    assert all(score.counted is None for score in found["none"][0])
    assert all(score.counted is not None for score in found["sts"][0])
    assert sum("single talkers" in line for line in said) == 1
    again: list[str] = []
    for rows in study.run(["none", "sts"], 1, again.append):
        assert rows["none"][0] == found["none"][0]
    assert not again
    assert len(study.test_plans()) == 3


def test_turns_of_several_words_are_heard_with_a_trained_encoder(tmp_path):
    train = [spoken_tone(tmp_path / f"{n}.wav", f"train-{n}", "ONE TWO", 0.5) for n in range(4)]
    test = [spoken_tone(tmp_path / f"{n}.wav", f"test-{n}", "TWO", 0.5) for n in range(3)]
    hears = EncoderFrames("evenear-en-small")
    study = Study.prepare(
        train, test, tmp_path / "out", updates=1, first_updates=1, num_mixtures=3, words=(2, 3),
        hears_with=hears,
    )  # fmt: skip
    assert {len(voice.text.split()) for voice in study.train.voices} == {4, 6}
    rows = list(study.run(["none", "sts"], 1, lambda _: None))[-1]
    assert len(rows["sts"][0]) == 3
    widths = {f.shape[1] for kept in study.frames.values() for f in kept.values()}
    assert widths == {hears.config.dim}
    heard = [kept for key, kept in study.frames.items() if "false" in key.split(",")[0]]
    assert len(heard) == 1, "all variants hear the same mixtures"


def test_a_run_that_was_killed_goes_on_from_its_snapshot(study, monkeypatch):
    from evenear.reproduction.segmenting import study as module

    monkeypatch.setattr(module, "score_mixtures", _fail)
    with pytest.raises(KeyboardInterrupt):
        list(study.run(["sts"], 1, lambda _: None))
    monkeypatch.undo()
    weights = torch.load(study.folder / "runs" / "first-0.pt", weights_only=True)
    said: list[str] = []
    list(study.run(["sts"], 1, said.append))
    assert not any("single talkers" in line for line in said)
    after = torch.load(study.folder / "runs" / "first-0.pt", weights_only=True)
    assert all(torch.equal(tensor, after[name]) for name, tensor in weights.items())


def _fail(*_: object) -> None:
    raise KeyboardInterrupt


def test_test_speakers_are_not_trained_on(tmp_path):
    same = [spoken_tone(tmp_path / "a.wav", "a", "ONE", 0.5)]
    with pytest.raises(CohortError, match="must not be trained on"):
        Study.prepare(same, same, tmp_path, updates=1, first_updates=1, num_mixtures=1)
