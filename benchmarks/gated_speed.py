# SPDX-License-Identifier: Apache-2.0
"""How much of what gates save by count they save in time: dense and gated by turns, one thread.

    python benchmarks/gated_speed.py [--seconds 60] [--share 0.4]

The encoder has the shape of evenear-en and random weights (speed does not depend on them). Its
arbitrators are random too, with a threshold at which about the asked share is computed; they decide
block by block or frame by frame. Each block is given to both encoders in turn: whatever else
the machine does slows both. Counted saving includes the convolutions and the arbitrators.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import torch

from evenear.config import replace
from evenear.encoders.gated import GateConfig, GatedTransformer
from evenear.encoders.transformer import TransformerConfig, TransformerEncoder
from evenear.nn.gate import ArbitratorConfig
from evenear.seeding import torch_rng_for

RESULTS = Path(__file__).parent / "results" / "gated_speed.json"
BLOCKS = (16, 32, 64)
KINDS = {
    "blocks, modules in parts": GateConfig(by_block=True, ff_parts=6, adapter_rank=32),
    "blocks, layers whole": GateConfig(by_block=True),
    "frames, layers whole": GateConfig(by_block=False),
    "blocks, each head": GateConfig(by_block=True, each_head=True),
    "frames, each head": GateConfig(by_block=False, each_head=True),
}


@torch.no_grad()
def gated_around(dense: TransformerEncoder, gates: GateConfig) -> GatedTransformer:
    """Random gates around an encoder, calibrated to spend about what is asked for."""
    arbitrators = ArbitratorConfig(count=2, hidden_dim=64, asked=False, bias=0.0)
    encoder = GatedTransformer.around(dense, replace(gates, arbitrators=arbitrators))
    for arbitrator in encoder.each_arbitrator():
        arbitrator.output.weight.mul_(10.0)
    features_BTF = torch.randn(2, 320, dense.feature_dim, generator=torch_rng_for(0, "probe"))
    lengths_B = torch.full((2,), 320)
    told = [value / 2 for value in range(-8, 9)]
    encoder.eval()
    spent = []
    for value in told:
        encoder.told_G.fill_(value)
        found = encoder.encode_asked(features_BTF, lengths_B, torch.full((2,), 0.5))
        spent.append(float(found.spent_BT.sum() / found.dense_BT.sum()))
    encoder.calibrate(told, spent)
    return encoder


@torch.inference_mode()
def measure(block: int, gates: GateConfig, share: float, seconds: float) -> dict[str, float]:
    """Both encoders over the same stream, block by block."""
    torch.manual_seed(0)
    dense = TransformerEncoder(TransformerConfig(block_frames=block)).eval()
    encoder = gated_around(dense, gates).eval()
    num_blocks = max(20, round(100 * seconds / block))
    sound_BTF = torch.randn(
        1, num_blocks * block, dense.feature_dim, generator=torch_rng_for(1, "stream")
    )
    plain, state = dense.initial_state(1), encoder.ask(encoder.initial_state(1), share)
    took: dict[str, list[float]] = {"dense": [], "gated": []}
    for chunk_BTF in sound_BTF.split(block, dim=1):
        began = time.process_time()
        _, plain = dense.step(chunk_BTF, plain)
        between = time.process_time()
        _, state = encoder.step(chunk_BTF, state)
        took["dense"].append(between - began)
        took["gated"].append(time.process_time() - between)
    late = {name: times[len(times) // 5 :] for name, times in took.items()}
    counted = 1.0 - float(encoder.spent(state))
    wall = 1.0 - sum(late["gated"]) / sum(late["dense"])
    return {
        "block_milliseconds": 10 * block,
        "counted_saving": round(counted, 4),
        "time_saving": round(wall, 4),
        "kept_of_counted": round(wall / counted, 4) if counted > 0 else float("nan"),
        "dense_milliseconds": round(1000 * median(late["dense"]), 3),
        "gated_milliseconds": round(1000 * median(late["gated"]), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--share", type=float, default=0.4)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name, gates in KINDS.items():
        for block in BLOCKS:
            row = {"decides": name, **measure(block, gates, given.share, given.seconds)}
            rows.append(row)
            print(row, flush=True)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    result = {
        "commit": commit,
        "command": " ".join(["python", "benchmarks/gated_speed.py", *sys.argv[1:]]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread",
        "torch": torch.__version__,
        "seed": 0,
        "clock": "processor time of the process; dense and gated in turn for every block",
        "rows": rows,
    }
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
