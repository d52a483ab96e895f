# SPDX-License-Identifier: Apache-2.0
"""How well are two people heard who talk at once, beside what a single-talker model makes of it?

The mixtures are those of a committed list: real recordings of speakers of the official test split
of speechocean762, 1 to 5 turns, at most 40 % of the speech overlapped, no rooms and no noise. The
list holds recordings, offsets and levels, so anyone can make the same sound. Each model streams the
sound in chunks of 160 ms on one thread. Intervals are 95 %, mixtures resampled.

With meeteval (`pip install 'evenear[meeting]'`) it is also counted who said what, cpWER: of the
two-channel model by its channels where they are talkers, of the other by labels of its turns'
voices (`streaming.twotalkers.labels`).

"own sound" is the bound: the single-talker model hears each channel's own sound, without the other
channel's. No separator in front of that recognizer can be expected to do better.

    python benchmarks/two_talkers.py --data CORPORA/speechocean762 \
        --out benchmarks/results/two_talkers.json
    python benchmarks/two_talkers.py --data CORPORA/speechocean762 --make-list
"""

import argparse
import importlib.util
import json
import pickle
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
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
from evenear.metrics.turns import speaker_errors
from evenear.metrics.words import WordErrors, normalize
from evenear.seeding import rng_for
from evenear.streaming import Recognizer
from evenear.streaming.events import TurnEnded
from evenear.streaming.segments import SegmentBuilder
from evenear.streaming.turns import TurnConfig
from evenear.streaming.twotalkers.labels import LabelConfig, SpeakerLabels, label_segments
from evenear.streaming.twotalkers.recognizer import TwoTalkerRecognizer, segments_of
from evenear.streaming.twotalkers.scores import (
    ConversationScore,
    Heard,
    hear,
    normalized,
    score_session,
)
from evenear.transcripts import Segment
from evenear.verification.turns import LEAST_LIKENESS, TurnVoice

meeteval = importlib.util.find_spec("meeteval")
TWO_VOICES = LabelConfig(least_likeness=LEAST_LIKENESS, most_speakers=2)
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


def conditions(plan: MixturePlan, people: dict[str, tuple[str, str]]) -> list[str]:
    """The groups that a mixture belongs to; people's gender and age group are looked up."""
    ratio = overlap_ratio(plan)
    found = ["all"]
    talkers = sorted({turn.speaker for turn in plan.turns})
    if len(talkers) == 1:
        return [*found, "one talker"]
    if ratio == 0:
        return [*found, "two talkers, no overlap"]
    found += ["overlap", "overlap up to 20 %" if ratio <= 0.2 else "overlap 20 to 40 %"]
    genders, ages = ({people[name][place] for name in talkers} for place in (0, 1))
    found.append("overlap, " + ("same gender" if len(genders) == 1 else "two genders"))
    named = {"child": "two children", "adult": "two adults"}
    found.append("overlap, " + (named[ages.pop()] if len(ages) == 1 else "child and adult"))
    return found


def sounds_of(data: Path) -> FileSounds:
    """The test split's recordings."""
    found = [utterance(cut) for cut in iter(load_cuts(data))]
    return FileSounds([u for u in found if u.attributes.get("split") == "test"], cached=64)


def people_of(sounds: FileSounds) -> dict[str, tuple[str, str]]:
    """Gender and age group of each speaker, as the corpus says."""
    return {
        one.speaker: (
            str(one.attributes.get("gender")),
            "child" if float(one.attributes.get("age", 99)) < 18 else "adult",  # pyright: ignore[reportArgumentType]
        )
        for one in sounds.utterances
    }


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


def rate_of(errors: list[WordErrors]) -> Any:
    """The pooled rate of word errors with its interval, mixtures resampled."""
    rows: list[Any] = [(None, one) for one in errors]
    return interval(rows, lambda e: (e.errors, e.reference_words)) if rows else None  # pyright: ignore[reportAttributeAccessIssue]


def summary(rows: list[Row]) -> dict[str, Any]:
    """Everything about a group of mixtures."""
    total = sum((score for _, score in rows), ConversationScore())
    values = total.to_dict()
    values["orc_wer_interval"] = interval(rows, lambda s: (s.words.errors, s.words.reference_words))
    values["turn_accuracy_interval"] = interval(
        rows, lambda s: (sum(n for (a, c), n in s.turns.counts.items() if a == c), s.sessions)
    )
    return values


