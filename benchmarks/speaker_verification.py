# SPDX-License-Identifier: Apache-2.0
"""How often are two recordings of one person, or of two, taken for the other?

All pairs of the recordings of a split, and the hard ones: same gender and same age band. By gender
and age band, trials have both speakers in the group. Intervals resample speakers on both sides
jointly; systems are compared on the same trials, draw by draw.

    python benchmarks/speaker_verification.py --data CORPORA/speechocean762 --each 10 \
        --peer Resemblyzer=resemblyzer.npz --out benchmarks/results/speaker_verification.json

Vectors of a peer come from a runner in `peer_runners`; ours from the files, as a user gets them.
"""

import argparse
import json
import platform
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evenear.atomic import write_bytes
from evenear.data.corpora.manifests import Utterance, load_cuts, utterance
from evenear.errors import AudioError
from evenear.metrics.trialscores import TrialSet, draws_of_speakers
from evenear.metrics.verification import eer, min_dcf
from evenear.seeding import rng_for
from evenear.verification import Embedder

__all__ = ["age_band", "main", "measure"]


def age_band(age: object) -> str:
    years = int(str(age))
    return "child (under 13)" if years < 13 else "teenager (13-19)" if years < 20 else "adult (20+)"


def embedded(model: str, rows: list[Utterance]) -> tuple[dict[str, np.ndarray], float]:
    """Vectors of our model by utterance, from its files, and the CPU time that they took."""
    embedder = Embedder.load(model)
    started = time.process_time()
    found = {}
    for row in rows:
        try:
            found[row.utterance_id] = embedder.embed_file(row.audio).vector
        except AudioError as error:
            print(f"left out: {error.message}")
    return found, time.process_time() - started


def measure(
    systems: dict[str, dict[str, np.ndarray]], rows: list[Utterance], seed: int, num_draws: int
) -> dict[str, Any]:
    """EERs of each system over each set of trials, and differences to the first system."""
    known = [r for r in rows if all(r.utterance_id in vectors for vectors in systems.values())]
    speakers = [row.speaker for row in known]
    gender = np.array([str(row.attributes["gender"]) for row in known])
    band = np.array([age_band(row.attributes["age"]) for row in known])
    first, second = np.triu_indices(len(known), k=1)
    alike_N = (gender[first] == gender[second]) & (band[first] == band[second])
    chosen = {"all pairs": None, "same gender and age band": alike_N}
    for values in (gender, band):
        for value in sorted(set(values.tolist())):
            chosen[f"both {value}"] = (values[first] == value) & (values[second] == value)
    draws_RS = draws_of_speakers(len(set(speakers)), num_draws, rng_for(seed, "draws"))
    tables: dict[str, Any] = {}
    for name, kept_N in chosen.items():
        table: dict[str, Any] = {}
        drawn: dict[str, np.ndarray] = {}
        for system, vectors in systems.items():
            matrix = np.stack([vectors[row.utterance_id] for row in known]).astype(np.float64)
            matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
            trials = TrialSet(matrix, speakers, kept_N)
            drawn[system] = trials.eers(draws_RS)
            targets, others = (
                trials.scores_N[trials.is_target_N],
                trials.scores_N[~trials.is_target_N],
            )
            low, high = np.nanquantile(drawn[system], [0.025, 0.975])
            table[system] = {
                "eer": eer(targets, others),
                "eer_interval": [float(low), float(high)],
                "min_dcf_p_0.01": min_dcf(targets, others),
            }
            table["targets"], table["non_targets"] = len(targets), len(others)
            table["speakers"] = len(np.unique(trials.sides_2N))
        ours, *peers = systems
        for peer in peers:
            apart = drawn[ours] - drawn[peer]
            low, high = np.nanquantile(apart, [0.025, 0.975])
            table[f"difference to {peer}"] = {
                "eer": table[ours]["eer"] - table[peer]["eer"],
                "interval": [float(low), float(high)],
            }
        tables[name] = table
    return tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--model", default="evenear-speaker")
    parser.add_argument("--peer", action="append", default=[], help="NAME=vectors.npz")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--each", type=int, default=20, help="Recordings of each speaker.")
    parser.add_argument("--draws", type=int, default=500, help="Draws of speakers.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [utterance(cut) for cut in iter(load_cuts(options.data))]
    rows = [row for row in rows if row.attributes.get("split") == options.split]
    counts: Counter[str] = Counter()
    kept = []
    for row in rows:
        counts[row.speaker] += 1
        if counts[row.speaker] <= options.each:
            kept.append(row)
    ours, seconds = embedded(options.model, kept)
    systems, cpu_seconds = {options.model: ours}, {options.model: seconds}
    heard = {options.model: sum(row.seconds for row in kept)}
    for peer in options.peer:
        name, _, path = peer.partition("=")
        found = np.load(path)
        systems[name] = dict(zip(found["names"].tolist(), found["vectors"], strict=True))
        cpu_seconds[name] = float(found["cpu_seconds"])
        heard[name] = sum(row.seconds for row in rows if row.utterance_id in systems[name])
    tables = measure(systems, kept, options.seed, options.draws)
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    result = {
        "command": "python benchmarks/speaker_verification.py --data CORPORA/"
        f"{options.data.name} --split {options.split} --each {options.each} "
        f"--draws {options.draws} "
        + " ".join(f"--peer {peer.partition('=')[0]}=VECTORS" for peer in options.peer),
        "commit": head.stdout.strip(),
        "machine": f"{platform.machine()}, one thread, other work on all cores",
        "model_version": Embedder.load(options.model).version,
        "seed": options.seed,
        "draws_of_speakers": options.draws,
        "recordings": len(kept),
        "seconds": {name: round(value, 1) for name, value in heard.items()},
        "cpu_seconds": {name: round(value, 1) for name, value in cpu_seconds.items()},
        "times_real_time_of_cpu": {
            name: round(heard[name] / value, 1) for name, value in cpu_seconds.items() if value
        },
        "trials": tables,
    }
    write_bytes(options.out, (json.dumps(result, indent=2) + "\n").encode())
    for name, table in tables.items():
        for system in systems:
            low, high = table[system]["eer_interval"]
            rate = 100 * table[system]["eer"]
            print(f"{name}: {system} EER {rate:.2f} % [{100 * low:.2f}, {100 * high:.2f}]")


if __name__ == "__main__":
    main()
