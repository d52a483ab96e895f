# SPDX-License-Identifier: Apache-2.0
"""Does repairing the shipped recognizer help those it serves worst, and does it cost anybody?

Repairs a model for each cohort by each method, over what its lower layers heard once. It was
trained on most speakers of the corpus's train split: those are adapted to; the speakers that its
training held out choose the setting; the speakers of the test split test, and were never learned
from.

    python benchmarks/repair_english.py --model evenear-en --data CORPORA/speechocean762 \
        --trained-on corpus/ more/ --cohort 'age<18' --method ewc --out RUNS/repair

Each repair leaves a folder under --out as `evenear mitigate` does, with the repaired model in
`model/`; the same command goes on where it was killed.
"""

import argparse
import json
import platform
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from evenear.atomic import write_bytes
from evenear.audit.report import AuditSettings
from evenear.data.corpora.manifests import Utterance
from evenear.evaluation import load_utterances
from evenear.training.mitigation.cohort import parse_cohort
from evenear.training.mitigation.judgement.finishing import finish
from evenear.training.mitigation.plan import METHODS, MitigationConfig
from evenear.training.mitigation.repair import Repair, Watch
from evenear.training.runs.preparation import Source, held_out_speakers

SHARED = ("tuning-before.jsonl", "test-before.jsonl")


def main() -> None:
    """Parse, repair, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="evenear-en")
    parser.add_argument("--data", type=Path, required=True, help="speechocean762, both splits")
    parser.add_argument(
        "--trained-on", nargs="+", required=True, help="the sources of the model's training"
    )
    parser.add_argument("--dev-speakers", type=int, default=12, help="as many it held out")
    parser.add_argument("--cohort", nargs="+", default=["age<18"])
    parser.add_argument("--method", nargs="+", default=["ewc"], choices=METHODS)
    parser.add_argument("--dial", help="settings to try, with commas; else the usual")
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--batch-seconds", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--fisher-utterances", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train-utterances", type=int, help="of each other speaker at most")
    parser.add_argument("--test-utterances", type=int, help="of each test speaker at most")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", type=Path, help="where the results of all repairs go")
    args = parser.parse_args()
    torch.set_num_threads(1)
    held_out = held_out_speakers(
        [Source.parse(text) for text in args.trained_on], args.dev_speakers, seed=0
    )
    learned = _some(load_utterances(args.data, split="train"), args.train_utterances)
    tuning = held_out & {u.speaker for u in learned}
    testing = _some(load_utterances(args.data, split="test"), args.test_utterances)
    found = []
    for cohort in args.cohort:
        for method in args.method:
            usual = METHODS[method].settings
            how = MitigationConfig(
                cohort=parse_cohort(cohort),
                method=method,
                settings=tuple(map(float, args.dial.split(","))) if args.dial else usual,
                seed=args.seed,
                updates=args.updates,
                rate=args.rate,
                batch_seconds=args.batch_seconds,
                layers=args.layers,
                copies=args.copies,
                fisher_utterances=args.fisher_utterances,
                precision="bfloat16",
            )
            folder = args.out / f"{_plain(cohort)}-{method}"
            found.append(_repaired(args, how, folder, learned, testing, tuning))
            _report(found[-1])
    if args.json is not None:
        values = {
            "name": "repair_english",
            "command": " ".join(["python", "benchmarks/repair_english.py", *_told(sys.argv[1:])]),
            "commit": _commit(),
            "machine": f"{platform.machine()}, {platform.system()}, one thread",
            "model": args.model,
            "repairs": found,
        }
        text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
        write_bytes(args.json, text.encode())


def _repaired(args, how, folder, learned, testing, tuning) -> dict[str, Any]:
    """The results of one repair, done now or before."""
    done = folder / "result.json"
    if done.exists():
        return json.loads(done.read_text(encoding="utf-8"))
    repair = Repair.prepare(
        args.model,
        learned,
        how,
        folder,
        test=testing,
        tuning=tuning,
        by=["gender"],
        frames=args.out / "heard",
        watch=Watch(stage=lambda name, _: print(name, flush=True)),
    )
    for name in SHARED:  # the same model before, and the same speakers
        kept = args.out / "rows" / name
        if kept.exists():
            (folder / "rows").mkdir(exist_ok=True)
            shutil.copy(kept, folder / "rows" / name)
    result = finish(repair, AuditSettings()).to_dict()
    (args.out / "rows").mkdir(exist_ok=True)
    for name in SHARED:
        shutil.copy(folder / "rows" / name, args.out / "rows" / name)
    return result


def _some(utterances: Sequence[Utterance], most: int | None) -> list[Utterance]:
    """So many utterances of each speaker at most."""
    chosen, taken = [], Counter[str]()
    for u in utterances:
        if most is None or taken[u.speaker] < most:
            taken[u.speaker] += 1
            chosen.append(u)
    return chosen


def _report(result: dict[str, Any]) -> None:
    chosen = result["chosen"]
    print(f"{result['cohort']}, {result['method']}: {chosen['dial']} {chosen['setting']}")
    changes = result["changes"]
    for row in (changes["overall"], *changes["cohorts"]):
        if row["change"] is not None:
            print(
                f"  {row['attribute']} {row['value']}: {100 * row['wer_before']:.1f} to "
                f"{100 * row['wer_after']:.1f} % ({100 * row['change']:+.1f} % "
                f"[{100 * row['change_low']:+.1f}, {100 * row['change_high']:+.1f}])"
            )
    print(f"  gate {'passed' if result['gate']['passed'] else 'failed'}", flush=True)


def _plain(text: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in text)


def _told(words: list[str]) -> list[str]:
    """The command without this machine's paths."""
    return [Path(word).name if "/" in word else word for word in words]


def _commit() -> str | None:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or None


if __name__ == "__main__":
    main()
