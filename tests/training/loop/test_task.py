# SPDX-License-Identifier: Apache-2.0
"""Something that is no recognizer trains, resumes and is evaluated by the same loop."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from evenear.config import config
from evenear.seeding import torch_rng_for
from evenear.training.loop.task import Losses, Task
from evenear.training.loop.trainer import Trainer
from evenear.training.settings import OptimizerConfig


class Points(NamedTuple):
    """Points of a plane, and on which side of a line they lie."""

    places_BD: Tensor
    sides_B: Tensor


@config
class ToySettings:
    seed: int = 0
    num_updates: int = 40
    optimizer: OptimizerConfig = OptimizerConfig(peak_rate=0.05, warmup_updates=2)
    evaluate_every: int = 10
    snapshot_every: int = 5


class LineTask(Task):
    """Learn a line. An adversary that counts what it has seen stands for what a task may add."""

    score_name = "error_rate"
    term_weights: Mapping[str, float] = {"logistic": 1.0}

    def __init__(self, seed: int = 0) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.random.manual_seed(seed)
            self.model = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.1), nn.Tanh(), nn.Linear(8, 1))
        self.seen = 0

    @property
    def identity(self) -> str:
        return "points"

    def plan(self, epoch: int) -> list[int]:
        return list(range(7))

    def batch(self, group: int, epoch: int) -> Points:
        places_BD = torch.randn(16, 2, generator=torch_rng_for(0, "points", (epoch, group)))
        return Points(places_BD, (places_BD.sum(dim=1) > 0.3).float())

    def losses(self, batch: Points, update: int) -> Losses:
        self.seen += len(batch.sides_B)
        logits_B = self.model(batch.places_BD)[:, 0]
        each_B = nn.functional.binary_cross_entropy_with_logits(
            logits_B, batch.sides_B, reduction="none"
        )
        return Losses({"logistic": each_B}, {"logits": logits_B.detach()})

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> float:
        points = self.batch(0, 10**6)
        return float(((model(points.places_BD)[:, 0] > 0) != (points.sides_B > 0.5)).float().mean())

    def heard_seconds(self, batch: Points) -> float:
        return 0.5 * len(batch.sides_B)

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.seen = state["seen"]


def trainer(folder: Path, **options: Any) -> Trainer:
    task = LineTask()
    adam = torch.optim.AdamW([{"params": list(task.model.parameters()), "rate_ratio": 1.0}], lr=0.0)
    return Trainer(task, [adam], ToySettings(), folder, **options)


def test_a_classifier_learns_by_the_loop_of_the_recognizers(tmp_path):
    run = trainer(tmp_path)
    losses = [step.loss for step in run.run()]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert [row["update"] for row in run.history] == [10, 20, 30, 40]
    assert run.history[-1]["error_rate"] == run.task.evaluate(run.averaged())
    assert run.heard_seconds == 40 * 8.0


@pytest.mark.parametrize("stop", [5, 17, 35])
def test_it_resumes_bit_for_bit_with_what_the_task_adds(tmp_path, stop):
    whole = trainer(tmp_path / "whole")
    list(whole.run())
    first = trainer(tmp_path / "parts")
    list(itertools.islice(first.run(), stop))
    second = trainer(tmp_path / "parts")
    second.resume()
    assert second.task.state_dict() == {"seen": 16 * (stop // 5 * 5)}
    list(second.run())
    assert second.task.state_dict() == whole.task.state_dict()
    assert second.heard_seconds == whole.heard_seconds
    for one, two in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, two)


def test_who_weighs_utterances_sees_the_losses_and_what_the_model_said(tmp_path):
    seen = []

    def weigh(batch: Points, losses: Losses, update: int) -> Tensor:
        seen.append((update, losses.terms["logistic"].shape, losses.side["logits"].shape))
        return batch.sides_B  # only one side counts

    run = trainer(tmp_path, weigh=weigh)
    list(itertools.islice(run.run(), 3))
    assert seen == [(update, (16,), (16,)) for update in (1, 2, 3)]


def test_a_task_that_adds_nothing_to_a_snapshot_says_nothing(tmp_path):
    task = LineTask()
    assert Task.state_dict(task) == {}
    Task.load_state_dict(task, {})
