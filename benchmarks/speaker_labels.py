# SPDX-License-Identifier: Apache-2.0
"""Are turns of one person given one label, and those of two people two?

Turns are the true ones of simulated conversations, each heard where it is alone (see
`evenear.streaming.twotalkers.labels`); what is asked is only who speaks. A conversation counts as
right if its labels and its speakers can be matched one to one; turns count as right under the best
matching.
The likeness from which on turns are one person's is chosen on conversations of training speakers;
the numbers are of the committed list of test speakers. Intervals are 95 %, conversations resampled.

    python benchmarks/speaker_labels.py --data CORPORA/speechocean762 \
        --out benchmarks/results/speaker_labels.json
"""

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from evenear.data.conversations.mixtures import MixturePlan, plan_mixture, render
from evenear.data.conversations.simulation import read_plans, reference_segments
from evenear.data.conversations.sounds import FileSounds
from evenear.data.corpora.manifests import load_cuts, utterance
from evenear.seeding import rng_for
from evenear.streaming.twotalkers.labels import (
    LabelConfig,
    LogMelVoice,
    SpeakerLabels,
    VoiceEncoder,
    label_segments,
)
from evenear.verification.turns import TurnVoice
from two_talkers import LIST, MIXTURES

LIKENESSES = tuple(round(0.05 * step, 2) for step in range(2, 20))


class Remembered:
    """A voice encoder that hears each sound once."""

    def __init__(self, encoder: VoiceEncoder) -> None:
        self.encoder, self.known = encoder, {}

    def embed(self, samples_N: Any) -> Any:
        """As the encoder does."""
        key = hash(samples_N.tobytes())
        if key not in self.known:
            self.known[key] = self.encoder.embed(samples_N)
        return self.known[key]


def right_turns(said: list[str], true: list[str]) -> int:
    """Turns whose label is their speaker's, under the best matching of labels and speakers."""
    labels, people = sorted(set(said)), sorted(set(true))
    pairs = np.array(
        [
            [sum(s == a and t == b for s, t in zip(said, true, strict=True)) for b in people]
            for a in labels
        ]
    )
    rows, columns = linear_sum_assignment(pairs, maximize=True)
    return int(pairs[rows, columns].sum())


def labelled(
    plans: list[MixturePlan], sounds: FileSounds, encoder: VoiceEncoder, likeness: float
) -> list[tuple[int, int, bool]]:
    """For each conversation its turns that are right, its turns, and whether all is right."""
    places, found = sounds.by_id(), []
    for plan in plans:
        samples_N = render(plan, sounds, places).samples_N
        segments = [replace(one, speaker=f"{n}") for n, one in enumerate(reference_segments(plan))]
        truth = {str(n): turn.speaker for n, turn in enumerate(plan.turns)}
        texts = [replace(one, text=one.speaker) for one in segments]
        labels = SpeakerLabels(encoder, LabelConfig(least_likeness=likeness))
        done = label_segments(texts, samples_N, labels)
        said, true = [one.speaker for one in done], [truth[one.text] for one in done]
        pairs = set(zip(said, true, strict=True))
        whole = len(pairs) == len(set(said)) == len(set(true))
        found.append((right_turns(said, true), len(said), whole))
    return found


def summary(rows: list[tuple[int, int, bool]]) -> dict[str, Any]:
    """Pooled rates with intervals."""
    counts = np.array(rows, float)
    picks = rng_for(0, "mixtures").integers(len(rows), size=(2000, len(rows)))
    found: dict[str, Any] = {"conversations": len(rows), "turns": int(counts[:, 1].sum())}
    for name, top, under in (("turns_right", 0, 1), ("conversations_right", 2, None)):
        below = counts[:, under] if under is not None else np.ones(len(rows))
        drawn = counts[picks][..., top].sum(axis=1) / below[picks].sum(axis=1)
        low, high = np.percentile(drawn, [2.5, 97.5])
        value = counts[:, top].sum() / below.sum()
        found[name] = {"rate": float(value), "low": float(low), "high": float(high)}
    return found


def main() -> None:
    """Choose the likeness on training speakers, measure on test speakers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--chosen-on", type=int, default=100, help="conversations to choose on")
    parser.add_argument("--limit", type=int, default=120)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    every = [utterance(cut) for cut in iter(load_cuts(options.data))]
    train, test = (
        FileSounds([u for u in every if u.attributes.get("split") == split], cached=64)
        for split in ("train", "test")
    )
    choosing = [
        plan_mixture(MIXTURES, train, seed=7, mixture_id=f"labels-{number}")
        for number in range(options.chosen_on)
    ]
    results = {}
    for name, encoder in (
        ("log-mel statistics", LogMelVoice()),
        ("evenear-speaker", TurnVoice.load()),
    ):
        heard = Remembered(encoder)
        tried = {
            likeness: sum(right for right, _, _ in labelled(choosing, train, heard, likeness))
            for likeness in LIKENESSES
        }
        likeness = max(tried, key=lambda one: tried[one])
        rows = labelled(read_plans(LIST)[: options.limit], test, Remembered(encoder), likeness)
        results[name] = {"least_likeness": likeness, **summary(rows)}
        print(name, results[name], file=sys.stderr)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    values = {
        "question": __doc__.splitlines()[0],
        "command": " ".join(["python", *sys.argv]).replace(str(options.data.parent), "CORPORA"),
        "commit": commit.stdout.strip(),
        "results": results,
    }
    text = json.dumps(values, indent=1) + "\n"
    if options.out:
        options.out.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
