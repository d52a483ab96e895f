# SPDX-License-Identifier: Apache-2.0
"""The recognizer's task: what its epochs are planned from, and what it evaluates."""

import math

import torch

from evenear.config import replace
from evenear.metrics.words import WordErrors
from training.tone_words import config, corpus, trainer


def test_the_identity_follows_the_speech_and_not_the_weights(tmp_path):
    known = corpus(tmp_path, config())
    one, two = (trainer(config(seed=seed), known, tmp_path / "run").task for seed in (0, 1))
    assert one.identity == two.identity
    two.batches.repeats = {"ann-0": 2.0}
    assert one.identity != two.identity


def test_which_tokens_are_hidden_depends_on_the_update_alone(tmp_path):
    settings = config()
    predictor = replace(settings.model.predictor, token_dropout=0.5)
    settings = replace(settings, model=replace(settings.model, predictor=predictor))
    task = trainer(settings, corpus(tmp_path, settings), tmp_path / "run").task
    batch = task.batch(task.plan(0)[0], 0)
    task.model.eval()
    with torch.no_grad():
        one, same, other = (task.losses(batch, update).terms["transducer"] for update in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_held_out_speakers_without_words_have_no_score(tmp_path):
    task = trainer(config(), corpus(tmp_path, config()), tmp_path / "run").task
    task.recognize = lambda _: WordErrors()
    assert math.isnan(task.evaluate(task.model))


def test_heard_seconds_are_those_of_the_speech_without_padding(tmp_path):
    task = trainer(config(), corpus(tmp_path, config()), tmp_path / "run").task
    batch = task.batch(task.plan(0)[0], 0)
    assert task.heard_seconds(batch) == sum(batch.lengths_B.tolist()) * 0.03
