# SPDX-License-Identifier: Apache-2.0
"""The training loop, explicit from batch to snapshot, for every task.

A run is a function of its settings, its data and its seed. Each update draws its dropout from a
generator of its own, each epoch's batches are planned from the seed, and a snapshot holds the rest,
so a run that was killed goes on bit for bit as if it had not been, without replaying the epoch.
(On a CPU. A GPU adds in an order of its own, so there the bits may differ.)

Legend: B utterances.
"""

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.tensorboard import SummaryWriter

from evenear.config import to_json
from evenear.errors import CheckpointError, ManifestError
from evenear.seeding import torch_rng_for
from evenear.training.loop.prefetching import moved, prefetched
from evenear.training.loop.processes import Processes
from evenear.training.loop.snapshots import (
    Snapshot,
    expect_settings,
    load_snapshot,
    save_snapshot,
)
from evenear.training.loop.task import Losses, Penalty, Task, Weigher
from evenear.training.settings import OptimizerConfig

__all__ = ["Progress", "RunSettings", "Trainer"]

_log = logging.getLogger(__name__)

_MOST_EMPTY_EPOCHS = 100
"""A source that is taken a fraction of a time may leave some epochs without a batch."""
_READ_EVERY = 100
"""Updates after which a GPU's losses are read; to read them is to wait for it."""


class RunSettings(Protocol):
    """What the loop must know of a run; any config with these fields will do."""

    @property
    def seed(self) -> int:
        """The run's seed."""
        ...

    @property
    def num_updates(self) -> int:
        """Updates in all."""
        ...

    @property
    def optimizer(self) -> OptimizerConfig:
        """Rates, clipping, averaging."""
        ...

    @property
    def evaluate_every(self) -> int:
        """Updates between two evaluations."""
        ...

    @property
    def snapshot_every(self) -> int:
        """Updates between two snapshots."""
        ...


@dataclass(frozen=True)
class Progress:
    """What happened in an update, for whoever watches."""

    update: int
    num_updates: int
    epoch: int
    loss: float
    rate: float
    audio_seconds_per_second: float
    score: float | None
    """Set on the updates after which the held-out data was evaluated; lower is better."""


