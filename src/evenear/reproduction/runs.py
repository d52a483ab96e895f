# SPDX-License-Identifier: Apache-2.0
"""Many training runs over one corpus: each trained and scored once, resumed where it was stopped.

A run is a variant and a seed. Its folder holds its settings, its snapshot while it trains, its best
model, its curve and its scores; the scores are written last and say that it is done. With several
workers, runs go side by side in processes of one thread each, which is faster on a few cores than
one run with several threads. The words, the speakers held out and the frames are the same for all
runs; only the weights and the order of batches follow the seed.
"""

import json
import multiprocessing
import queue
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from evenear.atomic import write_bytes
from evenear.checkpoint import load_model
from evenear.config import to_json
from evenear.data.batching.store import FrameStore
from evenear.errors import EvenearError
from evenear.reproduction.scoring import score, write_scores
from evenear.training.loop.memory import keep_freed_memory
from evenear.training.runs.preparation import Source, prepare
from evenear.training.runs.recognizer import Run
from evenear.training.settings import TrainingConfig

__all__ = ["Job", "Step", "run_all", "run_one"]

_DATA_SEED = 0
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Job:
    """One run: what to train, on what, and where its files go."""

    variant: str
    config: TrainingConfig
    """With the run's own seed."""
    sources: tuple[Source, ...]
    data_folder: Path
    """Where the corpus lies prepared, for all runs."""
    test_parts: tuple[tuple[str, tuple[Path, ...]], ...]
    """Conditions of the test, and the parts of their stores."""
    folder: Path

    @property
    def name(self) -> str:
        """Variant and seed."""
        return f"{self.variant}-{self.config.seed}"

    @property
    def scores_path(self) -> Path:
        """Written last: where it is, the run is done."""
        return self.folder / "scores.jsonl"

    @property
    def curve_path(self) -> Path:
        """What was seen of the run while it trained."""
        return self.folder / "curve.json"

    @property
    def model_folder(self) -> Path:
        """The weights that were heard best on held-out speakers."""
        return self.folder / "model"

    @property
    def is_done(self) -> bool:
        """Whether it is trained and scored."""
        return self.scores_path.exists()

    def check(self) -> None:
        """Refuse a folder whose run has other settings.

        Raises:
            EvenearError: It does.
        """
        path = self.folder / "config.json"
        if path.exists() and path.read_text(encoding="utf-8") != to_json(self.config):
            raise EvenearError(
                f"{self.folder} holds a run with other settings.",
                hint="Give the --updates and --set it was begun with, or another --out.",
            )


@dataclass(frozen=True)
class Step:
    """What a run just did."""

    name: str
    update: int
    num_updates: int
    loss: float
    dev_wer: float | None
    is_done: bool = False
    """Whether the run is trained and scored."""


def run_one(job: Job, *, report: Callable[[Step], None], is_stopped: Callable[[], bool]) -> bool:
    """Train and score one run, from its snapshot if it has one.

    Returns:
        Whether it is done; if not, it was stopped between two updates.
    """
    job.check()
    if job.is_done:
        return True
    job.folder.mkdir(parents=True, exist_ok=True)
    write_bytes(job.folder / "config.json", to_json(job.config).encode())
    num_updates = job.config.num_updates
    if not job.curve_path.exists():
        run = _prepared(job)
        if run.trainer.snapshot_path.exists():
            run.trainer.resume()
        for step in run.train():
            report(Step(job.name, step.update, num_updates, step.loss, step.score))
            if is_stopped() and step.update < num_updates:
                run.trainer.save()
                return False
        _write_curve(job, run)
        run.trainer.snapshot_path.unlink(missing_ok=True)  # the curve says that it is trained
    if is_stopped():
        return False
    bundle = load_model(job.model_folder)
    stores = {condition: FrameStore(parts) for condition, parts in job.test_parts}
    scores = list(score(bundle.model, bundle.tokenizer, bundle.features, stores))
    write_scores(scores, job.scores_path)
    report(Step(job.name, num_updates, num_updates, float("nan"), None, is_done=True))
    return True


