# SPDX-License-Identifier: Apache-2.0
"""What does each ingredient of the recipe `evenear-en` bring?

Trains the recipe's first stage from pretrained weights for a fixed, small number of updates with
everything, and with each ingredient left out in turn: distillation, pretrained weights, replay of
other speech, augmentation, offsets of positions. With --base another pretrained encoder takes the
first one's place. So few updates tell what an ingredient brings early on, not what the shipped
model owes to it. One seed.

Each model is streamed with the shipped search for words, without the decoder: test utterances one
by one, and joined to recordings of minutes (which offsets are for); and, with --orders, the share
of slot words of everyday orders that it hears (which replay is for). Changes are of the same
utterances, with intervals that resample speakers.

    python benchmarks/pretrained_ablations.py --recorded CORPORA/speechocean762:1.5 \
        --replayed CORPORA/kokoro-english MADE/pico:0.3 --test CORPORA/speechocean762 --split test \
        --encoder-from WHISPER-TINY.EN --pronunciations cmudict.dict --orders orders.jsonl \
        --out runs/ablations --json benchmarks/results/pretrained_ablations.json

Killed, the same command goes on with the arm that was not finished.
"""

import argparse
import json
import platform
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console

from english_ablations import compared
from evenear.atomic import write_bytes
from evenear.audio import read_audio
from evenear.checkpoint import Bundle, load_model
from evenear.checkpoint.pretrained import read_encoder
from evenear.config import replace
from evenear.data.corpora.manifests import Utterance
from evenear.encoders.transformer import TransformerConfig
from evenear.evaluation import CONDITIONS, Row, draw_utterances, load_utterances, recognize
from evenear.recipes.english import recipe
from evenear.reproduction.scoring import Score, read_scores, write_scores
from evenear.search import LexiconConfig
from evenear.streaming import Final, Recognizer
from evenear.training.loop.memory import keep_freed_memory
from evenear.training.runs.preparation import Source
from evenear.training.runs.recognizer import Run
from evenear.training.settings import TrainingConfig
from slots import found, share

__all__ = ["main"]

ALL, AS_IT_IS = "all", "as it is"
SAY = Console(stderr=True, highlight=False).print


class Arm(NamedTuple):
    """A run."""

    config: TrainingConfig
    sources: list[Source]
    encoder_from: Path | None


def arms(args: argparse.Namespace) -> dict[str, Arm]:
    """The run with everything, and one for each ingredient that is left out."""
    whole = recipe()
    detached = args.updates * whole.objective.detached_updates // whole.num_updates
    warmup = args.updates * whole.optimizer.warmup_updates // whole.num_updates
    base = replace(
        whole,
        num_updates=args.updates,
        evaluate_every=args.updates,
        precision=args.precision,
        data=replace(whole.data, batches=replace(whole.data.batches, seconds=args.batch_seconds)),
        objective=replace(whole.objective, detached_updates=detached),
        optimizer=replace(
            whole.optimizer, warmup_updates=warmup, average_decay=1 - 10 / args.updates
        ),
    )
    data, every, path = base.data, [*args.recorded, *args.replayed], args.encoder_from
    untaught = replace(base.objective, distillation_weight=0.0, detached_updates=0)
    plain = replace(
        data,
        store=replace(data.store, augment=False, copies=1),
        batches=replace(data.batches, augmentation=None),
    )
    still = replace(base.model, encoder=replace(base.model.encoder, offset_chance=0.0))
    found = {
        ALL: Arm(base, every, path),
        "without distillation": Arm(replace(base, objective=untaught), every, path),
        "without pretrained weights": Arm(replace(base, objective=untaught), every, None),
        "without replay": Arm(base, args.recorded, path),
        "without augmentation": Arm(replace(base, data=plain), every, path),
        "without offsets": Arm(replace(base, model=still), every, path),
    }
    if args.base is not None:
        found[f"encoder of {args.base.name}"] = Arm(_sized(base, args.base), every, args.base)
    return {name: arm for name, arm in found.items() if name == ALL or name in (args.arms or found)}


def _sized(config: TrainingConfig, path: Path) -> TrainingConfig:
    """The run with an encoder of the size of a pretrained one."""
    weights, encoder = read_encoder(path), config.model.encoder
    assert isinstance(encoder, TransformerConfig)
    wide, dim = weights["layers.0.widen.weight"].shape
    layers = sum(name.endswith("widen.weight") for name in weights)
    encoder = replace(encoder, dim=dim, ff_dim=wide, num_heads=dim // 64, num_layers=layers)
    return replace(config, model=replace(config.model, encoder=encoder))


def trained(name: str, arm: Arm, folder: Path, args: argparse.Namespace) -> Bundle:
    """The model of one arm, trained now or before, from its snapshot if it has one."""
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "frames").exists():  # what is stored of the same sound serves all
            (args.out / "frames").mkdir(exist_ok=True)
            (folder / "frames").symlink_to((args.out / "frames").resolve())
        run = Run.prepare(
            arm.config,
            arm.sources,
            folder,
            encoder_from=arm.encoder_from,
            pronunciations=args.pronunciations,
            threads=args.threads,
        )
        if run.trainer.snapshot_path.exists():
            run.trainer.resume()
        SAY(f"{name}: {run.description}")
        for step in run.train():
            if step.update % 50 == 0:
                SAY(f"{name}: update {step.update} of {step.num_updates}, {step.loss:.2f}")
        run.trainer.snapshot_path.unlink()
        write_bytes(folder / "done", b"")
    return load_model(folder / "model")


