# SPDX-License-Identifier: Apache-2.0
"""Audits of speaker verifiers: do intervals hold the truth, and how long do many trials take?

`coverage`: verifiers whose truth is known. Speakers differ in how well they are known again
(normal, half a standard deviation of a score), and nothing depends on gender. False rejects and
accepts of each gender at a fixed threshold, their difference, and that of EERs: how often do 95 %
intervals hold the truth, and how often is anything confirmed? Once every speaker has as many
trials, once few have most (log-normal, sigma 1).

`speed`: 550,894 trials of 1,190 speakers (as many as a well-known list of trials has), by two
attributes with many draws of speakers, in processor seconds; and the same draws with each curve
followed trial by trial, on ten draws, counted up.

Run: python benchmarks/audit_trials.py [--part coverage speed] [--corpora 100]
"""

import argparse
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.special import ndtr

from evenear.audit.verification.division import divide
from evenear.audit.verification.groups import audit_verification
from evenear.audit.verification.trialdraws import group_trials
from evenear.audit.verification.trials import Trials, trials_of
from evenear.metrics.bootstrap import resample_speakers
from evenear.seeding import rng_for

SPREAD, APART, THRESHOLD = 0.5, 2.0, 1.0
SPEAKERS = 100
FALSE_REJECT = float(ndtr((THRESHOLD - APART) / math.hypot(1.0, SPREAD)))
FALSE_ACCEPT = float(ndtr(-THRESHOLD / math.sqrt(1.0 + 2.0 * (0.3 * SPREAD) ** 2)))


def verifier(seed: int, *, unequal: bool) -> Trials:
    """Trials of 100 speakers within two genders that are served alike."""
    rng = rng_for(seed, "trials", unequal)
    gender = rng.choice(["female", "male"], SPEAKERS, p=[0.4, 0.6])
    quality = rng.normal(0.0, SPREAD, SPEAKERS)
    amount = rng.lognormal(0.0, 1.0, SPEAKERS) if unequal else np.ones(SPEAKERS)
    amount *= SPEAKERS / amount.sum()
    own = np.repeat(np.arange(SPEAKERS), np.maximum(2, np.round(15 * amount)).astype(int))
    first = np.repeat(np.arange(SPEAKERS), np.maximum(2, np.round(40 * amount)).astype(int))
    alike = [
        np.flatnonzero((gender == gender[a]) & (np.arange(SPEAKERS) != a)) for a in range(SPEAKERS)
    ]
    second = np.array([rng.choice(alike[a]) for a in first])
    scores = np.concatenate([APART + quality[own], 0.3 * (quality[first] + quality[second])])
    names = np.array([f"s{k:03d}" for k in range(SPEAKERS)])
    frame = pl.DataFrame(
        {
            "score": scores + rng.normal(0.0, 1.0, len(scores)),
            "enrol": names[np.concatenate([own, first])],
            "test": names[np.concatenate([own, second])],
            "target": [1] * len(own) + [0] * len(first),
        }
    )
    return trials_of(frame, speakers=pl.DataFrame({"speaker": names, "gender": gender}))


def coverage(corpora: int, num_resamples: int) -> dict[str, Any]:
    """How often intervals of a verifier's audit hold the truth."""
    results = {}
    for label, unequal in (("equal", False), ("unequal", True)):
        held: dict[str, list[bool]] = {}
        alarms = 0
        for seed in range(corpora):
            found = audit_verification(
                verifier(seed, unequal=unequal), ["gender"], threshold=THRESHOLD, seed=seed,
                num_resamples=num_resamples,
            )  # fmt: skip
            alarms += any(row.confirmed for row in found.rows)
            for row in found.rows:
                for name, truth in (("false_reject", FALSE_REJECT), ("false_accept", FALSE_ACCEPT)):
                    one = getattr(row, name)
                    held.setdefault(name, []).append(one.low <= truth <= one.high)
                for name in ("eer", "false_reject", "false_accept"):
                    one = getattr(row, name)
                    inside = one.difference_low <= 0.0 <= one.difference_high
                    held.setdefault(f"difference of {name}", []).append(inside)
        results[label] = {
            "coverage": {name: round(float(np.mean(values)), 4) for name, values in held.items()},
            "anything confirmed": f"{alarms} of {corpora}",
        }
    return {"corpora": corpora, "resamples": num_resamples, **results}


