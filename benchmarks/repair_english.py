# SPDX-License-Identifier: Apache-2.0
"""Does repairing the shipped recognizer help those it serves worst, and does it cost anybody?

Repairs a model for each cohort by each method, over what its lower layers heard once. It was
trained on most speakers of the corpus's train split: those are adapted to; speakers that its
training held out choose the setting; the speakers of the test split test, and were never learned
from.

    python benchmarks/repair_english.py --model evenear-en --data CORPORA/speechocean762 \
        --tuning-speakers 0131,1033 --cohort 'age<18' gender=male --layers 0 1 \
        --method ewc replay average fine-tune-all --out RUNS/repair --json repair_english.json

Test speakers are heard as whole utterances, with the search that the model recommends; with
`--layers 0` (heads alone) that is what a stream hears but for the silence behind its end. For each
cohort the rule of a repair then picks among all candidates of all methods, on tuning speakers; what
it picked is judged by all test utterances, and `--streamed` of each speaker are streamed, too.

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
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch

from evenear.atomic import write_bytes
from evenear.audit import Table
from evenear.audit.report import AuditSettings
from evenear.data.batching.store import StoreConfig
from evenear.data.corpora.manifests import Utterance
from evenear.evaluation import load_utterances
from evenear.reproduction.repairs.changes import Groups
from evenear.training.mitigation.adaptation.candidates import Repaired
from evenear.training.mitigation.cohort import CohortRule, parse_cohort
from evenear.training.mitigation.judgement.choosing import Point, choose
from evenear.training.mitigation.judgement.finishing import finish
from evenear.training.mitigation.judgement.measuring import (
    measured,
    measured_by_speaker,
    streamed,
    whole,
)
from evenear.training.mitigation.plan import METHODS, MethodName, MitigationConfig
from evenear.training.mitigation.repair import Repair, Watch
from evenear.training.mitigation.upper import heard_below

GAPS = ("age<18", "gender=male")
"""Gaps that are watched, whichever cohort is repaired: those of these groups to their rest."""


class Speech(NamedTuple):
    """Who takes which part."""

    learned: list[Utterance]
    """Speech to adapt to, and that of tuning speakers."""
    testing: list[Utterance]
    tuning: set[str]


class Plan(NamedTuple):
    """A repair that is wanted."""

    cohort: str
    method: MethodName
    layers: int
    settings: tuple[float, ...]

    def config(self, args: argparse.Namespace) -> MitigationConfig:
        """All of its settings."""
        return MitigationConfig(
            cohort=parse_cohort(self.cohort),
            method=self.method,
            settings=self.settings,
            seed=args.seed,
            updates=args.updates,
            rate=args.rate,
            batch_seconds=args.batch_seconds,
            layers=self.layers,
            copies=args.copies,
            fisher_utterances=args.fisher_utterances,
            precision=args.precision,
        )


class Told(NamedTuple):
    """A repair, and what came out."""

    plan: Plan
    repair: Repair
    values: dict[str, Any]


def main() -> None:
    """Parse, repair, write."""
    args = _parsed()
    torch.set_num_threads(1)
    learned = load_utterances(args.data, split="train")
    tuning = set(args.tuning_speakers.split(",")) & {u.speaker for u in learned}
    learned = [
        *(u for u in learned if u.speaker in tuning),
        *_some([u for u in learned if u.speaker not in tuning], args.train_utterances),
    ]
    testing = load_utterances(args.data, split="test")
    few = Speech(learned, _some(testing, args.test_utterances), tuning)
    found, picks = [], []
    for cohort in args.cohort:
        done = []
        for layers in args.layers:
            for method in args.method:
                plan = Plan(cohort, method, layers, _settings(args.dial, method))
                name = f"{_plain(cohort)}-{method}-{layers}"
                done.append(_repaired(args, plan, few, args.out / name))
                _report(done[-1].values)
        found += [one.values for one in done]
        picks.append(_picked(args, done, few._replace(testing=testing)))
    if args.json is not None:
        values = {
            "name": "repair_english",
            "command": " ".join(["python", "benchmarks/repair_english.py", *_told(sys.argv[1:])]),
            "commit": _commit(),
            "machine": f"{platform.machine()}, {platform.system()}, one thread, {args.precision}",
            "model": args.model,
            "picks": picks,
            "repairs": found,
        }
        text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
        write_bytes(args.json, text.encode())


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="evenear-en")
    parser.add_argument("--data", type=Path, required=True, help="speechocean762, both splits")
    parser.add_argument("--tuning-speakers", required=True, help="held out of the model's training")
    parser.add_argument("--cohort", nargs="+", default=["age<18"])
    parser.add_argument("--method", nargs="+", default=["ewc"], choices=METHODS)
    parser.add_argument("--layers", nargs="+", type=int, default=[0])
    parser.add_argument("--dial", nargs="*", default=[], help="as ewc=1,100; else the usual")
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--batch-seconds", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--fisher-utterances", type=int, default=200)
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train-utterances", type=int, help="of each other speaker at most")
    parser.add_argument("--test-utterances", type=int, help="of each test speaker, for rivals")
    parser.add_argument("--streamed", type=int, default=0, help="of each test speaker, of picks")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", type=Path, help="where the results of all repairs go")
    return parser.parse_args()


def _repaired(args: argparse.Namespace, plan: Plan, speech: Speech, folder: Path) -> Told:
    """One repair, done now or before."""
    kept = folder / "told.json"
    (folder / "result.json").unlink(missing_ok=True)  # a finished repair is not prepared again
    repair = _prepared(args, plan, speech, folder)
    shared = args.out / "rows" / str(plan.layers)
    _share(shared / "tuning-before.jsonl", folder / "rows" / "tuning-before.jsonl")
    chosen = repair.candidate(repair.choice.chosen.setting or 0.0)
    _share(folder / "rows" / "tuning-before.jsonl", shared / "tuning-before.jsonl")
    if kept.exists():
        return Told(plan, repair, json.loads(kept.read_text(encoding="utf-8")))
    count = len(speech.testing)
    before = _heard(repair, Repaired(repair.adapting.model), shared / f"test-{count}.jsonl")
    _share(shared / f"test-{count}.jsonl", folder / "rows" / "test-before.jsonl")
    after = _heard(repair, chosen, folder / "rows" / "test-after.jsonl")
    values = finish(repair, AuditSettings()).to_dict()
    values = {"layers": plan.layers, **values, "gaps": _gaps(before, after, speech.testing)}
    write_bytes(kept, json.dumps(values, ensure_ascii=False).encode())
    return Told(plan, repair, values)


def _prepared(args: argparse.Namespace, plan: Plan, speech: Speech, folder: Path) -> Repair:
    return Repair.prepare(
        args.model,
        speech.learned,
        plan.config(args),
        folder,
        test=speech.testing,
        tuning=speech.tuning,
        by=["gender"],
        frames=args.out / "heard",
        watch=Watch(stage=lambda name, _: print(name, flush=True)),
    )


def _heard(repair: Repair, made: Repaired, path: Path) -> Table:
    """Test speakers as heard whole, by what adapts, over what the rest heard once."""
    assert repair.cut is not None, "layers are given"
    sound = StoreConfig(features=repair.bundle.features, augment=False)
    store = heard_below(repair.cut, repair.parts["test"], sound, repair.frames or repair.folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    members = repair.members.__getitem__
    return measured(path, path.stem, lambda: whole(repair.adapting, made, store, members))


def _picked(args: argparse.Namespace, done: Sequence[Told], speech: Speech) -> dict[str, Any]:
    """What the rule picks of all candidates for a cohort, judged by all test utterances."""
    tried = list[tuple[Point, Told, float]]()
    for told in done:  # the model before is heard a little differently with other layers
        before = told.repair.choice.before
        for one in told.repair.choice.points:
            relative = (a / b for a, b in zip(one[1:], before[1:], strict=True))
            tried.append((Point(one.setting, *relative), told, one.setting or 0.0))
    margin = done[0].repair.how.overall_margin
    pick, is_within = choose(Point(None, 1.0, 1.0, 1.0), [one for one, _, _ in tried], margin)
    told, setting = next((told, setting) for one, told, setting in tried if one is pick)
    plan = told.plan._replace(settings=(setting,))
    folder = args.out / f"picked-{_plain(plan.cohort)}"
    if not (folder / "plan.json").exists():
        _prepared(args, plan, speech, folder)
        for name in ("candidates", "rows", "fisher.safetensors"):
            kept = told.repair.folder / name
            if kept.is_dir():
                shutil.copytree(kept, folder / name, ignore=shutil.ignore_patterns("test-*"))
            elif kept.exists():
                shutil.copy(kept, folder / name)
    found = _repaired(args, plan, speech, folder)
    _report(found.values)
    values = {"tuning": pick.to_dict(), "within_margin": is_within, **found.values}
    if args.streamed:
        spoken = _some(speech.testing, args.streamed)
        made = found.repair.whole(found.repair.candidate(setting))
        rates = []
        for name, model in (("before", Repaired(found.repair.bundle.model)), ("after", made)):
            rows = measured_by_speaker(
                folder / "rows" / f"streamed-{name}.jsonl",
                name,
                spoken,
                streamed(found.repair.bundle, model, found.repair.members.__getitem__),
            )
            rates.append(rows.wer)
        values["streamed"] = {"utterances": len(spoken), "before": rates[0], "after": rates[1]}
    return values


def _gaps(before: Table, after: Table, utterances: Sequence[Utterance]) -> list[dict[str, Any]]:
    """Each watched gap before and after, in points of WER, and what became of it."""
    found = []
    for text in GAPS:
        rule: CohortRule = parse_cohort(text)
        members = rule.members(utterances)
        sides = {
            name: [s for s, held in members.items() if held is side]
            for name, side in (("in", True), ("out", False))
        }
        groups = Groups([before, after], sides)
        gaps = [groups.rates(model)["in"] - groups.rates(model)["out"] for model in (0, 1)]
        change = groups.estimate(
            lambda rates: (rates[1][:, 0] - rates[1][:, 1]) - (rates[0][:, 0] - rates[0][:, 1])
        )
        found.append(
            {"cohort": text, "before": gaps[0], "after": gaps[1], "change": asdict(change)}
        )
    return found


def _settings(told: Sequence[str], method: MethodName) -> tuple[float, ...]:
    """The settings of a method's dial that are asked for, else the usual ones."""
    for one in told:
        name, _, settings = one.partition("=")
        if name == method:
            return tuple(map(float, settings.split(",")))
    return METHODS[method].settings


def _share(kept: Path, wanted: Path) -> None:
    """Copy what was measured already: the same model before, and the same speakers."""
    if kept.exists() and not wanted.exists():
        wanted.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(wanted, kept.read_bytes())


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
    print(
        f"{result['cohort']}, {result['method']}, {result['layers']} layers: {chosen['dial']} "
        f"{chosen['setting']}"
    )
    changes = result["changes"]
    for row in (changes["overall"], *changes["cohorts"]):
        if row["change"] is not None:
            print(
                f"  {row['attribute']} {row['value']}: {100 * row['wer_before']:.1f} to "
                f"{100 * row['wer_after']:.1f} % ({100 * row['change']:+.1f} % "
                f"[{100 * row['change_low']:+.1f}, {100 * row['change_high']:+.1f}])"
            )
    for gap in result["gaps"]:
        print(f"  gap {gap['cohort']}: {100 * gap['before']:.1f} to {100 * gap['after']:.1f}")
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