def run(
    streams: Callable[[], Any],
    plans: list[MixturePlan],
    sounds: FileSounds,
    *,
    own: bool = False,
    named: bool = False,
) -> tuple[list[Row], float, list[WordErrors]]:
    """Stream every mixture, or each channel's own sound.

    Returns:
        Scores, processor seconds for each second, and errors of who said what of each mixture, if
        they can be counted: by channels that are `named`, or by labels of turns.
    """
    places, rows, took, seconds = sounds.by_id(), [], 0.0, 0.0
    said: list[WordErrors] = []
    voice = TurnVoice.load() if meeteval and not own else None
    for plan in plans:
        mixture = render(plan, sounds, places)
        began = time.process_time()
        if own:
            heard = together([hear(streams(), source_N) for source_N in mixture.sources_CN])
        else:
            heard = hear(streams(), mixture.samples_N)
        took, seconds = took + time.process_time() - began, seconds + plan.num_samples / 16_000
        references = normalized(reference_segments(plan))
        rows.append((plan, score_session(references, heard)))
        if voice is not None:
            names = None if named else SpeakerLabels(voice, TWO_VOICES)
            said.append(speaker_errors(references, spoken(plan, heard, mixture.samples_N, names)))
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return rows, took / seconds, said


def spoken(
    plan: MixturePlan, heard: Heard, samples_N: np.ndarray, names: SpeakerLabels | None
) -> list[Segment]:
    """Turns that were heard, with names from their voices; without labels, from their channels."""
    if names is not None:
        ended = in_turns(heard)
        segments = list(SegmentBuilder(TurnConfig(), plan.mixture_id).accept(ended))
        segments = label_segments(segments, samples_N, names)
    else:  # a turn has one Final
        segments = list(segments_of(heard.events, plan.mixture_id))
    return [replace(one, text=normalize(one.text), words=()) for one in segments]


def in_turns(heard: Heard) -> list[Any]:
    """Events whose every turn ends behind its words, as segments are built."""
    ends = {e.channel: e for e in heard.events if isinstance(e, TurnEnded)}
    return [*heard.events, *ends.values()]


def together(channels: list[Heard]) -> Heard:
    """What single-talker streams told, as channels of one session."""
    events = [replace(e, channel=c) for c, one in enumerate(channels) for e in one.events]
    return Heard(tuple(events), channels[0].compute + channels[1].compute)


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
    parser.add_argument("--single", default="evenear-en")
    parser.add_argument("--greedy", action="store_true", help="without their words, too")
    parser.add_argument("--skip", nargs="*", default=[], help="names of models to leave out")
    parser.add_argument("--heard", type=Path, help="what was heard so far; a stopped run goes on")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.make_list:
        make_list(options.data)
        return
    torch.set_num_threads(1)
    plans, sounds = read_plans(LIST)[: options.limit], sounds_of(options.data)
    people = people_of(sounds)
    models: dict[str, Callable[[], Any]] = {
        "single talker": lambda: Recognizer.load(options.single),
        "own sound": lambda: Recognizer.load(options.single),
        "two channels": lambda: TwoTalkerRecognizer.load(options.duo),
    }
    if options.greedy:
        models["single talker, greedy"] = lambda: Recognizer.load(options.single, beam=1)
        models["two channels, greedy"] = lambda: TwoTalkerRecognizer.load(
            options.duo, use_words=False
        )
    named = TwoTalkerRecognizer.load(options.duo).channels_are_talkers
    heard: dict[tuple[str, int], tuple[list[Row], float, list[WordErrors]]] = {}
    if options.heard is not None and options.heard.exists():
        heard = pickle.loads(options.heard.read_bytes())
    for name, load in models.items():
        if name not in options.skip and (name, len(plans)) not in heard:
            own = name == "own sound"
            by_name = named and name.startswith("two channels")
            heard[name, len(plans)] = run(load().stream, plans, sounds, own=own, named=by_name)
            if options.heard is not None:
                options.heard.write_bytes(pickle.dumps(heard))
    found = {name: heard[name, len(plans)][0] for name in models if (name, len(plans)) in heard}
    factors = {name: heard[name, len(plans)][1] for name in found}
    words = {name: heard[name, len(plans)][2] for name in found}
    groups = dict.fromkeys(group for plan in plans for group in conditions(plan, people))
    results: dict[str, Any] = {}
    for group in sorted(groups):
        own = {
            name: [row for row in rows if group in conditions(row[0], people)]
            for name, rows in found.items()
        }
        results[group] = {name: summary(rows) for name, rows in own.items()}
        for name, rows in found.items():
            said = [
                e
                for e, row in zip(words[name], rows, strict=False)
                if group in conditions(row[0], people)
            ]
            results[group][name]["cp_wer"] = rate_of(said)
        for mine, theirs in (
            ("two channels", "single talker"),
            ("own sound", "single talker"),
            ("two channels, greedy", "single talker, greedy"),
        ):
            if mine in own and theirs in own:
                results[group][f"{mine} / {theirs}"] = compared(own[mine], own[theirs])
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    values = {
        "question": (__doc__ or "").splitlines()[0],
        "command": " ".join(["python", *sys.argv]).replace(str(options.data.parent), "CORPORA"),
        "commit": commit.stdout.strip(),
        "machine": platform.processor() or platform.machine(),
        "threads": 1,
        "list": str(LIST.relative_to(LIST.parent.parent.parent)),
        "list_seed": SEED,
        "mixtures": len(plans),
        "processor_seconds_for_each_second": factors,
        "results": results,
    }
    text = json.dumps(values, indent=1) + "\n"
    if options.out:
        options.out.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
