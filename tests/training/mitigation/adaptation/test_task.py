# SPDX-License-Identifier: Apache-2.0
"""What the task of a repair adds to the recognizer's: groups that weigh, secrets that are kept."""

import copy

import pytest
import torch

from evenear.data.batching.batches import BatchMaker
from evenear.data.batching.store import StoreConfig, build_store
from evenear.losses.reweighting.groups import GroupDro
from evenear.metrics.words import WordErrors
from evenear.seeding import torch_rng_for
from evenear.training.mitigation.adaptation.embedding import CohortRecognizer
from evenear.training.mitigation.adaptation.task import MitigationTask
from evenear.training.tasks.transducer import TransducerTask
from training.mitigation.tone_speakers import utterances, write_model
from training.tone_words import config


@pytest.fixture
def parts(tmp_path):
    bundle = write_model(tmp_path / "model")
    store = build_store(
        utterances(tmp_path / "tones"),
        tmp_path / "frames",
        StoreConfig(features=bundle.features, augment=False),
    )
    settings = config()
    batches = BatchMaker(store, bundle.tokenizer, settings.data.batches, bundle.features, seed=0)
    model = copy.deepcopy(bundle.model).train()
    inner = TransducerTask(settings, model, batches, lambda _: WordErrors())
    cohorts = {u.utterance_id: int(u.attributes["age"] < 18) for u in store.utterances}
    return inner, cohorts


def test_groups_weigh_by_the_cohort_of_each_utterance(parts):
    inner, cohorts = parts
    task = MitigationTask(inner, cohorts, groups=GroupDro([0.5, 0.5], step=0.1))
    batch = task.batch(task.plan(0)[0], 0)
    losses = task.losses(batch, 1)
    weights_B = task.weigh(batch, losses, 1)
    sides = torch.tensor([cohorts[name] for name in batch.utterance_ids])
    expected_B = (task.groups.q_G / 0.5)[sides].float()
    assert torch.equal(weights_B, expected_B)
    restored = MitigationTask(inner, cohorts, groups=GroupDro([0.5, 0.5], step=0.1))
    restored.load_state_dict(task.state_dict())
    assert torch.equal(restored.groups.q_G, task.groups.q_G)


def test_without_groups_there_is_nothing_to_keep(parts):
    task = MitigationTask(*parts)
    assert task.state_dict() == {}
    task.load_state_dict({})


def test_the_total_is_the_weighted_sum_of_the_terms(parts):
    task = MitigationTask(*parts)
    batch = task.batch(task.plan(0)[0], 0)
    losses = task.losses(batch, 1)
    total_B = sum(task.term_weights[name] * term_B for name, term_B in losses.terms.items())
    torch.testing.assert_close(task.total(losses), total_B)


def test_an_embedding_is_part_of_what_is_trained_and_hears_of_cohorts(parts):
    inner, cohorts = parts
    pair = CohortRecognizer(inner.model, 2, torch_rng_for(0, "cohort embedding"))
    with torch.no_grad():
        pair.projection_FE.normal_()
    told = MitigationTask(inner, cohorts, embedding=pair)
    secret = MitigationTask(inner, cohorts, embedding=pair, unknown_chance=0.999999)
    assert told.model is pair
    batch = told.batch(told.plan(0)[0], 0)
    one, other = (task.total(task.losses(batch, 1)) for task in (told, secret))
    assert not torch.equal(one, other)
