# SPDX-License-Identifier: Apache-2.0
"""How much of a training run's time goes to the memory it asks for, frees and asks for again?

The recipe of the shipped model trains on made-up frames of speech-like lengths, in the true loop,
in processes of its own: with the C library's allocator as it comes, told to keep what is freed
(what `evenear train` does), and with jemalloc, as it comes and told to keep. Rounds take turns, so
a busy machine slows all alike; relative speeds are of one round.

    python benchmarks/training_speed.py --out benchmarks/results/training_speed.json
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from evenear.atomic import write_bytes
from evenear.config import replace
from evenear.data.batching.batches import Batch, BatchMaker, collate
from evenear.features import FeatureConfig
from evenear.metrics.words import WordErrors
from evenear.models.transducer import Transducer
from evenear.recipes import recipe
from evenear.seeding import rng_for
from evenear.shapes import few_sizes
from evenear.training.loop.memory import keep_freed_memory
from evenear.training.loop.optimizers import build_optimizers
from evenear.training.loop.trainer import Trainer
from evenear.training.tasks.transducer import TransducerTask

__all__ = ["main"]

VOCABULARY = 128
WARM_UP = 20
"""Updates before the clock starts: kernels are compiled, memory is asked for."""
JEMALLOC = "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"
KEEP = "dirty_decay_ms:-1,muzzy_decay_ms:-1,oversize_threshold:0,thp:always"
ALLOCATORS: dict[str, dict[str, str]] = {
    "C library": {},
    "C library, memory kept": {"EVENEAR_KEEP": "1"},
    "jemalloc": {"LD_PRELOAD": JEMALLOC},
    "jemalloc, memory kept": {"LD_PRELOAD": JEMALLOC, "MALLOC_CONF": KEEP},
}


class MadeUpSpeech:
    """Batches as `BatchMaker` would make them, of noise: one length each, from 1 to 9 seconds."""

    def __init__(self, features: FeatureConfig, seconds: float) -> None:
        self.features, self.seconds = features, seconds

    def plan(self, epoch: int) -> list[int]:
        """Lengths of batches, in stacked frames."""
        seconds = rng_for(0, "lengths", epoch).lognormal(1.2, 0.45, 100).clip(1.0, 9.0)
        return [few_sizes(int(s / self.features.clock.frame_seconds)) for s in seconds]

    def batch(self, length: int, epoch: int) -> Batch:
        """A full batch of utterances of about this length, three tokens a second."""
        rng = rng_for(0, "speech", (epoch, length))
        size = int(self.seconds / self.features.clock.frame_seconds) // length
        lengths = rng.integers(length - 7, length + 1, size)
        frames = [rng.standard_normal((n, self.features.dim), np.float32) for n in lengths]
        tokens = [rng.integers(1, VOCABULARY, max(1, n // 11)).tolist() for n in lengths]
        return collate([str(i) for i in range(size)], frames, tokens)


def train(num_updates: int, threads: int, seconds: float) -> dict[str, float]:
    """Train in this process; time an update, and count what it asked the system for."""
    if os.environ.get("EVENEAR_KEEP"):
        assert keep_freed_memory()
    torch.set_num_threads(threads)
    config = recipe("evenear-en-small-continued")
    config = replace(config, num_updates=num_updates, evaluate_every=10**6, snapshot_every=10**6)
    transducer = config.model.transducer(vocabulary_size=VOCABULARY, blank_id=0, with_ctc=True)
    speech = cast("BatchMaker", MadeUpSpeech(config.data.store.features, seconds))
    with tempfile.TemporaryDirectory() as folder:
        model = Transducer(transducer)
        task = TransducerTask(config, model, speech, _deaf)
        optimizers = build_optimizers(model, config.optimizer)
        steps = Trainer(task, optimizers, config, Path(folder)).run()
        for _ in islice(steps, WARM_UP):
            pass
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        count = sum(1 for _ in islice(steps, num_updates - WARM_UP - 1))
        took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
        cast("Generator[Any, None, None]", steps).close()  # or its log outlives the folder
    return {
        "seconds_an_update": took / count,
        "system_seconds_an_update": (after.ru_stime - before.ru_stime) / count,
        "page_faults_an_update": (after.ru_minflt - before.ru_minflt) / count,
        "gigabytes": after.ru_maxrss / 1e6,
    }


def _deaf(_: Transducer) -> WordErrors:
    return WordErrors()


def rounds(args: argparse.Namespace) -> Iterator[tuple[str, dict[str, float]]]:
    """Measure each allocator in turn, several times."""
    names = [name for name in ALLOCATORS if "jemalloc" not in name or Path(JEMALLOC).exists()]
    for _ in range(args.rounds):
        for name in names:
            settings = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "100000", **ALLOCATORS[name]}
            command = [sys.executable, __file__, "--child", "--updates", str(args.updates)]
            command += ["--threads", str(args.threads), "--seconds", str(args.seconds)]
            ran = subprocess.run(
                command, env={**os.environ, **settings}, stdout=subprocess.PIPE, check=True
            )
            yield name, json.loads(ran.stdout)


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--updates", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=96.0, help="speech in a batch")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.updates < WARM_UP + 5:
        parser.error(f"--updates must be at least {WARM_UP + 5}, got {args.updates}")
    if args.child:
        print(json.dumps(train(args.updates, args.threads, args.seconds)))
        return
    found: dict[str, list[dict[str, float]]] = {}
    for name, numbers in rounds(args):
        found.setdefault(name, []).append(numbers)
    first = [one["seconds_an_update"] for one in found["C library"]]
    results: dict[str, Any] = {
        "question": (__doc__ or "").splitlines()[0],
        "command": f"python benchmarks/training_speed.py --updates {args.updates} "
        f"--rounds {args.rounds} --threads {args.threads} --seconds {args.seconds:g}",
        "torch": torch.__version__,
        "libc": " ".join(platform.libc_ver()),
        "allocators": {
            name: {
                "rounds": runs,
                "speed_beside_c_library": [
                    mine / run["seconds_an_update"] for mine, run in zip(first, runs, strict=True)
                ],
            }
            for name, runs in found.items()
        },
    }
    if args.out is not None:
        write_bytes(args.out, (json.dumps(results, indent=1) + "\n").encode())
    _print(results)


def _print(results: dict[str, Any]) -> None:
    table = Table(title="An update of the shipped model's recipe; median of rounds")
    for name in ("", "seconds", "of the system", "page faults", "GB", "speed, each round"):
        table.add_column(name, justify="left" if not name else "right")
    for name, one in results["allocators"].items():
        cells = [
            statistics.median(run[key] for run in one["rounds"])
            for key in (
                "seconds_an_update",
                "system_seconds_an_update",
                "page_faults_an_update",
                "gigabytes",
            )
        ]
        speeds = ", ".join(f"{speed:.2f}" for speed in one["speed_beside_c_library"])
        numbers = (f"{cells[0]:.3f}", f"{cells[1]:.3f}", f"{cells[2]:,.0f}", f"{cells[3]:.1f}")
        table.add_row(name, *numbers, speeds)
    Console().print(table)


if __name__ == "__main__":
    main()
