# SPDX-License-Identifier: Apache-2.0
"""Does an audit find what is there, and nothing else? Corpora whose truth is known.

`null`: corpora without any effect of any group. Intervals of 95 % must cover the truth in 93 to
97 % of cases, and a worst cohort may be confirmed in at most 5 % of corpora. Beside the audit's own
interval stand two common ones: percentiles over resampled speakers, and over resampled utterances.

`effect`: the same corpora with one cohort of one attribute made worse. How often it is confirmed,
how often anything else is, and whether the interval covers the planted gap.

`detectable`: what `detectable_gap` promises. The typical value that audits without effects give for
a cohort is planted in it, and must be confirmed in about 80 % of corpora, however many cohorts are
tried beside it.

`hard`: corpora without an effect in which something is odd. Attributes that change within speakers;
one utterance whose attributes contradict those of its speaker; one speaker with half of all words;
one speaker in 25 of whom 95 % of words are wrong. How often anything is confirmed, and how often
intervals cover the truth.

Speakers differ (gamma, coefficient of variation 0.5), say different amounts (Poisson times
log-normal), and err in bursts (errors of an utterance are over-dispersed). Attributes are drawn
independently of all that. Cohorts hold between about 10 and 150 of 300 speakers.

Run: python benchmarks/audit_planted.py [--part null effect detectable hard] [--corpora 200]
     [--resamples 1000]
"""

import argparse
import json
import math
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from evenear.audit import Gap, Gaps, Table, cohorts_by, gaps
from evenear.audit.statistics.sums import cohort_sums
from evenear.metrics.bootstrap import resample_speakers
from evenear.seeding import rng_for

SPEAKERS = 300
WER = 0.12
SHARES = {
    "gender": {"female": 0.45, "male": 0.55},
    "age": {"teens": 0.06, "twenties": 0.4, "thirties": 0.3, "forties": 0.16, "fifties": 0.08},
    "accent": {f"accent {number}": share for number, share in enumerate(
        (0.4, 0.2, 0.12, 0.1, 0.08, 0.06, 0.04)
    )},
}  # fmt: skip
PLANTED = ("accent", "accent 3")


def corpus(seed: int, effect: float = 1.0, planted: tuple[str, str] = PLANTED) -> Table:
    """One corpus; the planted cohort errs `effect` times as much."""
    rng = rng_for(seed, "planted")
    people = {
        name: rng.choice(list(shares), SPEAKERS, p=list(shares.values()))
        for name, shares in SHARES.items()
    }
    rates = rng.gamma(4.0, WER / 4.0, SPEAKERS)
    rates *= np.where(people[planted[0]] == planted[1], effect, 1.0)
    counts = rng.poisson(12 * rng.lognormal(0.0, 0.5, SPEAKERS)) + 2
    who = np.repeat(np.arange(SPEAKERS), counts)
    words = rng.poisson(9, len(who)) + 1
    bursts = rng.gamma(2.0, 0.5, len(who))
    frame = pl.DataFrame(
        {
            "utterance_id": [f"u{row}" for row in range(len(who))],
            "speaker": [f"s{row:03d}" for row in who],
            "reference": pl.Series([None] * len(who), dtype=pl.String),
            "hypothesis": pl.Series([None] * len(who), dtype=pl.String),
            "words": words.astype(np.int64),
            "errors": rng.poisson(rates[who] * words * bursts).astype(np.int64),
            **{name: values[who] for name, values in people.items()},
        }
    )
    return Table(frame)


def audit(table: Table, seed: int, num_resamples: int, **settings: Any) -> Gaps:
    """An audit of all three attributes."""
    cohorts = cohorts_by(table, list(SHARES))
    return gaps(table, cohorts, seed=seed, num_resamples=num_resamples, **settings)


def percentiles(
    table: Table, seed: int, num_resamples: int, unit: str
) -> dict[tuple[str, str], Any]:
    """Plain percentile intervals of the gaps, over resampled speakers or utterances."""
    if unit == "utterance":
        table = Table(table.frame.with_columns(pl.col("utterance_id").alias("speaker")))
    rng = rng_for(seed, "percentiles", unit)
    cohorts = cohort_sums(table, cohorts_by(table, list(SHARES)))
    columns = np.stack([column for one in cohorts for column in (*one.own, *one.rest)], axis=1)
    blocks = resample_speakers(len(columns), num_resamples, rng)
    drawn = np.concatenate([counts @ columns for counts in blocks])
    found: dict[tuple[str, str], Any] = {}
    for one, sums in zip(cohorts, np.split(drawn, len(cohorts), axis=1), strict=True):
        with np.errstate(divide="ignore", invalid="ignore"):
            gap = sums[:, 0] / sums[:, 1] / (sums[:, 2] / sums[:, 3]) - 1.0
        found[one.name] = np.quantile(gap[np.isfinite(gap)], [0.025, 0.975])
    return found