def with_words(bundle: Bundle) -> Recognizer:
    """Streams a model, searching for words as the shipped one does, without the decoder."""
    shipped = load_model("evenear-en")
    search = shipped.word_search
    assert isinstance(search, LexiconConfig)
    bundle = Bundle(**{**vars(bundle), "words": shipped.words})
    return Recognizer(bundle, beam=replace(search, rescorer_weight=0.0))


def heard(
    recognizer: Recognizer, said: list[Utterance], conditions: list[str], folder: Path
) -> dict[str, list[Score]]:
    """Test utterances as they are, and under some conditions."""
    scores = {}
    for name, condition in ((AS_IT_IS, None), *((name, CONDITIONS[name]) for name in conditions)):
        path = folder / f"{name.replace(' ', '-')}.jsonl"
        if not path.exists():
            rows = recognize(recognizer, said, condition=condition)
            write_scores([_score(name, row) for row in rows], path)
        scores[name] = read_scores(path)
    return scores


def _score(condition: str, row: Row) -> Score:
    """What a comparison needs of a row."""
    counts = row.words.errors, row.words.reference_words
    return Score(condition, row.utterance_id, row.speaker, *counts, row.hypothesis, (), ())


def orders_heard(recognizer: Recognizer, orders: Path) -> dict[str, Any]:
    """The share of slot words that stand in what was heard of test orders."""
    rows = [json.loads(line) for line in orders.read_text(encoding="utf-8").splitlines() if line]
    counts = []
    for row in rows:
        if row["split"] == "test":
            stream = recognizer.stream()
            events = stream.accept(read_audio(row["audio"])) + stream.finish()
            text = " ".join(e.text for e in events if isinstance(e, Final))
            counts.append(found(json.loads(row["slots"]), text))
    return share(counts)


def parsed() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--recorded", type=Source.parse, nargs="+", required=True)
    parser.add_argument("--replayed", type=Source.parse, nargs="+", required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--split", default=None)
    parser.add_argument("--limit", type=int, default=450, help="test utterances, drawn by speaker")
    parser.add_argument(
        "--conditions", nargs="*", default=["joined"], choices=sorted(CONDITIONS), metavar="NAME"
    )
    parser.add_argument("--orders", type=Path)
    parser.add_argument("--encoder-from", type=Path, required=True)
    parser.add_argument("--base", type=Path, help="another pretrained encoder, in its place")
    parser.add_argument("--pronunciations", type=Path, required=True)
    parser.add_argument("--updates", type=int, default=300, help="20 at least")
    parser.add_argument("--batch-seconds", type=float, default=32.0)
    parser.add_argument("--precision", default="bfloat16", choices=("float32", "bfloat16"))
    parser.add_argument("--arms", nargs="*", help="beside the whole; else all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", type=Path, help="where the numbers go")
    return parser.parse_args()


def main() -> None:
    """Train, stream, compare, write."""
    args = parsed()
    args.out.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    torch.set_num_threads(args.threads)
    said = draw_utterances(load_utterances(args.test, split=args.split), args.limit, seed=0)
    scores, orders = dict[str, dict[str, list[Score]]](), dict[str, dict[str, Any]]()
    for name, arm in arms(args).items():
        folder = args.out / name.replace(" ", "-")
        recognizer = with_words(trained(name, arm, folder, args))
        scores[name] = heard(recognizer, said, args.conditions, folder)
        if args.orders is not None:
            orders[name] = orders_heard(recognizer, args.orders)
        results = {
            "question": (__doc__ or "").splitlines()[0],
            "updates": args.updates,
            "batch_seconds": args.batch_seconds,
            "precision": args.precision,
            "machine": f"{platform.machine()}, {args.threads} threads, torch {torch.__version__}",
            "test": f"{args.test.name.split('.')[0]}, {len(said)} utterances",
            "seed": 0,
            "slot words": orders,
        }
        for condition in (AS_IT_IS, *args.conditions):
            results[condition] = compared({n: one[condition] for n, one in scores.items()})
            SAY(f"{name}, {condition}: {results[condition][name]}")
        if args.json is not None:
            write_bytes(args.json, (json.dumps(results, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
