# SPDX-License-Identifier: Apache-2.0
"""The verifier's task: its losses, its weights, and what it knows of anybody.

Dimensions: B utterances, D width of an embedding, P pairs.
"""

import json

import numpy as np
import pytest
import torch

from evenear.config import replace
from evenear.errors import ConfigError
from evenear.losses.reweighting.arw import ReweightingConfig
from evenear.metrics.verification import eer
from evenear.recipes.speaker import tiny
from evenear.training.runs.preparation import Source
from evenear.training.runs.speaker import SpeakerRun
from evenear.training.tasks.speaker import (
    SpeakerObjectiveConfig,
    all_pairs,
    embed_store,
)
from tiny_speakers import write_speakers


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_speakers(tmp_path_factory.mktemp("speakers"))


def run(corpus, folder, config=None):
    return SpeakerRun.prepare(config or tiny(), [Source(corpus)], folder)


def reweighted(variant, **options):
    metric = "pairwise" if variant in ("aps", "aps-similar", "pw") else "prototypical"
    adversary = ReweightingConfig(variant=variant, num_regions=4, **options)
    return replace(tiny(), objective=SpeakerObjectiveConfig(metric=metric, reweighting=adversary))


def test_losses_are_of_each_utterance_and_follow_the_model(corpus, tmp_path):
    task = run(corpus, tmp_path).task
    batch = task.batch(task.plan(0)[0], 0)
    losses = task.losses(batch, 1)
    assert {name: tuple(term.shape) for name, term in losses.terms.items()} == {
        "softmax": (8,),
        "metric": (8,),
    }
    assert losses.side["embeddings"].shape == (8, 16)
    sum(term.mean() for term in losses.terms.values()).backward()
    assert all(p.grad is not None for p in task.model.parameters())


@pytest.mark.parametrize("variant", ["constant", "aps", "aps-similar", "pl", "pw", "pw-row"])
def test_every_variant_trains_and_resumes_bit_for_bit(variant, corpus, tmp_path):
    config = replace(reweighted(variant), num_updates=8, evaluate_every=8, snapshot_every=4)
    whole = run(corpus, tmp_path / "whole", config)
    for _ in whole.train():
        pass
    stopped = run(corpus, tmp_path / "stopped", config)
    for step in stopped.train():
        if step.update == 5:
            break
    resumed = run(corpus, tmp_path / "stopped", config)
    resumed.trainer.resume()
    assert resumed.trainer.update == 4
    for _ in resumed.train():
        pass
    pairs = zip(whole.task.model.parameters(), resumed.task.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_weights_come_from_the_adversary_once_it_may_speak(corpus, tmp_path):
    task = run(corpus, tmp_path, reweighted("pl", warmup_updates=1, rate=0.5)).task
    batch = task.batch(task.plan(0)[0], 0)
    losses = task.losses(batch, 1)
    assert set(task.weigh(batch, losses, 1).tolist()) == {2.0}
    weights_B = task.weigh(batch, losses, 2)
    assert len(set(weights_B.tolist())) > 1
    assert float(weights_B.mean()) == pytest.approx(2.0, abs=1e-5)


def test_training_knows_no_groups(corpus, tmp_path):
    """With the columns of gender and age deleted, every weight is the same to the bit."""
    rows = [json.loads(line) for line in corpus.read_text().splitlines()]
    assert {"gender", "age"} <= rows[0].keys()
    bare = corpus.parent / "bare.jsonl"
    kept = [{k: v for k, v in row.items() if k not in ("gender", "age")} for row in rows]
    bare.write_text("".join(json.dumps(row) + "\n" for row in kept))
    config = replace(reweighted("pw"), num_updates=6)
    trained = []
    for name, manifest in (("labels", corpus), ("bare", bare)):
        one = run(manifest, tmp_path / name, config)
        for _ in one.train():
            pass
        trained.append(list(one.task.model.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(*trained, strict=True))


def test_the_held_out_speakers_are_not_trained_on_and_are_judged_by_their_eer(corpus, tmp_path):
    one = run(corpus, tmp_path)
    held_out = {u.speaker for u in one.voices.dev.utterances}
    assert len(held_out) == 2
    assert not held_out & set(one.voices.train.speakers)
    model = one.task.model.eval()
    embeddings_BD = embed_store(model.speaker, one.voices.dev, one.config.data.store.features)
    speakers = [u.speaker for u in one.voices.dev.utterances]
    scores_P, same_P = all_pairs(embeddings_BD, speakers)
    assert len(scores_P) == 8 * 7 // 2
    assert one.task.evaluate(model) == pytest.approx(eer(scores_P[same_P], scores_P[~same_P]))


def test_stored_utterances_are_embedded_as_alone(corpus, tmp_path):
    one = run(corpus, tmp_path)
    model, features = one.task.model.speaker.eval(), one.config.data.store.features
    together_BD = embed_store(model, one.voices.dev, features)
    frames_TM = one.voices.dev.frames(3)
    frames_TM = frames_TM[: len(frames_TM) // 3 * 3]
    with torch.no_grad():
        alone_1D = model(torch.from_numpy(frames_TM.reshape(1, -1, features.dim)))
    assert np.abs(together_BD[3] - alone_1D[0].numpy()).max() < 0.05  # its last stack is filled up


def test_all_pairs_are_each_pair_once():
    scores_P, same_P = all_pairs(np.eye(3, dtype=np.float32), ["a", "b", "a"])
    assert scores_P.tolist() == [0.0, 0.0, 0.0]
    assert same_P.tolist() == [False, True, False]


def test_a_variant_with_the_wrong_metric_is_refused():
    with pytest.raises(ConfigError, match="pairwise"):
        SpeakerObjectiveConfig(metric="prototypical", reweighting=ReweightingConfig(variant="aps"))


def test_the_identity_follows_the_voices(corpus, tmp_path):
    one = run(corpus, tmp_path / "a")
    other = run(write_speakers(tmp_path / "other", num_speakers=9), tmp_path / "b")
    assert one.task.identity == run(corpus, tmp_path / "c").task.identity
    assert one.task.identity != other.task.identity


def test_heard_seconds_are_those_of_the_crops(corpus, tmp_path):
    task = run(corpus, tmp_path).task
    batch = task.batch(task.plan(0)[0], 0)
    assert task.heard_seconds(batch) == pytest.approx(8 * 0.6)
