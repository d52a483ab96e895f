# SPDX-License-Identifier: Apache-2.0
"""Learning gates: nothing but gates moves, and what is asked for is what is spent.

Legend: B utterances.
"""

import math
from pathlib import Path

import pytest
import torch

from evenear.config import replace
from evenear.encoders.gated import GateConfig, GatedTransformer
from evenear.errors import ConfigError
from evenear.models.gating import with_gates
from evenear.models.transducer import Transducer
from evenear.nn.gate import ArbitratorConfig
from evenear.training.loop.optimizers import build_optimizers
from evenear.training.loop.trainer import Trainer
from evenear.training.settings import OptimizerConfig
from evenear.training.tasks.gated import GateTask, GateTraining, gate_parameters
from laws import ENCODERS, PREDICTORS
from training.tone_words import config, corpus, trainer

GATES = GateConfig(
    arbitrators=ArbitratorConfig(hidden_dim=8, count=2, bias=0.5),
    stand_in_dim=4,
    ff_parts=2,
    adapter_rank=2,
)
SETTINGS = GateTraining(
    num_updates=6, optimizer=OptimizerConfig(peak_rate=1e-2, warmup_updates=2), soft_part=0.3
)


def dense_model(feature_dim: int = 60) -> Transducer:
    encoder = replace(ENCODERS["transformer"], feature_dim=feature_dim)
    built = config().model.transducer(vocabulary_size=16, blank_id=0, with_ctc=True)
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(0)
        return Transducer(replace(built, encoder=encoder, predictor=PREDICTORS["stateless"])).eval()


def task(folder: Path, settings: GateTraining = SETTINGS) -> GateTask:
    batches = trainer(config(), corpus(folder, config()), folder / "dense").task.batches
    return GateTask(settings, with_gates(dense_model(), GATES), batches)


def test_only_gates_move(tmp_path):
    learned = task(tmp_path)
    before = {name: weight.clone() for name, weight in learned.model.state_dict().items()}
    optimizers = build_optimizers(learned.model, SETTINGS.optimizer)
    for progress in Trainer(learned, optimizers, SETTINGS, tmp_path / "run").run():
        assert math.isfinite(progress.loss)
    after = learned.model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    parts = ("arbitrators", "stand_ins", "thrifty")
    assert {name.split(".")[1] for name in moved} == set(parts)
    assert all(name.startswith("encoder.") for name in moved)


def test_costs_and_distances_are_those_of_each_utterance(tmp_path):
    learned = task(tmp_path, replace(SETTINGS, prices=None))
    batch = learned.batch(learned.plan(0)[0], 0)
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(1)
        losses = learned.losses(batch, 5)
    asked_B, spent_B = losses.side["asked"], losses.side["spent"]
    below_B = SETTINGS.slack * (asked_B - spent_B).clamp_min(0)
    torch.testing.assert_close(losses.terms["cost"], (spent_B - asked_B).clamp_min(0) + below_B)
    assert all(term.shape == (len(batch.lengths_B),) for term in losses.terms.values())
    assert "cost" not in learned.losses(batch, 1).terms


def test_with_prices_an_utterance_pays_for_all_that_it_spends(tmp_path):
    learned = task(tmp_path)
    batch = learned.batch(learned.plan(0)[0], 0)
    assert learned.prices is not None
    before_G = learned.prices.log_prices_G.clone()
    losses = learned.losses(batch, 5)
    moved_G = learned.prices.log_prices_G - before_G
    asked_B, spent_B = losses.side["asked"], losses.side["spent"]
    learned.prices.log_prices_G = before_G
    torch.testing.assert_close(losses.terms["cost"], learned.prices.prices(asked_B) * spent_B)
    assert moved_G.sum().sign() == (spent_B - asked_B).sum().sign()
    stored = learned.state_dict()
    other = task(tmp_path)
    other.load_state_dict(stored)
    assert torch.equal(other.state_dict()["log_prices_G"], before_G)


def test_with_everything_on_there_is_nothing_to_match(tmp_path):
    learned = task(tmp_path, replace(SETTINGS, least=1.0))
    losses = learned.losses(learned.batch(learned.plan(0)[0], 0), 6)
    assert float(losses.terms["match"].detach().max()) < 1e-9
    assert float(losses.terms["kl"].detach().abs().max()) < 1e-6


def test_the_judge_is_asked_and_seconds_are_those_of_the_speech(tmp_path):
    learned = task(tmp_path)
    assert math.isnan(learned.evaluate(learned.model))
    learned.judge = lambda _: 0.25
    assert learned.evaluate(learned.model) == 0.25
    batch = learned.batch(learned.plan(0)[0], 0)
    assert learned.heard_seconds(batch) == pytest.approx(float(batch.lengths_B.sum()) * 0.03)
    assert learned.identity


def test_a_model_without_gates_has_none_to_learn(tmp_path):
    batches = task(tmp_path).batches
    with pytest.raises(ConfigError, match="another encoder"):
        GateTask(SETTINGS, dense_model(), batches)


def test_the_weights_to_learn_are_those_of_arbitrators_and_stand_ins():
    encoder = with_gates(dense_model(), GATES).encoder
    assert isinstance(encoder, GatedTransformer)
    count = sum(p.numel() for p in gate_parameters(encoder))
    assert count == sum(p.numel() for p in encoder.parameters()) - sum(
        p.numel() for p in encoder.backbone.parameters()
    )
