# SPDX-License-Identifier: Apache-2.0
"""How well does a shipped English model hear people it never heard, and what does search bring?

Streams every utterance of a split through the model, 160 ms at a time on one thread, once for
each kind of search, and prints pooled WER with speaker-resampled intervals for all and by cohort.
Then transcribes four minutes of the split as one recording, as fast as it goes.

    python benchmarks/english_models.py --model evenear-en --data CORPORA/speechocean762 \
        --out benchmarks/results/evenear_en.json
"""

import argparse
import io
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from evenear.audio import read_audio
from evenear.config import replace
from evenear.data.corpora.manifests import Utterance
from evenear.evaluation import Row, load_utterances, recognize, summarize, write_rows
from evenear.search import BeamConfig, LexiconConfig
from evenear.seeding import rng_for
from evenear.streaming import Recognizer
from evenear.streaming.searches import recommended
from evenear.units import SAMPLE_RATE

COHORTS: dict[str, Callable[[Row], bool]] = {
    "all": lambda _: True,
    "children": lambda row: row.attributes["age"] < 18,
    "adults": lambda row: row.attributes["age"] >= 18,
    "female": lambda row: row.attributes["gender"] == "female",
    "male": lambda row: row.attributes["gender"] == "male",
}


def searches(recognizer: Recognizer) -> dict[str, BeamConfig | LexiconConfig]:
    """The kinds of search to compare; the model's own recommendation comes first."""
    own = recommended(recognizer.bundle, None)
    alone = {}
    if isinstance(own, LexiconConfig):
        alone["without the transducer's judgement"] = replace(own, transducer_weight=0.0)
    return {
        "as shipped": own,
        **alone,
        "greedy": BeamConfig(width=1),
        "beam 8": BeamConfig(width=8),
    }


def paired(rows: list[Row], others: list[Row]) -> dict[str, float]:
    """Relative change of pooled WER from `others` to `rows`, speakers resampled jointly."""
    speakers = sorted({row.speaker for row in rows})
    place = {speaker: i for i, speaker in enumerate(speakers)}
    sums = np.zeros((2, len(speakers)))
    for kind, table in enumerate((rows, others)):
        for row in table:
            sums[kind, place[row.speaker]] += row.words.errors
    rng = rng_for(0, "paired")
    picks = rng.integers(len(speakers), size=(2000, len(speakers)))
    changes = sums[0][picks].sum(axis=1) / sums[1][picks].sum(axis=1) - 1
    low, high = np.percentile(changes, [2.5, 97.5])
    return {"change": sums[0].sum() / sums[1].sum() - 1, "low": float(low), "high": float(high)}


def whole_recording(recognizer: Recognizer, utterances: list[Utterance]) -> dict[str, float]:
    """Processor time of a recording of four minutes, on one thread: the median of three."""
    sound, seconds = [], 0.0
    for u in utterances:
        sound.append(read_audio(u.audio))
        seconds += len(sound[-1]) / SAMPLE_RATE
        if seconds >= 240:
            break
    file = io.BytesIO()
    soundfile.write(file, np.concatenate(sound), SAMPLE_RATE, format="WAV")
    took = []
    for _ in range(3):
        file.seek(0)
        began = time.process_time()
        recognizer.transcribe(file)
        took.append((time.process_time() - began) / seconds)
    return {"seconds": seconds, "rtf_of_processor": statistics.median(took)}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Recognize the split with each search."""
    utterances = load_utterances(args.data, split=args.split)
    if args.limit:
        count = min(args.limit, len(utterances))
        utterances = [utterances[i * len(utterances) // count] for i in range(count)]
    base = Recognizer.load(
        args.model, threads=1, block_milliseconds=args.block, right_milliseconds=args.right
    )
    results: dict[str, Any] = {}
    tables: dict[str, list[Row]] = {}
    for name, search in searches(base).items():
        if args.only and name not in args.only.split(","):
            continue
        recognizer = Recognizer(base.bundle, beam=search, compute=args.compute)
        rows = []
        for number, row in enumerate(recognize(recognizer, utterances), start=1):
            rows.append(row)
            if number % 100 == 0:
                print(f"{name}: {number} of {len(utterances)}", file=sys.stderr, flush=True)
        tables[name] = rows
        cohorts = {
            cohort: summarize([row for row in rows if belongs(row)]).to_dict()
            for cohort, belongs in COHORTS.items()
        }
        whole = whole_recording(recognizer, utterances)
        results[name] = {"search": vars(search), "cohorts": cohorts, "whole_recording": whole}
        results[name]["compute"] = recognizer.meter.share
        if name == "as shipped" and args.rows:
            write_rows(rows, args.rows)
    first = next(iter(tables))
    for name, rows in tables.items():
        if name != first:
            results[name]["relative_to_" + first.replace(" ", "_")] = paired(rows, tables[first])
    return results


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--model", default="evenear-en")
    parser.add_argument("--block", type=int, help="milliseconds; None: the model's own")
    parser.add_argument("--right", type=int, help="milliseconds of right context; None: its own")
    parser.add_argument("--compute", type=float, default=1.0, help="asked of the dial")
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--only", default="", help="searches to run, with commas")
    parser.add_argument("--rows", type=Path, help="write the shipped search's table here")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    began = time.time()
    results = measure(args)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    report = {
        "question": (__doc__ or "").splitlines()[0],
        "command": f"python benchmarks/english_models.py --model {Path(args.model).name} "
        f"--data CORPORA/speechocean762 --split {args.split}"
        + (f" --block {args.block}" if args.block else "")
        + (f" --right {args.right}" if args.right is not None else "")
        + (f" --compute {args.compute}" if args.compute != 1.0 else "")
        + (f" --limit {args.limit}" if args.limit else ""),
        "commit": commit,
        "machine": f"{platform.machine()}, one thread, torch {torch.__version__}",
        "minutes": round((time.time() - began) / 60, 1),
        "results": results,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for name, result in results.items():
        whole = result["whole_recording"]
        print(f"{name:12} {whole['seconds']:.0f} s at once: rtf {whole['rtf_of_processor']:.4f}")
        for cohort, n in result["cohorts"].items():
            print(
                f"{name:12} {cohort:9} WER {100 * n['wer']:.1f} % "
                f"[{100 * n['low']:.1f}, {100 * n['high']:.1f}]  rtf {n['rtf']:.4f}  "
                f"p95 {n['chunk_p95_milliseconds']:.1f} ms"
            )


if __name__ == "__main__":
    main()