class Trainer:
    """One run: a task, what moves its weights, and where its files go.

    Args:
        task: What is learned.
        optimizers: Together they move each weight once; their groups have a `rate_ratio`.
        settings: The run.
        folder: Where the snapshot and the TensorBoard log go.
        device: Where to compute.
        weigh: Weights of utterances; None: all count alike.
        penalties: Added to the loss, by name.
    """

    def __init__(
        self,
        task: Task,
        optimizers: Sequence[torch.optim.Optimizer],
        settings: RunSettings,
        folder: Path,
        *,
        device: str | torch.device = "cpu",
        weigh: Weigher | None = None,
        penalties: Mapping[str, Penalty] = MappingProxyType({}),
    ) -> None:
        self.task, self.optimizers, self.settings, self.folder = task, optimizers, settings, folder
        self.device = torch.device(device)
        self.weigh, self.penalties = weigh, penalties
        self.processes = Processes(self.device)
        self.model = task.model
        self.update = self.epoch = self.next_batch = 0
        self._averaged = AveragedModel(self.model, avg_fn=self._towards, use_buffers=True)
        self._averaged.n_averaged.fill_(1)  # it begins as the model and is moved from there
        self._averaged.eval()
        self._empty_epochs = 0
        self._writer: SummaryWriter | None = None
        self._numbers: dict[str, float] = {}
        self.heard_seconds = 0.0
        """Seconds of sound that were trained on so far."""
        self.best_score: float | None = None
        self.history: list[dict[str, float]] = []
        self.on_best: Callable[[], None] = lambda: None
        """Called when the average does best so far, before the snapshot that says so."""

    @property
    def snapshot_path(self) -> Path:
        """The file that `resume` reads."""
        return self.folder / "snapshot.pt"

    @property
    def average(self) -> dict[str, Tensor]:
        """The moving average of the weights: what is evaluated and kept."""
        return self._averaged.module.state_dict()

    def averaged(self) -> nn.Module:
        """The model with the averaged weights, in evaluation mode; training goes on moving it."""
        return self._averaged.module

    def resume(self) -> None:
        """Go back to the last snapshot. A finished run may be given more updates.

        Raises:
            CheckpointError: There is none, it is damaged, or it is of another run.
        """
        snapshot = load_snapshot(self.snapshot_path)
        expect_settings(snapshot, to_json(self.settings), self.folder, type(self.settings))
        if snapshot.identity != self._identity():
            raise CheckpointError(
                f"The snapshot in {self.folder} is of a run on other speech, spliced or pronounced "
                "otherwise, or by more or fewer processes.",
                hint="Resume with every --data, in its order and as often, and the --splice-with "
                "and --pronunciations that it was started with, or begin another run with another "
                "--out.",
            )
        if snapshot.threads != torch.get_num_threads():
            _log.warning(
                "The run was begun with %d threads and goes on with %d, so its last bits may "
                "differ from those of a run that never stopped. Say --threads %d to keep them.",
                snapshot.threads,
                torch.get_num_threads(),
                snapshot.threads,
            )
        self.model.load_state_dict(snapshot.model)
        self._averaged.module.load_state_dict(snapshot.average)
        for optimizer, state in zip(self.optimizers, snapshot.optimizers, strict=True):
            optimizer.load_state_dict(state)
        self.task.load_state_dict(snapshot.task)
        self.update, self.epoch = snapshot.update, snapshot.epoch
        self.next_batch, self.heard_seconds = snapshot.next_batch, snapshot.heard_seconds
        self.best_score, self.history = snapshot.best_score, snapshot.history

    def run(self) -> Iterator[Progress]:
        """Train to the end, yielding after each update; snapshots are written on the way."""
        if self.processes.is_first:
            self._writer = SummaryWriter(str(self.folder / "log"))
        try:
            while self.update < self.settings.num_updates:
                yield from self._rest_of_epoch()
            self.save()
        finally:
            if self._writer is not None:
                self._writer.close()

    def save(self) -> None:
        """Write the snapshot."""
        if not self.processes.is_first:
            return
        save_snapshot(
            self.snapshot_path,
            Snapshot(
                config_json=to_json(self.settings),
                identity=self._identity(),
                update=self.update,
                epoch=self.epoch,
                next_batch=self.next_batch,
                model=self.model.state_dict(),
                average=self.average,
                optimizers=[optimizer.state_dict() for optimizer in self.optimizers],
                task=self.task.state_dict(),
                best_score=self.best_score,
                history=self.history,
                heard_seconds=self.heard_seconds,
                threads=torch.get_num_threads(),
            ),
        )

    def _identity(self) -> str:
        return f"{self.task.identity}/{self.processes.count}"

    def _rest_of_epoch(self) -> Iterator[Progress]:
        """The rest of this epoch, or of the run."""
        before = self.update
        plan = self.task.plan(self.epoch)
        rank, count = self.processes.rank, self.processes.count
        rounds = len(plan) // count  # every process must take part in every update
        mine = list(plan)[rank : rounds * count : count][self.next_batch :]
        epoch = self.epoch
        made = prefetched(mine, lambda group: self.task.batch(group, epoch))
        with contextlib.closing(made) as batches:
            for batch in batches:
                started = time.perf_counter()
                self._advance(batch)
                seconds = time.perf_counter() - started
                self.next_batch += 1
                yield self._after_update(batch, seconds)
                if self.update >= self.settings.num_updates:
                    return
        is_empty = self.next_batch == 0 and self.update == before
        self._empty_epochs = self._empty_epochs + 1 if is_empty else 0
        if self._empty_epochs > _MOST_EMPTY_EPOCHS:
            raise ManifestError(
                f"Each epoch needs a batch for each of {count} processes; {self._empty_epochs} "
                "epochs had none.",
                hint="Take the sources more often (--data PATH:1), or start fewer processes.",
            )
        self.epoch, self.next_batch = self.epoch + 1, 0

    def _advance(self, batch: Any) -> None:
        """One update; dropout is drawn from generators of this update alone."""
        self.update += 1
        settings = self.settings.optimizer
        rate = settings.rate(self.update, self.settings.num_updates)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group["rate_ratio"]
        self.model.train()
        buffers = [buffer.clone() for buffer in self.model.buffers()]
        batch = moved(batch, self.device)
        with self._seeded():
            losses = self.task.losses(batch, self.update)
            numbers = self._summed(batch, losses)
            numbers["loss"].backward()
        self.processes.average_gradients(self.model.parameters())
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), settings.max_gradient_norm)
        numbers |= {"gradient_norm": norm}
        self._step(norm, buffers)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        last = self.update == self.settings.num_updates
        if self.device.type == "cpu" or last or self.update % _READ_EVERY == 0:
            self._numbers = {name: float(number.detach()) for name, number in numbers.items()}
        self._numbers["rate"] = rate

    def _summed(self, batch: Any, losses: Losses) -> dict[str, Tensor]:
        """The mean of each term, and their weighted sum with the penalties."""
        weights_B = self.weigh(batch, losses, self.update) if self.weigh else None
        numbers, total = {}, None
        for name, term_B in losses.terms.items():
            numbers[name] = term_B.mean() if weights_B is None else (weights_B * term_B).mean()
            part = self.task.term_weights[name] * numbers[name]
            total = part if total is None else total + part
        for name, penalty in self.penalties.items():
            numbers[name] = penalty(self.model)
            total = numbers[name] if total is None else total + numbers[name]
        assert total is not None, "a task has a loss"
        return {"loss": total, **numbers}

    def _step(self, norm: Tensor, buffers: list[Tensor]) -> None:
        """Move weights and average, unless the gradient says nothing."""
        if self.device.type == "cpu":
            if not math.isfinite(float(norm)):
                _log.warning("Update %d had no finite gradient and was left out.", self.update)
                self._put_back(buffers)
                return
        else:  # not to wait for the device, nothing is asked: such a gradient becomes none at all
            for parameter in self.model.parameters():
                if parameter.grad is not None:
                    parameter.grad.nan_to_num_(0.0, 0.0, 0.0).mul_(norm.isfinite())
        for optimizer in self.optimizers:
            optimizer.step()
        self.processes.share_statistics(self.model)
        self._averaged.update_parameters(self.model)

    @torch.no_grad()
    def _put_back(self, buffers: list[Tensor]) -> None:
        """Undo what layers learned about the batch while they heard it."""
        for buffer, before in zip(self.model.buffers(), buffers, strict=True):
            buffer.copy_(before)

    @contextlib.contextmanager
    def _seeded(self) -> Iterator[None]:
        """Generators of this update alone, on the CPU and on the device."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            rng = torch_rng_for(self.settings.seed, "update", self.update)
            torch.random.set_rng_state(rng.get_state())
            if devices:
                torch.cuda.manual_seed(rng.initial_seed() % 2**63)
            yield

    def _towards(self, average: Tensor, weight: Tensor, _count: Tensor | int) -> Tensor:
        """Move the average towards the weights; faster at the start, when it is worth little."""
        if not weight.is_floating_point():
            return weight
        decay = min(self.settings.optimizer.average_decay, (self.update + 1) / (self.update + 10))
        return average.lerp(weight, 1 - decay)

    def _after_update(self, batch: Any, seconds: float) -> Progress:
        """Log, evaluate and save when it is time."""
        score = None
        heard = self.task.heard_seconds(batch)
        self.heard_seconds += heard * self.processes.count
        last = self.update == self.settings.num_updates
        numbers = dict(self._numbers)
        if last or self.update % self.settings.evaluate_every == 0:
            score = self._evaluate()
            numbers[self.task.score_name] = score
            self.history.append({"update": self.update, **numbers})
        if last or self.update % self.settings.snapshot_every == 0:
            self.save()
        if self._writer is not None:
            for name, number in numbers.items():
                self._writer.add_scalar(name, number, self.update)
        return Progress(
            update=self.update,
            num_updates=self.settings.num_updates,
            epoch=self.epoch,
            loss=numbers["loss"],
            rate=numbers["rate"],
            audio_seconds_per_second=heard / max(seconds, 1e-9),
            score=score,
        )

    def _evaluate(self) -> float:
        """How the averaged weights do."""
        score = self.task.evaluate(self._averaged.module.eval())
        best = self.best_score
        if best is None or math.isnan(best) or score < best:
            self.best_score = score
            if self.processes.is_first:
                self.on_best()
        return score
