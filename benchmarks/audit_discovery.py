# SPDX-License-Identifier: Apache-2.0
"""Do the searches for cohorts find what is there, and nothing else? Corpora whose truth is known.

Each corpus has one planted cohort whose word error rate is 1.3 times that of the others: everybody
in a rectangle of the map (a tenth of the speakers), or in ZIP codes with a Hispanic majority, or
with one of ten kinds of voices, or women in their teens. Each search sees half of the speakers; its
cohorts are measured on the other half. A corpus counts as found if a confirmed cohort with more
errors consists mostly of planted speakers, and as mistaken if a confirmed cohort with more errors
holds no more of them than everybody does. `none` is the same without any effect: there, every
confirmed cohort is a mistake, and the excess in-sample is what selection alone brings.

Beside the default of each search stand its variants and baselines from the literature: the other
criteria of the tree, a tree that is not cut back, the largest gap as in the paper, fifty clusters,
one attribute at a time, SliceLine's and DivExplorer's scores, the subset scan.

Speakers are simulated: made-up results at real ZIP codes, drawn by population. They differ (gamma,
coefficient of variation 0.5) and say about 70 words each.

Shares of corpora have 95 % intervals (Wilson): of 20 corpora, 3 may be 5 to 36 %.

Run: python benchmarks/audit_discovery.py [--corpora 200] [--speakers 2000] [--modes geography …]
     [--effects none] [--seed 1000] [--first-only]
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy.stats import binomtest

from evenear.audit import Cohorts, Table, gaps, split_speakers
from evenear.audit.discovery.census.partitions import CensusSettings, find_census_partitions
from evenear.audit.discovery.census.zipcodes import zip_table
from evenear.audit.discovery.geography.hotspots import HotspotSettings
from evenear.audit.discovery.geography.regions import find_hotspots, find_regions
from evenear.audit.discovery.geography.tree import TreeSettings
from evenear.audit.discovery.rules import Rule
from evenear.audit.discovery.subgroups.find import find_subgroups
from evenear.audit.discovery.subgroups.search import SubgroupSettings
from evenear.audit.discovery.voice.embeddings import Embeddings, with_embeddings
from evenear.audit.discovery.voice.voices import VoiceSettings, find_voices
from evenear.seeding import rng_for

EFFECTS = {"effect": 1.3, "none": 1.0}
WER = 0.12
UTTERANCES, WORDS = 7, 10
KINDS, NUMBERS = 10, 32
AGES = ("teens", "twenties", "thirties", "forties", "fifties")
ATTRIBUTES = {
    "gender": ("female", "male"),
    "age": AGES,
    "accent": tuple(f"accent {number}" for number in range(1, 8)),
    "device": ("headset", "laptop", "phone"),
}

Search = Callable[[Table, int], Rule]

SEARCHES: dict[str, dict[str, Search]] = {
    "geography": {
        "hotspots": lambda table, seed: find_hotspots(table, seed=seed),
        "hotspots, strict": lambda table, seed: find_hotspots(
            table, HotspotSettings(level=0.05), seed=seed
        ),
        "tree, likelihood": lambda table, seed: find_regions(table, seed=seed),
        "tree, variance": lambda table, seed: find_regions(
            table, TreeSettings(criterion="variance"), seed=seed
        ),
        "tree, difference": lambda table, seed: find_regions(
            table, TreeSettings(criterion="difference"), seed=seed
        ),
        "tree, difference, not cut back": lambda table, seed: find_regions(
            table, TreeSettings(criterion="difference", level=None), seed=seed
        ),
    },
    "census": {
        "surest": lambda table, seed: find_census_partitions(table, seed=seed),
        "largest gap": lambda table, seed: find_census_partitions(
            table, CensusSettings(rank_by="gap"), seed=seed
        ),
        "largest gap, single conditions": lambda table, seed: find_census_partitions(
            table, CensusSettings(rank_by="gap", max_conditions=1), seed=seed
        ),
    },
    "voice": {
        "as many as show most": lambda table, seed: find_voices(table, seed=seed),
        "ten (the truth)": lambda table, seed: find_voices(
            table, VoiceSettings(num_cohorts=10), seed=seed
        ),
        "fifty": lambda table, seed: find_voices(
            table, VoiceSettings(num_cohorts=50, min_speakers=2), seed=seed
        ),
    },
    "subgroups": {
        name: lambda table, seed, settings=settings: find_subgroups(
            table, settings=settings, seed=seed
        )
        for name, settings in {
            "beam": SubgroupSettings(),
            "scan": SubgroupSettings(method="scan"),
            "one attribute at a time": SubgroupSettings(method="single"),
            "SliceLine's score": SubgroupSettings(score="sliceline"),
            "DivExplorer's score": SubgroupSettings(score="divergence"),
        }.items()
    },
}
"""The first of each mode is the default."""


class Corpus(NamedTuple):
    """A table, and who is planted."""

    table: Table
    planted: frozenset[str]


class Trial(NamedTuple):
    """What one search did on one corpus."""

    confirmed: bool
    found: bool
    mistaken: bool
    gap_in_sample: float | None
    gap_held_out: float | None
    covered: float
    seconds: float


def corpus(mode: str, seed: int, num_speakers: int, effect: float) -> Corpus:
    """Simulated results; `effect` multiplies the error rates of the planted speakers."""
    rng = rng_for(seed, f"discovery {mode}")
    columns, planted, voices = _people(mode, rng, num_speakers)
    rates = rng.gamma(4.0, WER / 4.0, num_speakers) * np.where(planted, effect, 1.0)
    who = np.repeat(np.arange(num_speakers), np.maximum(rng.poisson(UTTERANCES, num_speakers), 1))
    words = np.maximum(rng.poisson(WORDS, len(who)), 1)
    names = [f"s{number:05d}" for number in range(num_speakers)]
    texts = pl.Series([None] * len(who), dtype=pl.String)
    frame = pl.DataFrame(
        {
            "utterance_id": [f"u{row}" for row in range(len(who))],
            "speaker": np.array(names)[who],
            "reference": texts,
            "hypothesis": texts,
            "words": words.astype(np.int64),
            "errors": rng.poisson(rates[who] * words).astype(np.int64),
            **{name: values[who] for name, values in columns.items()},
        }
    )
    table = Table(frame)
    if voices is not None:
        table = with_embeddings(table, Embeddings(tuple(names), voices))
    return Corpus(table, frozenset(np.array(names)[planted].tolist()))


def _people(
    mode: str, rng: np.random.Generator, number: int
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray | None]:
    """Columns of the table, who is planted, and embeddings."""
    if mode == "subgroups":
        people = {name: rng.choice(kinds, number) for name, kinds in ATTRIBUTES.items()}
        return people, (people["gender"] == "female") & (people["age"] == "teens"), None
    if mode == "voice":
        kinds = rng.integers(KINDS, size=number)
        middles = rng.normal(0.0, 1.0, (KINDS, NUMBERS))
        return {}, kinds == 0, middles[kinds] + rng.normal(0.0, 0.8, (number, NUMBERS))
    zips = zip_table().filter(
        (pl.col("zip_type") == "Standard") & ~pl.col("state").is_in(["AK", "HI"])
    )
    zips = zips.drop_nulls(["lat", "lon", "pct_hispanic"]).filter(pl.col("population") > 0)
    people = zips["population"].to_numpy() / zips["population"].sum()
    rows = rng.choice(zips.height, number, p=people)
    if mode == "census":
        codes = zips["zip"].to_numpy()[rows].astype(str)
        return {"zip": codes}, zips["pct_hispanic"].to_numpy()[rows] > 0.5, None
    latitude = zips["lat"].to_numpy()[rows] + rng.normal(0.0, 0.05, number)
    longitude = zips["lon"].to_numpy()[rows] + rng.normal(0.0, 0.05, number)
    middle = rng.integers(number)
    apart = np.maximum(
        1.5 * np.abs(latitude - latitude[middle]), np.abs(longitude - longitude[middle])
    )
    planted = apart <= np.quantile(apart, 0.1)
    return {"latitude": latitude, "longitude": longitude}, planted, None


def attempt(one: Corpus, search: Search, seed: int, num_resamples: int) -> Trial:
    """Search half of the speakers, measure on the other half, compare with the truth."""
    started = time.process_time()
    rule = search(split_speakers(one.table, seed=seed).discover, seed)
    cohorts = rule.assign(one.table)
    nothing = Trial(False, False, False, None, None, 0.0, time.process_time() - started)
    if not cohorts.assignments:
        return nothing
    measured = gaps(
        one.table, cohorts, confirm_fraction=0.5, seed=seed, num_resamples=num_resamples
    )
    confirm = set(split_speakers(one.table, seed=seed).confirm.speakers["speaker"])
    share = len(one.planted & confirm) / len(confirm)
    worse = [row for row in measured.rows if row.confirmed and (row.gap or 0.0) > 0.0]
    members = {
        (row.attribute, row.value): _members(cohorts, row.attribute, row.value) & confirm
        for row in worse
    }
    purity = {name: len(held & one.planted) / len(held) for name, held in members.items()}
    hits = [row for row in worse if purity[row.attribute, row.value] > 0.5]
    covered = set().union(*(members[row.attribute, row.value] for row in hits)) & one.planted
    worst = max(measured.rows, key=lambda row: row.discovered_gap or -1.0)
    shown = max(hits, key=lambda row: row.gap or 0.0) if hits else worst
    return nothing._replace(
        confirmed=bool(worse),
        found=bool(hits),
        mistaken=any(one_share <= share for one_share in purity.values()),
        gap_in_sample=shown.discovered_gap,
        gap_held_out=shown.gap,
        covered=len(covered) / max(len(one.planted & confirm), 1),
    )


def _members(cohorts: Cohorts, attribute: str, value: str) -> set[str]:
    frame = next(one.frame for one in cohorts.assignments if one.attribute == attribute)
    return set(frame.filter(pl.col("value") == value)["speaker"])


def summarize(trials: list[Trial]) -> dict[str, float | int | list[float] | None]:
    """Shares of corpora with their intervals, and means where there is something to average."""

    def mean(name: str) -> float | None:
        known = [getattr(one, name) for one in trials if getattr(one, name) is not None]
        return round(float(np.mean(known)), 4) if known else None

    def interval(name: str) -> list[float]:
        cases = sum(getattr(one, name) for one in trials)
        found = binomtest(cases, len(trials)).proportion_ci(method="wilson")
        return [round(float(found.low), 4), round(float(found.high), 4)]

    return {
        "corpora": len(trials),
        "found": mean("found"),
        "found_interval": interval("found"),
        "mistaken": mean("mistaken"),
        "any_confirmed": mean("confirmed"),
        "any_confirmed_interval": interval("confirmed"),
        "covered": mean("covered"),
        "gap_in_sample": mean("gap_in_sample"),
        "gap_held_out": mean("gap_held_out"),
        "seconds": mean("seconds"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpora", type=int, default=200)
    parser.add_argument("--speakers", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=400)
    parser.add_argument("--modes", nargs="+", default=list(SEARCHES), choices=list(SEARCHES))
    parser.add_argument("--effects", nargs="+", default=["effect", "none"], choices=list(EFFECTS))
    parser.add_argument("--seed", type=int, default=0, help="seed of the first corpus")
    parser.add_argument("--first-only", action="store_true", help="only the default of each mode")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "audit_discovery.json"
    )
    arguments = parser.parse_args()
    found: dict[str, dict[str, dict]] = {}
    for mode in arguments.modes:
        searches = dict(list(SEARCHES[mode].items())[: 1 if arguments.first_only else None])
        found[mode] = {name: {} for name in searches}
        for label in arguments.effects:
            trials: dict[str, list[Trial]] = {name: [] for name in searches}
            for seed in range(arguments.seed, arguments.seed + arguments.corpora):
                one = corpus(mode, seed, arguments.speakers, EFFECTS[label])
                for name, search in searches.items():
                    trials[name].append(attempt(one, search, seed, arguments.resamples))
            for name, done in trials.items():
                found[mode][name][label] = summarize(done)
                print(mode, "|", name, "|", label, found[mode][name][label], flush=True)
        write(arguments, found)


def write(arguments: argparse.Namespace, found: dict[str, dict[str, dict]]) -> None:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    report = {
        "command": f"python benchmarks/audit_discovery.py {' '.join(sys.argv[1:])}".rstrip(),
        "commit": commit.stdout.strip(),
        "machine": f"{platform.machine()}, Python {platform.python_version()}, one thread",
        "seed": f"{arguments.seed} to {arguments.seed + arguments.corpora - 1}",
        "speakers": arguments.speakers,
        "resamples": arguments.resamples,
        "data": "simulated speakers at real ZIP codes; error rates times 1.3 where planted",
        "results": found,
    }
    arguments.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
