# SPDX-License-Identifier: Apache-2.0
"""How well are two people heard who talk at once, beside what a single-talker model makes of it?

The mixtures are those of a committed list: real recordings of speakers of the official test split
of speechocean762, 1 to 5 turns, at most 40 % of the speech overlapped, no rooms and no noise. The
list holds recordings, offsets and levels, so anyone can make the same sound. Each model streams the
sound in chunks of 160 ms on one thread. Intervals are 95 %, mixtures resampled.

    python benchmarks/two_talkers.py --data CORPORA/speechocean762 --limit 20 \
        --skip "single talker, greedy" "two channels, greedy" \
        --out benchmarks/results/two_talkers.json
    python benchmarks/two_talkers.py --data CORPORA/speechocean762 --make-list
"""

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evenear.data.conversations.mixtures import (
    MixtureConfig,
    MixturePlan,
    overlap_ratio,
    plan_mixture,
    render,
)
from evenear.data.conversations.simulation import read_plans, reference_segments, write_plans
from evenear.data.conversations.sounds import FileSounds
from evenear.data.corpora.manifests import load_cuts, utterance
from evenear.seeding import rng_for
from evenear.streaming import Recognizer
from evenear.streaming.duo import TwoTalkerRecognizer
from evenear.streaming.duoscores import ConversationScore, hear, normalized, score_session

LIST = Path(__file__).parent / "lists" / "two_talkers.jsonl"
SEED, NUM_MIXTURES, MOST_OVERLAP = 20260, 120, 0.4
MIXTURES = MixtureConfig(
    num_turns=(1, 5),
    overlap_chance=0.75,
    overlap_part=(0.1, 0.7),
    room_chance=0.0,
    noise_chance=0.0,
    max_seconds=20.0,
)
Row = tuple[MixturePlan, ConversationScore]


def conditions(plan: MixturePlan) -> list[str]:
    """The groups that a mixture belongs to."""
    ratio = overlap_ratio(plan)
    found = ["all"]
    if len({turn.speaker for turn in plan.turns}) == 1:
        return [*found, "one talker"]
    if ratio == 0:
        return [*found, "two talkers, no overlap"]
    return [*found, "overlap", "overlap up to 20 %" if ratio <= 0.2 else "overlap 20 to 40 %"]


def sounds_of(data: Path) -> FileSounds:
    """The test split's recordings."""
    found = [utterance(cut) for cut in iter(load_cuts(data))]
    return FileSounds([u for u in found if u.attributes.get("split") == "test"], cached=64)


def make_list(data: Path) -> None:
    """Draw the mixtures; those that overlap more than is asked for are drawn again."""
    sounds = sounds_of(data)
    plans: list[MixturePlan] = []
    number = 0
    while len(plans) < NUM_MIXTURES:
        plan = plan_mixture(MIXTURES, sounds, seed=SEED, mixture_id=f"two-talkers-{number:04d}")
        number += 1
        if overlap_ratio(plan) <= MOST_OVERLAP:
            plans.append(plan)
    LIST.parent.mkdir(exist_ok=True)
    write_plans(plans, LIST)


def interval(rows: list[Row], value: Callable[[ConversationScore], tuple[float, float]]) -> Any:
    """A pooled rate with its interval, mixtures resampled: value gives (count, of how many)."""
    counts = np.array([value(score) for _, score in rows], float)
    if not counts.size or not counts[:, 1].sum():
        return None
    picks = rng_for(0, "mixtures").integers(len(rows), size=(2000, len(rows)))
    sums = counts[picks].sum(axis=1)
    rates = sums[:, 0] / np.maximum(sums[:, 1], 1)
    low, high = np.percentile(rates, [2.5, 97.5])
    rate = counts[:, 0].sum() / counts[:, 1].sum()
    return {"rate": float(rate), "low": float(low), "high": float(high)}


def summary(rows: list[Row]) -> dict[str, Any]:
    """Everything about a group of mixtures."""
    total = sum((score for _, score in rows), ConversationScore())
    values = total.to_dict()
    values["orc_wer_interval"] = interval(rows, lambda s: (s.words.errors, s.words.reference_words))
    values["turn_accuracy_interval"] = interval(
        rows, lambda s: (sum(n for (a, c), n in s.turns.counts.items() if a == c), s.sessions)
    )
    return values


def run(streams: Callable[[], Any], plans: list[MixturePlan], sounds: FileSounds) -> list[Row]:
    """Stream every mixture through a fresh stream."""
    places, rows = sounds.by_id(), []
    for plan in plans:
        heard = hear(streams(), render(plan, sounds, places).samples_N)
        rows.append((plan, score_session(normalized(reference_segments(plan)), heard)))
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return rows


def compared(rows: list[Row], others: list[Row]) -> dict[str, float]:
    """Errors beside another model's on the same mixtures, resampled jointly."""
    mine = np.array([score.words.errors for _, score in rows], float)
    theirs = np.array([score.words.errors for _, score in others], float)
    picks = rng_for(0, "mixtures").integers(len(rows), size=(2000, len(rows)))
    ratios = mine[picks].sum(axis=1) / np.maximum(theirs[picks].sum(axis=1), 1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    ratio = mine.sum() / max(theirs.sum(), 1)
    return {"ratio": float(ratio), "low": float(low), "high": float(high)}


def main() -> None:
    """Make the list, or run the models over it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--make-list", action="store_true")
    parser.add_argument("--limit", type=int, default=NUM_MIXTURES)
    parser.add_argument("--duo", default="evenear-en-duo")
    parser.add_argument("--single", default="evenear-en-small")
    parser.add_argument("--skip", nargs="*", default=[], help="names of models to leave out")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.make_list:
        make_list(options.data)
        return
    torch.set_num_threads(1)
    plans, sounds = read_plans(LIST)[: options.limit], sounds_of(options.data)
    single = Recognizer.load(options.single)
    spelling = Recognizer.load(options.single, beam=1)
    duo = TwoTalkerRecognizer.load(options.duo)
    duo_spelling = TwoTalkerRecognizer.load(options.duo, use_words=False)
    models: dict[str, Callable[[], Any]] = {
        "two channels": duo.stream,
        "single talker": single.stream,
        "two channels, greedy": duo_spelling.stream,
        "single talker, greedy": spelling.stream,
    }
    found = {
        name: run(streams, plans, sounds)
        for name, streams in models.items()
        if name not in options.skip
    }
    groups = list(dict.fromkeys(group for plan in plans for group in conditions(plan)))
    results: dict[str, Any] = {}
    for group in sorted(groups):
        results[group] = {
            name: summary([row for row in rows if group in conditions(row[0])])
            for name, rows in found.items()
        }
        for mine, theirs in (
            ("two channels", "single talker"),
            ("two channels, greedy", "single talker, greedy"),
        ):
            if mine in found and theirs in found:
                pairs = [[r for r in found[n] if group in conditions(r[0])] for n in (mine, theirs)]
                results[group][f"{mine} / {theirs}"] = compared(*pairs)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    values = {
        "question": __doc__.splitlines()[0],
        "command": " ".join(["python", *sys.argv]).replace(str(options.data.parent), "CORPORA"),
        "commit": commit.stdout.strip(),
        "machine": platform.processor() or platform.machine(),
        "threads": 1,
        "list": str(LIST.relative_to(LIST.parent.parent.parent)),
        "list_seed": SEED,
        "mixtures": len(plans),
        "results": results,
    }
    text = json.dumps(values, indent=1) + "\n"
    if options.out:
        options.out.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
