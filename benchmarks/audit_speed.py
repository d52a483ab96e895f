# SPDX-License-Identifier: Apache-2.0
"""How long does an audit of a million utterances take, and does its cost grow linearly?

A corpus is written first (not timed): ten words an utterance, a hundred utterances a speaker,
speakers who differ, cased and punctuated references, four attributes. Then, in a fresh process,
the whole audit is timed: read the file, normalize and align every utterance, measure every cohort
with intervals from resampled speakers and permuted p-values. The peak memory is the process's own.

The promise: one million utterances of ten thousand speakers, 1,000 resamples, in at most 60 s and
4 GB on 2 cores; cost linear to ten million.

Run: python benchmarks/audit_speed.py [--millions 1 3 10] [--formats parquet jsonl]
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from evenear.seeding import rng_for

BATCH = 250_000
WORDS = 10
UTTERANCES_PER_SPEAKER = 100
VOCABULARY = 20_000
ATTRIBUTES = {
    "gender": ["female", "male"],
    "age": ["teens", "twenties", "thirties", "forties", "fifties", "sixties"],
    "accent": [f"accent {number}" for number in range(12)],
    "region": [f"region {number}" for number in range(20)],
}


def batch(start: int, size: int, speakers: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Some utterances with references and hypotheses."""
    rng = rng_for(seed, "speed", start)
    vocabulary = pl.Series([f"word{number}" for number in range(VOCABULARY)])
    owner = (np.arange(start, start + size) // UTTERANCES_PER_SPEAKER) % speakers.height
    rate = speakers["rate"].to_numpy()[owner]
    said, heard = [], []
    for place in range(WORDS):
        numbers = np.minimum(rng.zipf(1.2, size), VOCABULARY) - 1
        word = vocabulary.gather(numbers)
        draw = rng.random(size) / rate
        other = vocabulary.gather(rng.integers(VOCABULARY, size=size))
        columns = pl.DataFrame({"word": word, "other": other, "draw": draw})
        said.append(word.str.to_titlecase() if place == 0 else word)
        heard.append(
            columns.select(
                pl.when(pl.col("draw") < 0.25)
                .then(pl.lit(""))
                .when(pl.col("draw") < 0.85)
                .then("other")
                .when(pl.col("draw") < 1.0)
                .then(pl.concat_str("word", "other", separator=" "))
                .otherwise("word")
            ).to_series()
        )
    frame = pl.DataFrame({f"said{place}": column for place, column in enumerate(said)})
    frame = frame.hstack([column.alias(f"heard{place}") for place, column in enumerate(heard)])
    texts = frame.select(
        (pl.concat_str(pl.col("^said.*$"), separator=" ") + ".").alias("reference"),
        pl.concat_str(pl.col("^heard.*$"), separator=" ").alias("hypothesis"),
    )
    ids = pl.Series("utterance_id", np.arange(start, start + size)).cast(pl.String)
    people = speakers.drop("rate")[owner]
    return pl.DataFrame([ids]).hstack(people).hstack(texts)


def write_corpus(path: Path, num_utterances: int, seed: int) -> None:
    """Write a corpus batch by batch."""
    num_speakers = num_utterances // UTTERANCES_PER_SPEAKER
    rng = rng_for(seed, "speakers", num_speakers)
    speakers = pl.DataFrame(
        {
            "speaker": [f"s{number:07d}" for number in range(num_speakers)],
            "rate": np.clip(rng.gamma(4.0, 0.12 / 4.0, num_speakers), 0.001, 0.9),
            **{name: rng.choice(values, num_speakers) for name, values in ATTRIBUTES.items()},
        }
    )
    starts = range(0, num_utterances, BATCH)
    sizes = [min(BATCH, num_utterances - start) for start in starts]
    if path.suffix == ".parquet":
        parts = path.with_suffix("")
        parts.mkdir()
        for start, size in zip(starts, sizes, strict=True):
            batch(start, size, speakers, seed).write_parquet(parts / f"{start:09d}.parquet")
        pl.scan_parquet(parts / "*.parquet").sink_parquet(path)
        return
    with path.open("wb") as stream:
        for start, size in zip(starts, sizes, strict=True):
            batch(start, size, speakers, seed).write_ndjson(stream)


def audit(path: Path, num_resamples: int) -> dict[str, float]:
    """The audit itself, in this process."""
    from evenear.audit import cohorts_by, gaps, read_table

    start = time.perf_counter()
    table = read_table(path)
    read = time.perf_counter()
    found = gaps(table, cohorts_by(table, list(ATTRIBUTES)), num_resamples=num_resamples)
    done = time.perf_counter()
    return {
        "read_and_align_seconds": round(read - start, 2),
        "statistics_seconds": round(done - read, 2),
        "seconds": round(done - start, 2),
        "processor_seconds": round(time.process_time(), 2),
        "peak_gigabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "utterances": table.num_utterances,
        "speakers": table.num_speakers,
        "wer": round(table.wer or 0.0, 5),
        "cohorts": len(found.rows),
    }


def measure(millions: float, suffix: str, num_resamples: int, seed: int) -> dict[str, float]:
    """Write a corpus, and audit it in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"corpus.{suffix}"
        write_corpus(path, round(millions * 1e6), seed)
        command = [
            sys.executable,
            __file__,
            "--audit",
            str(path),
            "--resamples",
            str(num_resamples),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        size = path.stat().st_size / 2**30
    return {"gigabytes_on_disk": round(size, 3), **json.loads(done.stdout)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 3, 10])
    parser.add_argument("--formats", nargs="+", default=["parquet", "jsonl"])
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--audit", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="where to write the results as JSON")
    arguments = parser.parse_args()
    if arguments.audit:
        print(json.dumps(audit(arguments.audit, arguments.resamples)))
        return
    rows = []
    for suffix in arguments.formats:
        for millions in arguments.millions:
            row = {"format": suffix, "millions": millions}
            row |= measure(millions, suffix, arguments.resamples, arguments.seed)
            rows.append(row)
            print(json.dumps(row), file=sys.stderr)
    results = {
        "command": "python benchmarks/audit_speed.py " + " ".join(sys.argv[1:]),
        "commit": commit(),
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "seed": arguments.seed,
        "resamples": arguments.resamples,
        "rows": rows,
    }
    out = arguments.out or Path(__file__).parent / "results" / "audit_speed.json"
    out.write_text(json.dumps(results, indent=2) + "\n")


def commit() -> str:
    """The commit that was measured."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main()
