# SPDX-License-Identifier: Apache-2.0
"""How does the shipped model compare with other recognizers that run offline on a CPU?

PocketSphinx 5, Whisper tiny.en and Whisper base (8-bit, by faster-whisper) hear the same utterances
as our model, each on one thread, one recognizer after another. Each peer lives in a virtual
environment of its own, is used at its library's default settings, and hears each utterance whole;
ours hears 160 ms at a time, as it would live. All texts are scored alike: numbers in digits become
words, the same named normalizer, word errors pooled, intervals that resample speakers. The tables
of utterances are written beside the JSON, in the columns of `evenear evaluate --out`.

What each peer heard is remembered in the folder of the environments: a stopped run goes on where it
was. Give --fresh for times that were all taken in this run.

    python benchmarks/peers.py --data CORPORA/speechocean762 --environments CACHE \
        --out benchmarks/results/peers.json

Legend: N audio samples, R resamples, S speakers.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from evenear.atomic import write_bytes
from evenear.audio import read_audio
from evenear.data.corpora.manifests import Utterance
from evenear.errors import ConfigError, EvenearError, nearest_names
from evenear.evaluation import Row, load_utterances, recognize, summarize, write_rows
from evenear.metrics.latency import ComputeTime
from evenear.metrics.words import WordErrors, normalize, normalizer_version, word_errors
from evenear.seeding import rng_for
from evenear.streaming import Recognizer
from evenear.streaming.searches import recommended
from evenear.units import SAMPLE_RATE
from peer_runners.environments import PEERS, Peer, PeerProcess
from peer_runners.spoken_numbers import RULE, spoken

__all__ = ["COHORTS", "System", "choose", "difference", "main", "measure", "report"]

NORMALIZER = "basic"
ADULT_YEARS = 18
NUM_RESAMPLES = 2000
COHORTS: dict[str, Callable[[Row], bool]] = {
    "all": lambda _: True,
    "children": lambda row: row.attributes.get("age", ADULT_YEARS) < ADULT_YEARS,
    "adults": lambda row: row.attributes.get("age", 0) >= ADULT_YEARS,
    "female": lambda row: row.attributes.get("gender") == "female",
    "male": lambda row: row.attributes.get("gender") == "male",
}
KEPT = ("wer", "low", "high", "errors", "words", "insertions", "deletions", "substitutions")
KEPT += ("utterances", "speakers")


@dataclass(frozen=True)
class System:
    """A recognizer and all that it heard."""

    name: str
    facts: dict[str, Any]
    rows: list[Row]
    as_written: WordErrors
    """Its errors where digits stay digits."""
    processor_seconds: float


class Bar:
    """Progress on standard error; where that is no terminal, a line now and then."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(text, markup=False)

    def over(self, name: str, utterances: Sequence[Utterance]) -> Iterator[Utterance]:
        """The utterances, one by one, counted."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(
            *columns,
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        ) as progress:
            task = progress.add_task(name, total=len(utterances))
            for number, u in enumerate(utterances, start=1):
                yield u
                progress.advance(task)
                if not self.console.is_terminal and number % 100 in (0, len(utterances) % 100):
                    self.say(f"{name}: {number} of {len(utterances)}")


def choose(utterances: list[Utterance], limit: int | None, seed: int) -> list[Utterance]:
    """All utterances, or `limit` of them at even distances, from a place that the seed decides."""
    if limit is None or limit >= len(utterances):
        return utterances
    first = rng_for(seed, "utterances").random()
    return [utterances[int((i + first) * len(utterances) / limit)] for i in range(limit)]


def hear_ours(model: str, utterances: Sequence[Utterance], bar: Bar) -> System:
    """Our model, streamed by `evenear.evaluation`."""
    recognizer = Recognizer.load(model, threads=1)
    list(recognize(recognizer, utterances[:1]))  # the first call is slower
    rows, as_written, processor = [], WordErrors(), 0.0
    name = Path(model).name
    for u in bar.over(name, utterances):
        began = time.process_time()
        (row,) = recognize(recognizer, [u], normalizer=NORMALIZER)
        processor += time.process_time() - began
        as_written += row.words
        rows.append(scored(row, row.hypothesis))
    folder = Path(model)
    if not folder.is_dir():
        folder = Path(str(resources.files("evenear") / "shipped" / model))
    settings = vars(recommended(recognizer.bundle, None))
    search = ", ".join(f"{key} {value}" for key, value in settings.items())
    facts = {
        "versions": {"torch": torch.__version__},
        "parameters": sum(tensor.numel() for tensor in recognizer.model.parameters()),
        "megabytes": round(sum(f.stat().st_size for f in folder.iterdir()) / 1e6, 1),
        "settings": f"search as the model recommends ({search}), chunks of 160 ms",
    }
    return System(name, facts, rows, as_written, processor)


def hear_peer(peer: Peer, utterances: Sequence[Utterance], args: Any, bar: Bar) -> System:
    """A peer, in its own environment."""
    rows, as_written, processor = [], WordErrors(), 0.0
    bar.say(f"{peer.name}: preparing its environment")
    with PeerProcess(peer, args.environments, fresh=args.fresh) as process:
        for u in bar.over(peer.name, utterances):
            samples_N = sound_of(u)
            heard = process.hear(u.utterance_id, samples_N)
            seconds = len(samples_N) / SAMPLE_RATE
            compute = ComputeTime(seconds, (heard.seconds,))
            row = Row.of(u, heard.text, compute, normalizer=NORMALIZER)
            as_written += row.words
            rows.append(scored(row, heard.text))
            processor += heard.processor_seconds
        return System(peer.name, process.facts, rows, as_written, processor)


def sound_of(u: Utterance) -> NDArray[np.float32]:
    """The samples of an utterance, as our evaluation reads them."""
    samples_N = read_audio(u.audio)
    if u.is_partial:
        first = round(u.start_seconds * SAMPLE_RATE)
        samples_N = samples_N[first : first + round(u.seconds * SAMPLE_RATE)]
    return samples_N


def scored(row: Row, written: str) -> Row:
    """The row with numbers in words, and the errors that are left."""
    reference = spoken(row.reference, normalizer=NORMALIZER)
    words = spoken(written, reference, normalizer=NORMALIZER)
    errors = word_errors(reference, words)
    return replace(row, reference=reference, hypothesis=words, words=errors)


def difference(
    ours: Sequence[Row], theirs: Sequence[Row], *, seed: int = 0
) -> dict[str, float | None]:
    """Their pooled WER minus ours, with an interval: the same drawn speakers for both.

    Above zero: they make more errors than we do.
    """
    speakers = sorted({row.speaker for row in ours})
    place = {speaker: number for number, speaker in enumerate(speakers)}
    errors_S, words_S = np.zeros(len(speakers)), np.zeros(len(speakers))
    for sign, rows in ((-1, ours), (1, theirs)):
        for row in rows:
            errors_S[place[row.speaker]] += sign * row.words.errors
    for row in ours:
        words_S[place[row.speaker]] += row.words.reference_words
    result: dict[str, float | None] = {"points": 100 * float(errors_S.sum() / words_S.sum())}
    if len(speakers) < 2:
        return {**result, "low": None, "high": None}
    size = (NUM_RESAMPLES, len(speakers))
    drawn_RS = rng_for(seed, "difference").integers(len(speakers), size=size)
    points_R = 100 * errors_S[drawn_RS].sum(axis=1) / words_S[drawn_RS].sum(axis=1)
    low, high = np.quantile(points_R, [0.025, 0.975])
    return {**result, "low": float(low), "high": float(high)}


def character_errors(rows: Sequence[Row]) -> WordErrors:
    """Errors in characters, spaces and apostrophes left out: less depends on how one writes."""
    texts = [(row.reference, row.hypothesis) for row in rows]
    pairs = [(normalize(a, "characters"), normalize(b, "characters")) for a, b in texts]
    return sum((word_errors(said, heard) for said, heard in pairs), WordErrors())


def measure(args: argparse.Namespace, bar: Bar) -> list[System]:
    """What each recognizer heard, ours first."""
    utterances = choose(load_utterances(args.data, split=args.split), args.limit, args.seed)
    systems = [hear_ours(args.model, utterances, bar)]
    systems += [hear_peer(peer, utterances, args, bar) for peer in args.peers]
    said = [row.reference for row in systems[0].rows]
    for system in systems:
        assert [row.reference for row in system.rows] == said, system.name
    return systems


def numbers(system: System, ours: System, seed: int) -> dict[str, Any]:
    """All numbers of a system."""
    whole = summarize(system.rows, seed=seed).to_dict()
    cohorts = {}
    for name, belongs in COHORTS.items():
        rows = [row for row in system.rows if belongs(row)]
        if not rows:
            continue
        n = summarize(rows, seed=seed).to_dict()
        cohorts[name] = {key: n[key] for key in KEPT} | {"cer": character_errors(rows).rate}
        if system is not ours:
            own = [row for row in ours.rows if belongs(row)]
            cohorts[name]["difference_to_ours"] = difference(own, rows, seed=seed)
    took = [1000 * sum(row.compute.chunk_seconds) for row in system.rows]
    times = {
        "rtf": whole["rtf"],
        "rtf_of_processor": system.processor_seconds / whole["seconds"],
        "utterance_p50_milliseconds": float(np.median(took)),
    }
    if system is ours:
        times |= {key: whole[key] for key in whole if key.startswith("chunk_")}
    written = {"wer_where_digits_stay_digits": system.as_written.rate}
    return {**system.facts, **times, **written, "cohorts": cohorts}


def report(systems: list[System], args: argparse.Namespace) -> dict[str, Any]:
    """Everything that the JSON says, but for when and where."""
    ours = systems[0]
    return {
        "data": f"{args.data.name}, split {args.split}"
        + (f", {args.limit} utterances at even distances" if args.limit else ""),
        "hours": sum(row.seconds for row in ours.rows) / 3600,
        "seed": args.seed,
        "scoring": {
            "normalizer": normalizer_version(NORMALIZER),
            "numbers": RULE,
            "intervals": f"95 %, speakers resampled {NUM_RESAMPLES} times, percentiles",
            "difference_to_ours": "their pooled WER minus ours in points; speakers resampled "
            "jointly; above zero: they make more errors",
            "cer": "character error rate without spaces and apostrophes, where it matters less that "  # noqa: E501
            "peers may write words another way than the references do",
            "children": f"younger than {ADULT_YEARS}",
        },
        "times": "one thread each, one recognizer after another; rtf is seconds by the clock for "
        "a second of sound, without reading files; rtf_of_processor counts processor seconds, so "
        "that it tells more on a busy machine (ours includes reading and scoring). Whisper "
        "computes 30 s for each utterance, however short: its rtf is lower on long recordings.",
        "systems": {system.name: numbers(system, ours, args.seed) for system in systems},
    }


def table(results: dict[str, Any]) -> Table:
    """The report for people."""
    shown = Table(title=f"WER in % on {results['data']}; 95 % intervals, speakers resampled")
    shown.add_column("")
    cohorts = list(next(iter(results["systems"].values()))["cohorts"])
    for name in (*cohorts, "all - ours", "CER", "RTF", "of processor", "parameters"):
        shown.add_column(name, justify="right", no_wrap=True)
    for name, n in results["systems"].items():
        cells = [spread(n["cohorts"][cohort], "wer", 100) for cohort in cohorts]
        gap = n["cohorts"]["all"].get("difference_to_ours")
        size = "-" if n["parameters"] is None else f"{n['parameters'] / 1e6:.1f} M"
        cells.append(spread(gap, "points", 1) if gap else "")
        cells.append(f"{100 * n['cohorts']['all']['cer']:.1f}")
        cells += [f"{n['rtf']:.3f}", f"{n['rtf_of_processor']:.3f}", size]
        shown.add_row(name, *cells)
    return shown


def spread(n: dict[str, Any], key: str, scale: float) -> str:
    """A number above its interval."""
    if n["low"] is None:
        return f"{scale * n[key]:.1f}"
    return f"{scale * n[key]:.1f}\n[{scale * n['low']:.1f}, {scale * n['high']:.1f}]"


def processor_name() -> str:
    """The processor as it calls itself."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def commit() -> str:
    """The commit that was measured."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def chosen_peers(names: str) -> list[Peer]:
    """Peers by their names, with commas between them."""
    known = {peer.key: peer for peer in PEERS}
    for name in filter(None, names.split(",")):
        if name not in known:
            raise ConfigError(f"There is no peer {name!r}.", hint=nearest_names(name, known))
    return [known[name] for name in names.split(",") if name]


def parsed() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="a corpus, as evaluate takes it")
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int, help="only so many utterances, spread over the split")
    parser.add_argument("--model", default="evenear-en-small", help="ours: a name or a folder")
    parser.add_argument("--peers", default=",".join(peer.key for peer in PEERS))
    parser.add_argument("--environments", type=Path, default=Path(".peers"), help="kept for reuse")
    parser.add_argument("--fresh", action="store_true", help="forget what peers heard before")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/peers.json")
    args = parser.parse_args()
    if args.limit is not None and args.limit < 1:
        parser.error(f"--limit must be at least 1, got {args.limit}")
    args.peers = chosen_peers(args.peers)
    return args


def main() -> None:
    """Measure, write, print."""
    bar = Bar()
    try:
        args = parsed()
        args.environments.mkdir(parents=True, exist_ok=True)
        began, load = time.time(), os.getloadavg()[0]
        systems = measure(args, bar)
    except EvenearError as error:
        bar.say(f"error: {error.message}")
        bar.say(f"hint: {error.hint}" if error.hint else "")
        sys.exit(2)
    limit = f" --limit {args.limit}" if args.limit else ""
    where = {
        "question": (__doc__ or "").splitlines()[0],
        "command": f"python benchmarks/peers.py --data {args.data.name} --split {args.split}"
        f"{limit} --model {systems[0].name} --environments CACHE --seed {args.seed}",
        "commit": commit(),
        "machine": {
            "processor": processor_name(),
            "cores": os.cpu_count(),
            "load_average_before": round(load, 1),
            "load_average_after": round(os.getloadavg()[0], 1),
        },
        "python": platform.python_version(),
        "minutes": round((time.time() - began) / 60, 1),
    }
    results = {**where, **report(systems, args)}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for system in systems:
        key = system.name.lower().replace(" ", "-")
        write_rows(system.rows, args.out.with_name(f"{args.out.stem}-{key}.jsonl"))
    write_bytes(args.out, (json.dumps(results, indent=1) + "\n").encode())
    Console(width=180).print(table(results))


if __name__ == "__main__":
    main()
