# SPDX-License-Identifier: Apache-2.0
"""The training loop, explicit from batch to checkpoint.

A run is a function of its config, its data and its seed. Each update draws its dropout from a
generator of its own, each epoch's batches are planned from the seed, and a snapshot holds the rest,
so a run that was killed goes on bit for bit as if it had not been, without replaying the epoch.

Legend: B utterances, U tokens.
"""

import contextlib
import hashlib
import json
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from evenear.config import to_json
from evenear.data.batches import Batch, BatchMaker
from evenear.errors import CheckpointError, ManifestError
from evenear.metrics.words import WordErrors
from evenear.models.transducer import Transducer
from evenear.seeding import torch_rng_for
from evenear.training.objectives import TransducerObjective
from evenear.training.optimizers import build_optimizers
from evenear.training.settings import TrainingConfig
from evenear.training.snapshots import Snapshot, load_snapshot, save_snapshot

__all__ = ["Progress", "Trainer"]

_log = logging.getLogger(__name__)

_MOST_EMPTY_EPOCHS = 100
"""A source that is taken a fraction of a time may leave some epochs without a batch."""


@dataclass(frozen=True)
class Progress:
    """What happened in an update, for whoever watches."""

    update: int
    num_updates: int
    epoch: int
    loss: float
    rate: float
    audio_seconds_per_second: float
    dev_wer: float | None
    """Set on the updates after which the held-out speakers were recognized."""