def run_all(
    jobs: Sequence[Job],
    *,
    num_workers: int,
    report: Callable[[Step], None],
    is_stopped: Callable[[], bool],
) -> bool:
    """Train and score all runs that are not done.

    Args:
        jobs: The runs, in the order in which they are begun.
        num_workers: Runs side by side; 1 runs them in this process.
        report: Called after each update of any run.
        is_stopped: Once it is true, runs end after their update, and none begins.

    Returns:
        Whether all are done.

    Raises:
        EvenearError: A run cannot be done; the others were stopped as by `is_stopped`.
    """
    for job in jobs:
        job.check()
    waiting = [job for job in jobs if not job.is_done]
    if num_workers == 1:
        return all(run_one(job, report=report, is_stopped=is_stopped) for job in waiting)
    return _Workers(num_workers).run(waiting, report, is_stopped)


def _prepared(job: Job) -> Run:
    """The run over the shared corpus, ready to train."""
    corpus = prepare(job.sources, job.config.data, job.data_folder, seed=_DATA_SEED)
    return Run.over(corpus, job.config, job.folder)


class _Workers:
    """Processes of one thread each, and what they say."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.context = multiprocessing.get_context("spawn")
        self.said: Any = self.context.Queue()
        self.stop: Any = self.context.Event()
        self.alive: list[Any] = []
        self.failure: EvenearError | None = None

    def run(
        self,
        jobs: Iterable[Job],
        report: Callable[[Step], None],
        is_stopped: Callable[[], bool],
    ) -> bool:
        waiting = list(jobs)
        try:
            while waiting or self.alive:
                if is_stopped():
                    self.stop.set()
                while waiting and len(self.alive) < self.number and not self.stop.is_set():
                    self._begin(waiting.pop(0))
                if not self.alive:
                    break
                self._listen(report)
                self._look_after()
        finally:
            for process in self.alive:
                process.terminate()
        while self._listen(report, seconds=0.0):
            pass
        if self.failure is not None:
            raise self.failure
        return not self.stop.is_set()

    def _begin(self, job: Job) -> None:
        arguments = (job, self.said, self.stop)
        process = self.context.Process(target=_work, args=arguments, daemon=True, name=job.name)
        process.start()
        self.alive.append(process)

    def _listen(self, report: Callable[[Step], None], seconds: float = _POLL_SECONDS) -> bool:
        """Hand on what is said next; tell whether anything was."""
        try:
            said = self.said.get(timeout=seconds) if seconds else self.said.get_nowait()
        except queue.Empty:
            return False
        if isinstance(said, Step):
            report(said)
        else:
            self.failure = self.failure or EvenearError(said[0], hint=said[1])
            self.stop.set()
        return True

    def _look_after(self) -> None:
        """Let go of the processes that ended; one that died stops all."""
        for process in [one for one in self.alive if not one.is_alive()]:
            self.alive.remove(process)
            if process.exitcode and not self.stop.is_set():
                self.failure = self.failure or EvenearError(
                    f"The run {process.name} ended with exit code {process.exitcode}.",
                    hint="It may have run out of memory. The same command goes on where it was.",
                )
                self.stop.set()


def _work(job: Job, said: Any, stop: Any) -> None:
    """One run in a process of its own; Ctrl-C is for the process that began it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    keep_freed_memory()
    try:
        run_one(job, report=said.put, is_stopped=stop.is_set)
    except EvenearError as error:
        said.put((f"{job.name}: {error.message}", error.hint))


def _write_curve(job: Job, run: Run) -> None:
    """Write how the run went."""
    content = {
        "run": job.name,
        "parameters": sum(p.numel() for p in run.task.model.parameters()),
        "updates": run.trainer.update,
        "hours": run.corpus.train.hours,
        "best_dev_wer": run.trainer.best_score,
        "history": run.trainer.history,
    }
    write_bytes(job.curve_path, (json.dumps(content, indent=1) + "\n").encode())
