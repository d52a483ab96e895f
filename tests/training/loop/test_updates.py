# SPDX-License-Identifier: Apache-2.0
"""What an update does to weights, averages and records; kills are in `test_trainer.py`."""

import logging

import pytest
import torch
from torch import Tensor

from bfloat16 import need_bfloat16
from evenear.config import replace
from evenear.metrics.words import WordErrors
from evenear.training.loop.trainer import Trainer
from evenear.training.runs.preparation import Corpus
from training.loop.test_snapshots import same
from training.tone_words import config, corpus, trainer


@pytest.fixture(scope="module")
def known(tmp_path_factory) -> Corpus:
    return corpus(tmp_path_factory.mktemp("tones"), config())


def weights(run: Trainer) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in run.model.state_dict().items()}


def test_a_feature_that_is_no_number_leaves_no_trace(known, tmp_path):
    run = trainer(config(num_updates=3), known, tmp_path)
    run.model.register_buffer("heard", torch.zeros(()))
    run._averaged.module.register_buffer("heard", torch.zeros(()))
    make, learn = run.task.batches.batch, run.task.losses

    def spoiled(group, epoch):
        made = make(group, epoch)
        made.features_BTF[0, 0, 0] = float("nan")
        return made

    def noted(batch, update):
        run.model.heard += batch.features_BTF.sum()
        return learn(batch, update)

    run.task.batches.batch, run.task.losses = spoiled, noted
    before = weights(run)
    list(run.run())
    assert same(weights(run), before)
    assert all(bool(tensor.isfinite().all()) for tensor in run.average.values())


def test_weights_of_utterances_and_penalties_reach_the_loss(known, tmp_path):
    plain, weighed = (trainer(config(num_updates=1), known, tmp_path / name) for name in "ab")
    weighed.weigh = lambda batch, losses, update: torch.full_like(
        losses.terms["transducer"], 2.0 * update
    )
    weighed.penalties = {
        "pull": lambda model: torch.tensor(3.0) + 0.0 * model.joiner.output.bias[0]
    }
    (one,), (two,) = list(plain.run()), list(weighed.run())
    assert two.loss == pytest.approx(2 * one.loss + 3.0, rel=1e-6)


def test_the_average_follows_the_weights_by_its_decay(known, tmp_path):
    settings = config(num_updates=4, optimizer=replace(config().optimizer, average_decay=0.3))
    run = trainer(settings, known, tmp_path)
    expected = weights(run)
    for step in run.run():
        decay = min(0.3, (step.update + 1) / (step.update + 10))
        now = weights(run)
        expected = {
            name: decay * tensor + (1 - decay) * now[name] for name, tensor in expected.items()
        }
    for name, tensor in run.averaged().state_dict().items():
        torch.testing.assert_close(tensor, expected[name])


def test_the_average_is_a_model_of_its_own(known, tmp_path):
    run = trainer(config(num_updates=3), known, tmp_path)
    list(run.run())
    averaged = run.averaged()
    assert not averaged.training
    assert not {id(p) for p in averaged.parameters()} & {id(p) for p in run.model.parameters()}
    assert same(averaged.state_dict(), run.average)
    assert not same(dict(run.model.state_dict()), run.average)


def test_the_averaged_weights_are_evaluated_and_the_run_goes_on_with_its_own(known, tmp_path):
    heard: list[tuple[bool, dict[str, Tensor]]] = []
    run = trainer(config(num_updates=6), known, tmp_path)

    def evaluate(model: torch.nn.Module) -> WordErrors:
        heard.append((model.training, {n: t.clone() for n, t in model.state_dict().items()}))
        return WordErrors(substitutions=1, reference_words=4)

    run.task.recognize = evaluate
    steps = list(run.run())
    ((training, evaluated),) = heard
    assert not training
    assert same(evaluated, run.average)
    assert not same(dict(run.model.state_dict()), run.average)
    assert [step.score for step in steps] == [None] * 5 + [0.25]