class Trainer:
    """One run: a model, its data and where its files go.

    Args:
        config: The run.
        model: The model to train, freshly built.
        batches: Plans and makes the training batches.
        evaluate: Recognizes the held-out speakers with a model; counts words.
        folder: Where the snapshot and the TensorBoard log go.
    """

    def __init__(
        self,
        config: TrainingConfig,
        model: Transducer,
        batches: BatchMaker,
        evaluate: Callable[[Transducer], WordErrors],
        folder: Path,
    ) -> None:
        self.config, self.batches, self.evaluate, self.folder = config, batches, evaluate, folder
        self.accelerator = Accelerator(
            cpu=True,  # batches and the loss live there; and torchrun makes a group of processes
            log_with="tensorboard",
            project_dir=str(folder),
        )
        autocast = torch.bfloat16 if config.precision == "bfloat16" else None
        objective = TransducerObjective(model, config.objective, autocast=autocast)
        self.objective: Any = self.accelerator.prepare(objective)
        optimizers = build_optimizers(model, config.optimizer)
        self.optimizers: list[Any] = [self.accelerator.prepare(one) for one in optimizers]
        self.model = model
        self.average = {name: t.detach().clone() for name, t in model.state_dict().items()}
        self.update = self.epoch = self.next_batch = 0
        self._empty_epochs = 0
        self.best_wer: float | None = None
        self.history: list[dict[str, float]] = []
        self.on_best: Callable[[], None] = lambda: None
        """Called when the average is heard best so far, before the snapshot that says so."""

    @property
    def snapshot_path(self) -> Path:
        """The file that `resume` reads."""
        return self.folder / "snapshot.pt"

    def resume(self) -> None:
        """Go back to the last snapshot.

        Raises:
            CheckpointError: There is none, it is damaged, or it is of another run.
        """
        snapshot = load_snapshot(self.snapshot_path)
        if snapshot.config_json != to_json(self.config):
            raise CheckpointError(
                f"The snapshot in {self.folder} is of a run with other settings.",
                hint="Resume with the recipe, --set and --seed that it was started with.",
            )
        if snapshot.speech != self._speech():
            raise CheckpointError(
                f"The snapshot in {self.folder} is of a run on other speech, spliced or pronounced "
                "otherwise, or by more or fewer processes.",
                hint="Resume with every --data, in its order and as often, and the --splice-with "
                "and --pronunciations that it was started with, or begin another run with another "
                "--out.",
            )
        self.model.load_state_dict(snapshot.model)
        self.average = snapshot.average
        for optimizer, state in zip(self.optimizers, snapshot.optimizers, strict=True):
            optimizer.load_state_dict(state)
        self.update, self.epoch = snapshot.update, snapshot.epoch
        self.next_batch = snapshot.next_batch
        self.best_wer, self.history = snapshot.best_wer, snapshot.history

    def run(self) -> Iterator[Progress]:
        """Train to the end, yielding after each update; snapshots are written on the way."""
        self.accelerator.init_trackers("log")
        try:
            while self.update < self.config.num_updates:
                yield from self._rest_of_epoch()
            self.save()
        finally:
            self.accelerator.end_training()

    def save(self) -> None:
        """Write the snapshot."""
        if self.accelerator.is_main_process:
            save_snapshot(
                self.snapshot_path,
                Snapshot(
                    config_json=to_json(self.config),
                    speech=self._speech(),
                    update=self.update,
                    epoch=self.epoch,
                    next_batch=self.next_batch,
                    model=self.model.state_dict(),
                    average=self.average,
                    optimizers=[optimizer.state_dict() for optimizer in self.optimizers],
                    best_wer=self.best_wer,
                    history=self.history,
                ),
            )

    def averaged(self, build: Callable[[], Transducer]) -> Transducer:
        """A model with the averaged weights, in evaluation mode."""
        model = build()
        model.load_state_dict(self.average)
        return model.eval()

    def _speech(self) -> str:
        """What epochs are planned from, besides the settings; parts are named by what they hold."""
        plan = [
            [part.name for part in self.batches.store.parts],
            sorted(self.batches.repeats.items()),
            sorted((*key, list(seams)) for key, seams in (self.batches.seams or {}).items()),
            sorted(self.batches.lexicon.ways.items()) if self.batches.lexicon else [],
            self.accelerator.num_processes,
        ]
        return hashlib.blake2b(json.dumps(plan).encode(), digest_size=10).hexdigest()

    def _rest_of_epoch(self) -> Iterator[Progress]:
        """The rest of this epoch, or of the run."""
        before = self.update
        with contextlib.closing(self._prefetched()) as batches:
            for batch in batches:
                started = time.perf_counter()
                loss = self._advance(batch)
                seconds = time.perf_counter() - started
                self.next_batch += 1
                yield self._after_update(batch, loss, seconds)
                if self.update >= self.config.num_updates:
                    return
        is_empty = self.next_batch == 0 and self.update == before
        self._empty_epochs = self._empty_epochs + 1 if is_empty else 0
        if self._empty_epochs > self.config.data.batches.easy_epochs + _MOST_EMPTY_EPOCHS:
            raise ManifestError(
                f"Each epoch needs a batch for each of {self.accelerator.num_processes} "
                f"processes; {self._empty_epochs} epochs had none.",
                hint="Take the sources more often (--data PATH:1), or start fewer processes.",
            )
        self.epoch, self.next_batch = self.epoch + 1, 0

    def _advance(self, batch: Batch) -> dict[str, float]:
        """One update; dropout is drawn from a generator of this update alone."""
        self.update += 1
        settings = self.config.optimizer
        rate = settings.rate(self.update, self.config.num_updates)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group["rate_ratio"]
        self.objective.train()
        with torch.random.fork_rng(devices=[]):
            rng = torch_rng_for(self.config.seed, "update", self.update)
            torch.random.set_rng_state(rng.get_state())
            losses = self.objective(batch, self._hidden_tokens(batch))
            self.accelerator.backward(losses.total)
        norm = self.accelerator.clip_grad_norm_(
            self.objective.parameters(), settings.max_gradient_norm
        )
        numbers = {
            "loss": losses.total.item(),
            "transducer": losses.transducer.item(),
            "ctc": losses.ctc.item(),
            "phones": losses.phones.item(),
            "rate": rate,
            "gradient_norm": float(norm if norm is not None else 0.0),
        }
        if math.isfinite(numbers["gradient_norm"]) and abs(numbers["loss"]) < 1e6:
            for optimizer in self.optimizers:
                optimizer.step()
            self._average()
        else:
            _log.warning("Update %d had no finite gradient and was left out.", self.update)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        return numbers

    def _hidden_tokens(self, batch: Batch) -> Tensor | None:
        chance = self.model.config.predictor.token_dropout
        if not chance:
            return None
        rng = torch_rng_for(self.config.seed, "hidden tokens", self.update)
        return torch.rand(batch.targets_BU.shape, generator=rng) < chance

    @torch.no_grad()
    def _average(self) -> None:
        """Move the average towards the weights; faster at the start, when it is worth little."""
        decay = min(self.config.optimizer.average_decay, (self.update + 1) / (self.update + 10))
        for name, tensor in self.model.state_dict().items():
            if tensor.is_floating_point():
                self.average[name].lerp_(tensor, 1 - decay)
            else:
                self.average[name].copy_(tensor)

    def _after_update(self, batch: Batch, loss: dict[str, float], seconds: float) -> Progress:
        """Log, evaluate and save when it is time."""
        wer = None
        last = self.update == self.config.num_updates
        if last or self.update % self.config.evaluate_every == 0:
            wer = self._evaluate()
            loss = {**loss, "dev_wer": wer}
            self.history.append({"update": self.update, **loss})
        if last or self.update % self.config.snapshot_every == 0:
            self.save()
        self.accelerator.log(loss, step=self.update)
        heard = float(batch.lengths_B.sum()) * self.batches.features.clock.frame_seconds
        return Progress(
            update=self.update,
            num_updates=self.config.num_updates,
            epoch=self.epoch,
            loss=loss["loss"],
            rate=loss["rate"],
            audio_seconds_per_second=heard / max(seconds, 1e-9),
            dev_wer=wer,
        )

    def _evaluate(self) -> float:
        """WER of the averaged weights on the held-out speakers."""
        own = {name: t.detach().clone() for name, t in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        self.model.eval()
        try:
            wer = self.evaluate(self.model).rate
        finally:
            self.model.load_state_dict(own)
            self.model.train()
        wer = float("nan") if wer is None else wer
        if self.best_wer is None or math.isnan(self.best_wer) or wer < self.best_wer:
            self.best_wer = wer
            if self.accelerator.is_main_process:
                self.on_best()
        return wer

    def _prefetched(self) -> Generator[Batch, None, None]:
        """This epoch's remaining batches, made one ahead by a thread."""
        ready: queue.Queue[Batch | BaseException | None] = queue.Queue(maxsize=4)
        stop = threading.Event()

        def make() -> None:
            try:
                rank, world = self.accelerator.process_index, self.accelerator.num_processes
                plan = self.batches.plan(self.epoch)
                rounds = len(plan) // world  # every process must take part in every update
                for group in plan[rank : rounds * world : world][self.next_batch :]:
                    if stop.is_set():
                        return
                    ready.put(self.batches.batch(group, self.epoch))
                ready.put(None)
            except BaseException as error:
                ready.put(error)

        thread = threading.Thread(target=make, daemon=True)
        thread.start()
        try:
            while (item := ready.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            while thread.is_alive():
                try:
                    ready.get(timeout=0.1)
                except queue.Empty:
                    continue
