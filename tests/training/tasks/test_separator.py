# SPDX-License-Identifier: Apache-2.0
"""The task of two talkers: what moves, what is planned, what is judged, and that it resumes."""

import copy
import functools

import pytest
import torch

from data.conversations.test_batches import SETTINGS, maker
from evenear.config import replace
from evenear.data.conversations.batches import MixtureBatchConfig
from evenear.data.conversations.mixtures import MixtureConfig
from evenear.models.twotalkers import SeparatorTransducer
from evenear.training.loop.optimizers import build_optimizers
from evenear.training.loop.trainer import Trainer
from evenear.training.settings import OptimizerConfig
from evenear.training.tasks.separator import (
    SeparatorTask,
    TwoTalkerConfig,
    read_channels,
    turns_of,
)
from evenear.training.twotalkers import TwoTalkerObjective
from laws import tiny_tokenizer
from two_talkers import tiny_two_talkers

SMALL = MixtureBatchConfig(mixtures=MixtureConfig(num_turns=(1, 2)), num_mixtures=6, seconds=12.0)
SEPARATE = TwoTalkerObjective(
    transducer_weight=0.0, ctc_weight=0.0, phone_weight=0.0, separation_weight=1.0
)
RUN = TwoTalkerConfig(
    name="tiny",
    num_updates=4,
    separator=tiny_two_talkers().settings.model.separator,
    batches=SMALL,
    objective=TwoTalkerObjective(separation_weight=1.0, phone_weight=0.0, ctc_weight=0.0),
    optimizer=OptimizerConfig(peak_rate=3e-3, warmup_updates=2),
    evaluate_every=2,
    snapshot_every=2,
)


@functools.cache
def dev():
    made = maker(SMALL)
    return [made.batch(group, 0) for group in made.plan(9)]


def task(config: TwoTalkerConfig = RUN) -> SeparatorTask:
    model = copy.deepcopy(tiny_two_talkers().model)
    return SeparatorTask(config, model, maker(config.batches), dev())


def trainer(folder, config: TwoTalkerConfig = RUN) -> Trainer:
    made = task(config)
    return Trainer(made, build_optimizers(made.model, config.optimizer), config, folder)


def test_a_run_that_was_killed_goes_on_bit_for_bit(tmp_path):
    whole = trainer(tmp_path / "whole")
    for _ in whole.run():
        pass
    killed = trainer(tmp_path / "killed")
    for progress in killed.run():
        if progress.update == 3:
            break
    again = trainer(tmp_path / "killed")
    again.resume()
    assert again.update == 2
    for _ in again.run():
        pass
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name


def test_a_frozen_recognizer_does_not_move_and_the_separator_does(tmp_path):
    run = trainer(tmp_path, replace(RUN, recognizer="frozen", objective=SEPARATE))
    before = copy.deepcopy(run.model.state_dict())
    assert [progress.score for progress in run.run()][-1] is not None
    for name, tensor in run.model.state_dict().items():
        moved = not torch.equal(tensor, before[name])
        if name.startswith("transducer."):
            assert not moved, name
        elif "weight" in name and "norms" not in name:
            assert moved, name


def test_separating_is_learned():
    """Two hums of known pitch: after some updates the channels are nearer to their sources."""
    made = task(replace(RUN, recognizer="frozen", objective=SEPARATE))
    before = made.evaluate(made.model)
    (adam,) = build_optimizers(made.model, RUN.optimizer)
    for group in adam.param_groups:
        group["lr"] = 1e-2
    for update in range(30):
        batch = made.batch(made.plan(0)[update % len(made.plan(0))], 0)
        loss = made.losses(batch, update).terms["separation"].mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    made.model.eval()
    assert made.evaluate(made.model) < 0.8 * before


def test_the_score_is_orc_wer_of_greedy_search():
    made = task()
    score = made.evaluate(made.model.eval())
    assert score > 0.3
    readings = read_channels(made.model, dev()[0])
    assert [len(own) for own in readings] == [len(dev()[0].lengths_B)] * 2


def test_a_distance_is_not_called_a_rate():
    apart = task(replace(RUN, recognizer="frozen", objective=SEPARATE))
    assert (apart.score_name, apart.score_is_rate) == ("dev_distance", False)
    told = task(RUN)
    assert (told.score_name, told.score_is_rate) == ("dev_orc_wer", True)


def test_the_identity_follows_the_recordings_and_the_mixtures():
    assert task().identity == task().identity
    assert task(replace(RUN, batches=SETTINGS)).identity != task().identity


def test_seconds_are_those_of_the_mixtures():
    batch = dev()[0]
    assert task().heard_seconds(batch) == pytest.approx(0.03 * batch.lengths_B.sum().item())


def test_turns_are_parted_at_their_marks():
    tokenizer = tiny_tokenizer()
    sot, eot = tokenizer.sot_id, tokenizer.eot_id
    words = tokenizer.encode("THE CAT")
    assert turns_of([sot, *words, eot, sot, *words, eot], tokenizer) == ["THE CAT"] * 2
    assert turns_of([*words, eot, *words], tokenizer) == ["THE CAT"] * 2
    assert turns_of([sot, eot, eot], tokenizer) == []
    assert turns_of([], tokenizer) == []


def test_norms_keep_their_statistics():
    made = task()
    assert isinstance(made.model, SeparatorTransducer)
    made.model.train()
    norm = made.model.transducer.encoder.global_cnn[0].norm
    before = norm.mean_D.clone()
    made.losses(dev()[0], 1)
    assert torch.equal(norm.mean_D, before)