def share(count: float, total: float) -> dict[str, float]:
    """A share of cases, with its own Wilson interval."""
    if total == 0:
        return {"count": 0, "of": 0}
    rate, z2 = count / total, 1.96**2
    middle = (rate + z2 / (2 * total)) / (1 + z2 / total)
    half = 1.96 * math.sqrt(rate * (1 - rate) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    return {
        "share": round(rate, 4), "low": round(middle - half, 4), "high": round(middle + half, 4),
        "count": int(count), "of": int(total),
    }  # fmt: skip


def null(corpora: int, num_resamples: int, first: int) -> dict[str, Any]:
    """Corpora without an effect."""
    covered: dict[str, list[float]] = defaultdict(list)
    by_size: dict[str, list[bool]] = defaultdict(list)
    alarms = defaultdict(int)
    for seed in range(first, first + corpora):
        table = corpus(seed)
        found = audit(table, seed, num_resamples)
        split = audit(table, seed, num_resamples, confirm_fraction=0.5)
        shown = [row for row in found.rows if not row.suppressed]
        hits = [row.gap_low <= 0.0 <= row.gap_high for row in shown]
        covered["gap"].append(float(np.mean(hits)))
        covered["wer"].append(float(np.mean([row.low <= WER <= row.high for row in shown])))
        overall = found.overall
        covered["overall wer"].append(float(overall.low <= WER <= overall.high))
        for row, hit in zip(shown, hits, strict=True):
            size = "under 20" if row.speakers < 20 else "20 to 59" if row.speakers < 60 else "60 on"
            by_size[size].append(hit)
        for unit in ("speaker", "utterance"):
            plain = percentiles(table, seed, num_resamples, unit)
            inside = [
                plain[row.attribute, row.value][0] <= 0.0 <= plain[row.attribute, row.value][1]
                for row in shown
            ]
            covered[f"gap, {unit} percentiles"].append(float(np.mean(inside)))
        alarms["worst cohort confirmed"] += found.worst is not None
        alarms["worst cohort confirmed on held-out speakers"] += split.worst is not None
        alarms["anything confirmed"] += any(row.confirmed for row in found.rows)
        alarms["anything confirmed on held-out speakers"] += any(
            row.confirmed for row in split.rows
        )
        alarms["any p-value below 0.05 without adjustment"] += any(
            row.p_value is not None and row.p_value <= 0.05 for row in shown
        )
    return {
        "corpora": corpora,
        "coverage_of_95_percent_intervals": {
            name: {
                "mean": round(float(np.mean(values)), 4),
                "standard_error": round(float(np.std(values) / math.sqrt(len(values))), 4),
            }
            for name, values in covered.items()
        },
        "gap_coverage_by_speakers": {
            name: share(sum(values), len(values)) for name, values in sorted(by_size.items())
        },
        "false_alarms": {name: share(count, corpora) for name, count in alarms.items()},
    }


def effect(corpora: int, num_resamples: int, first: int) -> dict[str, Any]:
    """Corpora in which one cohort is worse."""
    results = {}
    for factor in (1.3, 1.6):
        counts = defaultdict(int)
        for seed in range(first, first + corpora):
            table = corpus(seed, factor)
            for name, settings in (("all", {}), ("held-out", {"confirm_fraction": 0.5})):
                found = audit(table, seed, num_resamples, **settings)
                planted = next(row for row in found.rows if (row.attribute, row.value) == PLANTED)
                others = [row for row in found.rows if row.attribute != PLANTED[0]]
                counts[f"{name}: planted cohort confirmed"] += bool(planted.confirmed)
                counts[f"{name}: cohort of another attribute confirmed"] += any(
                    row.confirmed for row in others
                )
                if planted.gap_low is None or planted.gap_high is None:
                    counts[f"{name}: planted cohort too small to be shown"] += 1
                    continue
                inside = planted.gap_low <= factor - 1.0 <= planted.gap_high
                counts[f"{name}: interval does not cover the planted gap"] += not inside
        results[f"+{factor - 1:.0%}"] = {
            name: share(count, corpora) for name, count in counts.items()
        }
    return {"corpora": corpora, "planted": " = ".join(PLANTED), **results}


def detectable(corpora: int, num_resamples: int, first: int) -> dict[str, Any]:
    """Plant what audits say that they would have seen."""
    results = {}
    for planted, names in (
        (("gender", "female"), ["gender"]),
        (PLANTED, list(SHARES)),
        (("age", "fifties"), list(SHARES)),
    ):

        def row(seed: int, factor: float, planted: tuple = planted, names: list = names) -> Gap:
            table = corpus(seed, factor, planted)
            rows = gaps(table, cohorts_by(table, names), seed=seed, num_resamples=num_resamples)
            return next(one for one in rows.rows if (one.attribute, one.value) == planted)

        pilots = [row(first + seed, 1.0).detectable_gap for seed in range(max(20, corpora // 4))]
        gap = float(np.median([one for one in pilots if one is not None]))
        found = [row(first + 10_000 + seed, 1.0 + gap) for seed in range(corpora)]
        shown = [one for one in found if not one.suppressed]
        results[f"{' = '.join(planted)} among {sum(len(SHARES[one]) for one in names)} cohorts"] = {
            "typical_detectable_gap": round(gap, 3),
            "confirmed": share(sum(bool(one.confirmed) for one in shown), len(shown)),
        }
    return {"corpora": corpora, **results}


def odd(seed: int, kind: str) -> tuple[Table, list[str]]:
    """A corpus without an effect and with something odd, and its attributes."""
    table, rng = corpus(seed), rng_for(seed, "odd", kind)
    frame, names = table.frame, list(SHARES)
    if "within" in kind:
        rooms = rng.choice(["a", "b", "c", "d"], frame.height, p=[0.5, 0.3, 0.15, 0.05])
        noise = rng.choice(["high", "low"], frame.height)
        frame = frame.with_columns(pl.Series("noise", noise), pl.Series("room", rooms))
        names = ["noise", "room"]
    if kind == "one contradiction":
        row = int(rng.integers(frame.height))
        for name in names:
            values = frame[name].to_list()
            values[row] = next(one for one in SHARES[name] if one != values[row])
            frame = frame.with_columns(pl.Series(name, values))
    words, errors = frame["words"].to_numpy(), frame["errors"].to_numpy()
    if "dominant" in kind:
        own = (frame["speaker"] == "s000").to_numpy()
        words = np.where(
            own, words * int((words.sum() - words[own].sum()) / words[own].sum()), words
        )
        rate = rng.gamma(4.0, WER / 4.0) * rng.gamma(2.0, 0.5, frame.height)
        errors = np.where(own, rng.poisson(rate * words), errors)
    if kind == "a few lost":
        lost = (rng.random(SPEAKERS) < 0.04)[frame["speaker"].str.slice(1).cast(int).to_numpy()]
        errors = np.where(lost, rng.binomial(words, 0.95), errors)
    return Table(frame.with_columns(words=words, errors=errors)), names


def hard(corpora: int, num_resamples: int, first: int) -> dict[str, Any]:
    """Corpora without an effect that are hard on tests and intervals."""
    results = {}
    kinds = ("changes within speakers", "one contradiction", "dominant speaker")
    for kind in (*kinds, "dominant speaker, changes within speakers", "a few lost"):
        alarms, covered, said = 0, [], 0
        for seed in range(first, first + corpora):
            table, names = odd(seed, kind)
            cohorts = cohorts_by(table, names)
            found = gaps(table, cohorts, seed=seed, num_resamples=num_resamples)
            shown = [row for row in found.rows if row.gap_low is not None]
            covered.append(np.mean([row.gap_low <= 0.0 <= row.gap_high for row in shown]))
            alarms += any(row.confirmed for row in shown)
            said += any("hold the truth less often" in line for line in found.warnings)
        results[kind] = {
            "anything confirmed": share(alarms, corpora),
            "coverage of gaps": round(float(np.mean(covered)), 4),
            "said in the report": share(said, corpora),
        }
    return {"corpora": corpora, **results}


PARTS = {"null": null, "effect": effect, "detectable": detectable, "hard": hard}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--corpora", type=int, default=200)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="seed of the first corpus")
    parser.add_argument("--out", type=Path, help="where to write the results as JSON")
    arguments = parser.parse_args()
    out = arguments.out or Path(__file__).parent / "results" / "audit_planted.json"
    results = json.loads(out.read_text()) if out.exists() else {}
    for part in arguments.part:
        found = PARTS[part](arguments.corpora, arguments.resamples, arguments.seed)
        results[part] = {
            "command": f"python benchmarks/audit_planted.py --part {part} "
            f"--corpora {arguments.corpora} --resamples {arguments.resamples}",
            "commit": commit(),
            "seed": arguments.seed,
            "resamples": arguments.resamples,
            **found,
        }
        print(json.dumps(results[part], indent=2), file=sys.stderr)
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(results, indent=2) + "\n")


def commit() -> str:
    """The commit that was measured."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main()