def many(seed: int) -> Trials:
    """550,894 trials of 1,190 speakers, half of them targets, non-targets within genders."""
    rng, speakers, number = rng_for(seed, "many"), 1_190, 550_894
    gender = rng.choice(["female", "male"], speakers, p=[0.45, 0.55])
    shares = [0.5, 0.2, 0.1, 0.08, 0.06, 0.03, 0.03]
    nation = rng.choice(["US", "UK", "IN", "CA", "AU", "IE", "NO"], speakers, p=shares)
    target = rng.random(number) < 0.5
    first = rng.integers(speakers, size=number)
    pools = {name: np.flatnonzero(gender == name) for name in ("female", "male")}
    other = np.array([rng.choice(pools[gender[a]]) for a in first])
    again = other == first
    other[again] = (other[again] + 1) % speakers
    second = np.where(target, first, other)
    quality = rng.normal(0.0, SPREAD, speakers)
    scores = np.where(target, APART + quality[first], 0.3 * (quality[first] + quality[second]))
    names = np.array([f"id{k:05d}" for k in range(speakers)])
    frame = pl.DataFrame(
        {
            "score": (scores + rng.normal(0.0, 1.0, number)).round(5),
            "enrol": names[first],
            "test": names[second],
            "target": target.astype(int),
        }
    )
    people = pl.DataFrame({"speaker": names, "gender": gender, "nationality": nation})
    return trials_of(frame, speakers=people)


def speed(num_resamples: int) -> dict[str, Any]:
    """Processor seconds of an audit, and of following every curve trial by trial."""
    trials = many(0)
    by = ["gender", "nationality"]
    start = time.process_time()
    audit_verification(trials, by, num_resamples=num_resamples)
    steps = time.process_time() - start
    _, groups = divide(trials, trials.cohorts_by(*by))
    grouped = group_trials(trials, groups)
    first, second = grouped.pairs_2K
    few = 10
    (counts_RS,) = resample_speakers(grouped.num_speakers, few, rng_for(0, "speed"))
    start = time.process_time()
    for drawn_S in counts_RS:
        for group in grouped.groups:
            group.measures(drawn_S, drawn_S[first] * drawn_S[second], THRESHOLD, 0.01)
    whole = (time.process_time() - start) * num_resamples / few
    return {
        "trials": trials.frame.height,
        "speakers": trials.speakers.height,
        "groups_with_others": len(groups),
        "resamples": num_resamples,
        "processor_seconds": round(steps, 1),
        "processor_seconds_trial_by_trial": round(whole, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--part", nargs="+", choices=("coverage", "speed"), default=["coverage", "speed"]
    )
    parser.add_argument("--corpora", type=int, default=100)
    parser.add_argument("--resamples", type=int, default=500)
    parser.add_argument("--out", type=Path, help="where to write the results as JSON")
    arguments = parser.parse_args()
    out = arguments.out or Path(__file__).parent / "results" / "audit_trials.json"
    results = json.loads(out.read_text()) if out.exists() else {}
    for part in arguments.part:
        if part == "speed":
            found = speed(arguments.resamples)
        else:
            found = coverage(arguments.corpora, arguments.resamples)
        command = f"python benchmarks/audit_trials.py --part {part}"
        if part == "coverage":
            command += f" --corpora {arguments.corpora}"
        command += f" --resamples {arguments.resamples}"
        results[part] = {"command": command, "commit": commit(), **found}
        print(json.dumps(results[part], indent=2), file=sys.stderr)
        out.write_text(json.dumps(results, indent=2) + "\n")


def commit() -> str:
    """The commit that was measured."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main()
