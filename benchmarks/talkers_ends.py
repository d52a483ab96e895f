# SPDX-License-Identifier: Apache-2.0
"""When does a detector of voice say that one of two talkers is done?

The mixtures of `benchmarks/lists/two_talkers.jsonl`. A detector hears the mixture and not whose
voice it is, so each of its pauses is offered to every turn: a false cut is a turn in which it said
an end, and a turn that another goes on over has none. The same counts of `evenear-en-duo` are in
`results/two_talkers.json` (`false_cut_rate`, `missed_end_rate`, `end_delay_p50_milliseconds`).

    python benchmarks/talkers_ends.py --data CORPORA/speechocean762 --peers turns/bin/python \
        --out benchmarks/results/talkers_ends.json

`turns` is the environment of `peer_runners/run_turn_ends.py`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from evenear.data.conversations.mixtures import MixturePlan, render
from evenear.data.conversations.simulation import read_plans
from evenear.metrics.emission import EndpointCounts, TrueTurn, endpoint_counts
from evenear.seeding import rng_for
from two_talkers import LIST, sounds_of

RUNNER = Path(__file__).parent / "peer_runners" / "run_turn_ends.py"
WINDOW_SECONDS = 0.032
SILENCES = (0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.3, 1.6)
"""Seconds below one half that end a turn."""


def ends_of(probabilities: list[float], silence_seconds: float) -> list[float]:
    """When an end is said: once in each pause that is long enough, after speech."""
    needed, found, quiet, heard = round(silence_seconds / WINDOW_SECONDS), [], 0, False
    for window, probability in enumerate(probabilities):
        quiet = 0 if probability >= 0.5 else quiet + 1
        heard = heard or probability >= 0.5
        if heard and quiet == needed:
            found.append((window + 1) * WINDOW_SECONDS)
            heard = False
    return found


def counted(plan: MixturePlan, ends: list[float]) -> EndpointCounts:
    """The counts of one mixture; a stream's end ends what is open."""
    turns = [TrueTurn(turn.start_seconds, turn.end_seconds) for turn in plan.turns]
    return endpoint_counts(turns, [*ends, plan.num_samples / 16_000])


def rate(rows: list[EndpointCounts], name: str) -> dict[str, float]:
    """A rate of turns with its interval, mixtures resampled."""
    counts = np.array([(getattr(row, name), row.turns) for row in rows], float)
    picks = rng_for(0, "mixtures").integers(len(rows), size=(2000, len(rows)))
    sums = counts[picks].sum(axis=1)
    low, high = np.percentile(sums[:, 0] / sums[:, 1], [2.5, 97.5])
    value = counts[:, 0].sum() / counts[:, 1].sum()
    return {"rate": float(value), "low": float(low), "high": float(high)}


def main() -> None:
    """Hear, count, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--peers", required=True, help="the Python of their environment")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    plans, sounds = read_plans(LIST), sounds_of(options.data)
    places = sounds.by_id()
    with tempfile.TemporaryDirectory() as folder:
        given, heard = Path(folder) / "sounds.npz", Path(folder) / "heard.json"
        mixed = {plan.mixture_id: render(plan, sounds, places).samples_N for plan in plans}
        np.savez(given, **mixed)  # pyright: ignore[reportArgumentType]
        subprocess.run([options.peers, str(RUNNER), str(given), str(heard)], check=True)
        found = json.loads(heard.read_text())["sounds"]
    results: dict[str, Any] = {}
    for silence in SILENCES:
        rows = [counted(p, ends_of(found[p.mixture_id]["speech"], silence)) for p in plans]
        total = sum(rows, EndpointCounts())
        results[f"silero-vad, {silence:g} s"] = {
            "turns": total.turns,
            "false_cuts": rate(rows, "cut"),
            "missed": rate(rows, "missed"),
            "delay_p50_milliseconds": total.delay_milliseconds(50),
            "delay_p90_milliseconds": total.delay_milliseconds(90),
        }
    command = " ".join(["python", *sys.argv]).replace(str(options.data.parent), "CORPORA")
    values = {"question": (__doc__ or "").splitlines()[0], "command": command, "results": results}
    options.out.write_text(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    main()
