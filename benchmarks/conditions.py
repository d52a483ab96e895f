# SPDX-License-Identifier: Apache-2.0
"""How does a recognizer hear the same corpus tight-cut, quiet, by telephone, in noise, for hours?

Streams utterances of a split, drawn over speakers, through the model 160 ms at a time on one
thread, once as they are and once under each condition of `evenear.evaluation.CONDITIONS`, and
prints one table: pooled WER with speaker-resampled intervals, the share of utterances whose last
word is right, how long words waited, and how many words were heard where there was no speech.

    python benchmarks/conditions.py --data CORPORA/speechocean762 --limit 200 \
        --out benchmarks/results/conditions.json
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from evenear.data.corpora.manifests import Utterance
from evenear.evaluation import (
    CONDITIONS,
    Condition,
    Row,
    draw_utterances,
    load_utterances,
    recognize,
    summarize,
)
from evenear.streaming import Recognizer


def last_word_rate(rows: list[Row]) -> float | None:
    """Share of utterances with words whose last one was heard last."""
    said = [row for row in rows if row.reference]
    right = [row for row in said if row.hypothesis.split()[-1:] == row.reference.split()[-1:]]
    return len(right) / len(said) if said else None


def measure(
    recognizer: Recognizer, utterances: list[Utterance], condition: Condition | None
) -> dict[str, Any]:
    """One line of the table."""
    rows = list(recognize(recognizer, utterances, condition=condition))
    return {**summarize(rows).to_dict(), "last_word_rate": last_word_rate(rows)}


def line(name: str, n: dict[str, Any]) -> str:
    """One line of the table in words."""
    if n["wer"] is None:
        rate = f"{'no speech':>20}"
    else:
        rate = f"{100 * n['wer']:5.1f} % [{100 * n['low']:.1f}, {100 * n['high']:.1f}]"
    last = "" if n["last_word_rate"] is None else f"last word {100 * n['last_word_rate']:.0f} %  "
    delay = n["final_delay_max_seconds"]
    waited = "" if delay is None else f"final after {n['final_delay_p50_seconds']:.2f} s, "
    waited += "" if delay is None else f"at most {delay:.2f} s  "
    return f"{name:12} {rate}  {last}{waited}{n['heard_words_per_minute']:.1f} words a minute"


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--model", default="evenear-en-small")
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--only", default="", help="conditions to measure, with commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compute", type=float, default=1.0, help="asked of the dial")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    utterances = draw_utterances(
        load_utterances(args.data, split=args.split), args.limit, seed=args.seed
    )
    recognizer = Recognizer.load(args.model, threads=1, compute=args.compute)
    began = time.time()
    names = [name for name in args.only.split(",") if name] or ["as it is", *CONDITIONS]
    results = {}
    for name in names:
        results[name] = measure(recognizer, utterances, CONDITIONS.get(name))
        print(line(name, results[name]), flush=True)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    report = {
        "question": (__doc__ or "").splitlines()[0],
        "command": f"python benchmarks/conditions.py --data {args.data.name} --split {args.split} "
        f"--model {Path(args.model).name} --limit {args.limit} --seed {args.seed}"
        + (f" --compute {args.compute}" if args.compute != 1.0 else ""),
        "commit": commit,
        "machine": f"{platform.machine()}, one thread, torch {torch.__version__}",
        "minutes": round((time.time() - began) / 60, 1),
        "results": results,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"written: {args.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
