# SPDX-License-Identifier: Apache-2.0
"""Does a GPU train what a CPU trains, and how much faster?

One batch of noise goes through the recipe `evenear-en` (random weights, float32) on both: loss and
gradients must agree to 1e-3, relative. Then updates a second, how many times real time, and peak
memory, after all shapes were seen. Where there is no GPU it measures the CPU, says so and is done.
A CPU's seconds are those that one thread worked, so what else runs beside it counts little.

    python benchmarks/gpu_training.py --out benchmarks/results/gpu_training.json

Legend: B utterances, T frames, F feature width, U tokens.
"""

import argparse
import json
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evenear.config import replace
from evenear.data.batching.batches import Batch, collate
from evenear.metrics.words import WordErrors
from evenear.models.transducer import Transducer
from evenear.recipes import recipe
from evenear.seeding import rng_for, torch_rng_for
from evenear.training.loop.optimizers import build_optimizers
from evenear.training.loop.trainer import Trainer
from evenear.training.settings import TrainingConfig
from evenear.training.tasks.transducer import TransducerTask

VOCABULARY = 128
LENGTHS = (200, 400, 600, 800)
"""Feature frames of the utterances of a batch, one of them for each."""


class Noise:
    """Batches of a few shapes, in the place of speech."""

    def __init__(self, config: TrainingConfig, seconds: float, dim: int) -> None:
        self.seconds, self.dim = seconds, dim
        self.features = config.data.store.features

    def plan(self, epoch: int) -> list[int]:
        """Lengths of batches."""
        return rng_for(0, "plan", epoch).permutation(np.repeat(LENGTHS, 25)).tolist()

    def batch(self, length: int, epoch: int) -> Batch:
        """Utterances of one length, with five tokens a second."""
        rng = rng_for(0, "noise", (epoch, length))
        rows = max(1, round(self.seconds * 100 / length))
        frames = [rng.standard_normal((length, self.dim), np.float32) for _ in range(rows)]
        tokens = [rng.integers(2, VOCABULARY, length // 20).tolist() for _ in range(rows)]
        return collate([str(row) for row in range(rows)], frames, tokens)


def build(config: TrainingConfig) -> Transducer:
    """The recipe's model with random weights, the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.random.set_rng_state(torch_rng_for(0, "weights").get_state())
        return Transducer(
            config.model.transducer(vocabulary_size=VOCABULARY, blank_id=1, with_ctc=True)
        )


def gradients(config: TrainingConfig, batch: Batch, device: str) -> tuple[float, torch.Tensor]:
    """The loss of a batch, and all gradients in a row, without dropout."""
    task = _task(config, build(config).to(device), 8.0)
    task.model.eval()
    moved = Batch(*(p.to(device) if isinstance(p, torch.Tensor) else p for p in batch))
    losses = task.losses(moved, 10**6)
    total = sum(task.term_weights[n] * term.mean() for n, term in losses.terms.items())
    assert isinstance(total, torch.Tensor)
    total.backward()
    found = [p.grad.flatten().cpu() for p in task.model.parameters() if p.grad is not None]
    return float(total.detach()), torch.cat(found)


def speed(config: TrainingConfig, device: str, folder: Path, updates: int) -> dict[str, float]:
    """Updates a second once every shape was seen."""
    model = build(config).to(device)
    task = _task(config, model, config.data.batches.seconds)
    optimizers = build_optimizers(model, config.optimizer)
    steps: Iterator[Any] = Trainer(task, optimizers, config, folder, device=device).run()
    for _ in range(2 * len(LENGTHS) + 2):
        next(steps)
    if device != "cpu":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    clock = time.process_time if device == "cpu" else time.perf_counter
    began = clock()
    for _ in range(updates):
        next(steps)
    if device != "cpu":
        torch.cuda.synchronize()
    took = clock() - began
    memory = torch.cuda.max_memory_allocated() / 2**30 if device != "cpu" else 0.0
    return {
        "updates_a_second": updates / took,
        "times_real_time": updates * config.data.batches.seconds / took,
        "gigabytes": memory,
    }


def main() -> None:
    """Compare and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=48.0, help="speech in a batch")
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--folder", type=Path, default=Path("runs/gpu_training"))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    base = recipe("evenear-en")
    assert isinstance(base, TrainingConfig)
    data = replace(base.data, batches=replace(base.data.batches, seconds=args.seconds))
    settings = {"num_updates": 10**6, "evaluate_every": 10**6, "snapshot_every": 10**6}
    objective = replace(base.objective, distillation_weight=0.0, detached_updates=0)
    config = replace(base, data=data, objective=objective, **settings)
    exact = replace(config, precision="float32")
    report: dict[str, Any] = {
        "question": (__doc__ or "").splitlines()[0],
        "command": f"python benchmarks/gpu_training.py --seconds {args.seconds:g} "
        f"--updates {args.updates}",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}",
        "cpu": speed(config, "cpu", args.folder / "cpu", args.updates),
    }
    if torch.cuda.is_available():
        batch = Noise(exact, 8.0, exact.model.encoder.feature_dim).batch(400, 0)
        (loss, own), (other, theirs) = (gradients(exact, batch, d) for d in ("cpu", "cuda"))
        report["gpu"] = {
            "name": torch.cuda.get_device_name(),
            "relative_loss_difference": abs(loss - other) / abs(loss),
            "relative_gradient_difference": float((own - theirs).norm() / own.norm()),
            **speed(config, "cuda", args.folder / "gpu", 10 * args.updates),
        }
    else:
        print("There is no GPU here: only the CPU was measured.")
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))


def _task(config: TrainingConfig, model: Transducer, seconds: float) -> TransducerTask:
    noise: Any = Noise(config, seconds, config.model.encoder.feature_dim)
    return TransducerTask(config, model, noise, lambda _: WordErrors())


if __name__ == "__main__":
    main()
