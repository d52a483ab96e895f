# SPDX-License-Identifier: Apache-2.0
"""A recognizer that learned a language of tones finds the silence between its words."""

from pathlib import Path

import pytest
import torch

from evenear.checkpoint import Bundle, load_model
from evenear.data.batching.store import FrameStore
from evenear.training import splicepoints
from evenear.training.runs.preparation import Corpus
from evenear.training.runs.recognizer import Run
from evenear.training.splicepoints import find_splice_points, stored_splice_points
from training.tone_words import GAP_SECONDS, WORD_SECONDS, Source, learning_config, write_corpus


@pytest.fixture(scope="module")
def learned(tmp_path_factory) -> tuple[Bundle, Corpus, Path]:
    folder = tmp_path_factory.mktemp("splice_points")
    sources = [Source(write_corpus(folder / "tones"))]
    run = Run.prepare(learning_config(), sources, folder / "run")
    list(run.train())
    return load_model(run.model_folder), run.corpus, folder / "run"


def test_seams_lie_in_the_gaps_between_words(learned):
    """At speed 1 a word lasts 0.24 s, 0.06 of them silent; other copies are as much longer."""
    bundle, corpus, _ = learned
    found = find_splice_points(bundle, corpus.train)
    assert found.keys() == {(u.utterance_id, u.copy) for u in corpus.train.utterances}
    right = total = 0
    for one in corpus.train.utterances:
        words = one.text.split()
        splice_points = found[one.utterance_id, one.copy]
        assert len(splice_points) == len(words) - 1
        period = one.num_frames / len(words)
        silent = GAP_SECONDS / (WORD_SECONDS + GAP_SECONDS) * period
        for number, point in enumerate(splice_points, start=1):
            total += 1
            right += point is not None and abs(point - (number * period - silent / 2)) <= silent
    assert right > 0.8 * total


def test_seams_are_found_once(learned, monkeypatch):
    bundle, corpus, folder = learned
    heard: list[int] = []
    first = stored_splice_points(bundle, corpus.train, folder, progress=heard.append)
    assert sum(heard) == len(corpus.train)
    monkeypatch.setattr(splicepoints, "find_splice_points", None)  # calling it would fail
    assert stored_splice_points(bundle, corpus.train, folder) == first


def test_seams_of_some_are_not_taken_for_those_of_all(learned, tmp_path):
    bundle, corpus, _ = learned
    some = FrameStore(corpus.train.parts)
    some.utterances = some.utterances[:3]
    assert len(stored_splice_points(bundle, some, tmp_path)) == 3
    assert len(stored_splice_points(bundle, corpus.train, tmp_path)) == len(corpus.train)


def test_a_run_joins_new_sentences_and_resumes_only_with_them(learned, tmp_path):
    bundle, corpus, folder = learned
    settings = learning_config()
    splice_points = stored_splice_points(bundle, corpus.train, folder)
    plain, spliced = (
        Run.over(corpus, settings, tmp_path / name, splice_points=one).task
        for name, one in (("plain", None), ("spliced", splice_points))
    )
    many = changed = 0
    for group in plain.batches.plan(0):
        own, new = (one.batches.batch(group, 0) for one in (plain, spliced))
        assert own.utterance_ids == new.utterance_ids
        for row in range(len(own.lengths_B)):
            heard = [batch.features_BTF[row, : batch.lengths_B[row]] for batch in (own, new)]
            many, changed = many + 1, changed + (not torch.equal(*heard))
            if torch.equal(*heard):
                assert torch.equal(own.targets_BU[row], new.targets_BU[row])
    assert 0 < changed < many
    assert plain.identity != spliced.identity
