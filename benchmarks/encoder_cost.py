# SPDX-License-Identifier: Apache-2.0
"""What do the streaming encoders cost: counted, by the paper's formula, in seconds and in memory?

Each encoder, with random weights, hears a minute of noise in chunks of 480 ms on one thread, in a
process of its own, so that its peak memory is its own. Seconds are those that the processor worked
for it, so what else runs beside it counts little.

    python benchmarks/encoder_cost.py --out benchmarks/results/encoder_cost.json
"""

import argparse
import json
import multiprocessing
import platform
import resource
import subprocess
import time
from pathlib import Path
from typing import Any

import torch

from evenear.config import from_json, to_json
from evenear.models.cost import paper_flops, transducer_cost
from evenear.models.transducer import Transducer, TransducerConfig
from evenear.recipes.convrnnt import PAPER, VARIANTS

FRAME_SECONDS = 0.03
CHUNK_FRAMES = 16
PAPER_FRAMES = (200, 400, 800, 1600)


def configs() -> dict[str, TransducerConfig]:
    """Every transducer to measure, by name: first at the paper's sizes, then small."""
    found = {f"paper {name}": preset() for name, preset in PAPER.items()}
    for name, variant in VARIANTS.items():
        run = variant()
        found[f"small {name}"] = run.model.transducer(
            vocabulary_size=run.data.vocabulary_size, blank_id=0, with_ctc=False
        )
    return found


def measure(settings: str, seconds: float) -> dict[str, Any]:
    """Count, and stream `seconds` of noise; memory is that of this whole process."""
    torch.set_num_threads(1)
    before = peak_megabytes()
    config = from_json(TransducerConfig, settings)
    model = Transducer(config).eval()
    cost = transducer_cost(model, FRAME_SECONDS)
    built = peak_megabytes()
    chunk_BTF = torch.randn(1, CHUNK_FRAMES, model.encoder.feature_dim)
    num_chunks = max(2, round(seconds / (CHUNK_FRAMES * FRAME_SECONDS)))
    took = []
    with torch.inference_mode():
        state = model.encoder.initial_state(1)
        for _ in range(num_chunks):
            began = time.process_time()
            _, state = model.step(chunk_BTF, state)
            took.append(time.process_time() - began)
    steady = took[num_chunks // 4 :]
    return {
        "parameters": cost.num_parameters,
        "encoder_macs_per_second": cost.encoder.macs_per_second,
        "encoder_macs_per_frame_by_part": cost.encoder.parts,
        "paper_flops": {str(n): paper_flops(config.encoder, n) for n in PAPER_FRAMES},
        "paper_flops_with_frequency": {
            str(n): paper_flops(config.encoder, n, with_frequency=True) for n in PAPER_FRAMES
        },
        "state_bytes": cost.encoder.state_bytes,
        "real_time_factor": sum(steady) / (len(steady) * CHUNK_FRAMES * FRAME_SECONDS),
        "library_megabytes": before,
        "model_megabytes": built - before,
        "streaming_megabytes": peak_megabytes() - built,
    }


def peak_megabytes() -> float:
    """The most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Parse, measure each in a process of its own, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--only", default="", help="names that contain this")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    results = {}
    for name, config in configs().items():
        if args.only not in name:
            continue
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            results[name] = pool.apply(measure, (to_json(config), args.seconds))
        n = results[name]
        print(
            f"{name:26} {n['parameters'] / 1e6:6.2f} M  "
            f"{n['encoder_macs_per_second'] / 1e6:8.1f} M MAC/s  rtf {n['real_time_factor']:.4f}  "
            f"state {n['state_bytes'] / 1000:7.1f} kB  streaming {n['streaming_megabytes']:.0f} MB",
            flush=True,
        )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    report = {
        "question": (__doc__ or "").splitlines()[0],
        "command": f"python benchmarks/encoder_cost.py --seconds {args.seconds:g}",
        "commit": commit,
        "machine": f"{platform.machine()}, one thread, torch {torch.__version__}",
        "results": results,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
