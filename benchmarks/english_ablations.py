# SPDX-License-Identifier: Apache-2.0
"""What do synthesized speech, augmentation, the CTC loss and averaging bring the shipped model?

Trains it on for the same number of updates with all of them, and with each left out in turn, and
reads the test greedily with each. A trained model is begun with since training afresh takes hours:
so this tells what an ingredient brings from here on, not what the model owes to it. Differences are
of the same utterances, with intervals that resample speakers; one seed.

    python benchmarks/english_ablations.py --recorded CORPORA/speechocean762:8 \
        --synthesized MADE/flite:0.6 --test CORPORA/speechocean762 --split test --out runs/ablations

Killed, the same command goes on with the arm that was not finished. With --updates 0 the model is
only read.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from evenear.atomic import write_bytes
from evenear.checkpoint import load_model
from evenear.config import replace
from evenear.evaluation import load_utterances
from evenear.models.transducer import Transducer
from evenear.recipes import recipe
from evenear.reproduction.scoring import CLEAN, Score, listen, read_scores, score, write_scores
from evenear.reproduction.statistics import (
    Difference,
    Estimate,
    SpeakerErrors,
    Speakers,
    by_speaker,
)
from evenear.training.loop.memory import keep_freed_memory
from evenear.training.runs.preparation import Source
from evenear.training.runs.recognizer import Run
from evenear.training.settings import TrainingConfig

__all__ = ["main"]

START, ALL = "evenear-en-small", "all"
ARMS = ("without synthesized speech", "without CTC", "without augmentation")
SAY = Console(stderr=True, highlight=False).print


def arms(args: argparse.Namespace) -> dict[str, tuple[TrainingConfig, list[Source]]]:
    """The run with everything, and one for each ingredient that is left out."""
    base = recipe("evenear-en-small-continued")
    base = replace(base, num_updates=args.updates, evaluate_every=args.updates, snapshot_every=200)
    data = base.data
    store = replace(data.store, augment=False, copies=1)
    plain = replace(data, store=store, batches=replace(data.batches, augmentation=None))
    sources = [*args.recorded, *args.synthesized]
    without_ctc = replace(base, objective=replace(base.objective, ctc_weight=0.0))
    found = {
        ALL: (base, sources),
        "without synthesized speech": (base, args.recorded),
        "without CTC": (without_ctc, sources),
        "without augmentation": (replace(base, data=plain), sources),
    }
    return {name: found[name] for name in (ALL, *args.arms)}


def readings(args: argparse.Namespace) -> Iterator[tuple[str, list[Score]]]:
    """What the model to begin with, each arm, and the last weights of the whole one read."""
    test = load_utterances(args.test, split=args.split)
    bundle = load_model(START)
    stores = listen(test, bundle.features, (), args.out / "test", num_processes=2)

    def read(model: Transducer, name: str) -> list[Score]:
        path = args.out / f"{name.replace(' ', '-')}.jsonl"
        if not path.exists():
            found = score(model, bundle.tokenizer, bundle.features, {CLEAN: stores[CLEAN]})
            write_scores(list(found), path)
        return read_scores(path)

    yield "to begin with", read(bundle.model, "to begin with")
    for name, (config, sources) in arms(args).items() if args.updates else ():
        folder = args.out / name.replace(" ", "-")
        if not (folder / "done").exists():
            trained(config, sources, folder, args.frames, args.threads)
        yield name, read(load_model(folder / "model").model, name)
        if name == ALL:
            last = load_model(folder / "model").model
            weights = torch.load(folder / "last.pt", weights_only=True)
            last.load_state_dict(weights, strict=False)  # but for the CTC head
            yield "without averaging", read(last.eval(), "without averaging")


def trained(
    config: TrainingConfig, sources: list[Source], folder: Path, frames: Path | None, threads: int
) -> None:
    """Train one arm, from its snapshot if it has one; keep the averaged and the last weights."""
    folder.mkdir(parents=True, exist_ok=True)
    if frames is not None and not (folder / "frames").exists():
        (folder / "frames").symlink_to(frames.resolve())
    run = Run.prepare(config, sources, folder, start_from=START, threads=threads)
    if run.trainer.snapshot_path.exists():
        run.trainer.resume()
    SAY(f"{folder.name}: {run.description}")
    for step in run.train():
        if step.update % 100 == 0:
            SAY(f"{folder.name}: update {step.update} of {step.num_updates}, {step.loss:.1f}")
    torch.save(run.trainer.model.state_dict(), folder / "last.pt")
    run.trainer.snapshot_path.unlink()
    write_bytes(folder / "done", b"")


def compared(found: dict[str, list[Score]]) -> dict[str, Any]:
    """Rates of all, and the change of each against the run with everything."""
    names = sorted({one.speaker for one in next(iter(found.values()))})
    speakers = Speakers(len(names))
    errors = {}
    for name, scores in found.items():
        rows = ((one.speaker, one.errors, one.words) for one in scores)
        errors_S, words_S = by_speaker(rows, names)
        errors[name] = SpeakerErrors((errors_S,), words_S)
    whole = errors.get(ALL)
    return {
        name: {"wer": _shown(speakers.rate(one))}
        | ({} if whole is None or one is whole else _change(speakers.difference(one, whole)))
        for name, one in errors.items()
    }


def _change(difference: Difference) -> dict[str, Any]:
    return {"relative_to_all": _shown(difference.relative)}


def _shown(one: Estimate) -> dict[str, float | None]:
    return {"value": one.value, "low": one.low, "high": one.high}


def parsed() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--recorded", type=Source.parse, nargs="+", required=True)
    parser.add_argument("--synthesized", type=Source.parse, nargs="+", required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--split", default=None)
    parser.add_argument("--updates", type=int, default=700)
    parser.add_argument("--arms", nargs="*", default=ARMS, choices=ARMS, help="beside the whole")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frames", type=Path, help="frames that another run has stored")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", type=Path, help="where the numbers go")
    return parser.parse_args()


def main() -> None:
    """Train, read, compare, write."""
    args = parsed()
    args.out.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    torch.set_num_threads(args.threads)
    found: dict[str, list[Score]] = {}
    for name, scores in readings(args):
        found[name] = scores
        errors, words = sum(s.errors for s in scores), sum(s.words for s in scores)
        SAY(f"{name}: WER {100 * errors / words:.2f} %")
    results = {
        "question": (__doc__ or "").splitlines()[0],
        "model": START,
        "updates": args.updates,
        "test": args.test.name + (f", split {args.split}" if args.split else ""),
        "search": "greedy",
        "seed": 0,
        "runs": compared(found),
    }
    print(json.dumps(results, indent=1))
    if args.json is not None:
        write_bytes(args.json, (json.dumps(results, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