def test_every_update_is_made_in_training_mode_also_after_an_evaluation(known, tmp_path):
    run = trainer(config(num_updates=4, evaluate_every=2), known, tmp_path)
    modes, learn = [], run.task.losses

    def noted(batch, update):
        modes.append({module.training for module in run.model.modules()})
        return learn(batch, update)

    run.task.losses = noted
    run.model.eval()
    list(run.run())
    assert modes == [{True}] * 4


def test_the_best_error_rate_is_kept_and_every_evaluation_recorded(known, tmp_path):
    rates = iter([3, 1, 2])
    run = trainer(config(num_updates=6, evaluate_every=2), known, tmp_path)
    run.task.recognize = lambda _: WordErrors(substitutions=next(rates), reference_words=4)
    list(run.run())
    assert run.best_score == 0.25
    assert [(row["update"], row["dev_wer"]) for row in run.history] == [
        (2, 0.75),
        (4, 0.25),
        (6, 0.5),
    ]


def test_held_out_speakers_without_words_do_not_hide_later_results(known, tmp_path):
    counts = iter([WordErrors(), WordErrors(substitutions=1, reference_words=4)])
    run = trainer(config(num_updates=4, evaluate_every=2), known, tmp_path)
    run.task.recognize = lambda _: next(counts)
    list(run.run())
    assert run.best_score == 0.25


def test_the_rate_follows_the_schedule(known, tmp_path):
    settings = config(num_updates=8)
    steps = list(trainer(settings, known, tmp_path).run())
    expected = [settings.optimizer.rate(update, 8) for update in range(1, 9)]
    assert [step.rate for step in steps] == expected


def test_biases_and_normalization_do_not_decay(known, tmp_path):
    for optimizer in trainer(config(), known, tmp_path).optimizers:
        for group in optimizer.param_groups:
            assert {p.ndim > 1 for p in group["params"]} == {group["weight_decay"] > 0}


def poison(run: Trainer, value: float, *, update: int) -> None:
    """Spoil one gradient in one update."""
    parameter = next(run.model.joiner.parameters())
    parameter.register_hook(
        lambda gradient: torch.full_like(gradient, value) if run.update == update else gradient
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_an_update_without_a_finite_gradient_is_left_out(known, tmp_path, caplog, value):
    run = trainer(config(num_updates=4), known, tmp_path)
    poison(run, value, update=2)
    states = []
    with caplog.at_level(logging.WARNING, "evenear"):
        for _ in run.run():
            states.append(weights(run))
    assert "Update 2 had no finite gradient" in caplog.text
    assert same(states[1], states[0])
    assert not same(states[2], states[1])
    assert all(bool(t.isfinite().all()) for t in states[3].values())


def test_a_long_gradient_is_shortened(known, tmp_path):
    settings = config(num_updates=2)
    free = replace(settings, optimizer=replace(settings.optimizer, max_gradient_norm=1e9))
    tight = replace(settings, optimizer=replace(settings.optimizer, max_gradient_norm=1e-3))
    lengths = []
    for name, asked in (("free", free), ("tight", tight)):
        run = trainer(asked, known, tmp_path / name)
        seen: list[float] = []
        step = run.optimizers[0].step
        run.optimizers[0].step = lambda run=run, seen=seen, step=step: (
            seen.append(_length(run)),
            step(),
        )
        list(run.run())
        lengths.append(max(seen))
    assert lengths[0] > 1.0
    assert lengths[1] == pytest.approx(1e-3, rel=1e-3)


def _length(run: Trainer) -> float:
    gradients = [p.grad for p in run.model.parameters() if p.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients))


def test_bfloat16_trains_too(known, tmp_path):
    need_bfloat16()
    run = trainer(config(num_updates=20, precision="bfloat16"), known, tmp_path)
    losses = [step.loss for step in run.run()]
    assert sum(losses[-3:]) < sum(losses[:3]) / 2
    assert {tensor.dtype for tensor in run.model.state_dict().values()} <= {
        torch.float32,
        torch.int64,
    }
