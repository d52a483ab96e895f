# SPDX-License-Identifier: Apache-2.0
"""Does a recognizer hear words, or does it know the sentences it was trained on by heart?

Greedy WER on recorded training utterances as they are, on new sentences spliced from them (the same
voices and words in another order), on their beginnings alone, and on held-out speakers. If it only
knew the voices, the first two would be alike.

    python benchmarks/sentences_by_heart.py --model evenear-en-small --run runs/small \
        --data CORPORA/speechocean762 CORPORA/speech-commands SYNTHESIZED \
        --out benchmarks/results/sentences_by_heart.json

`--data` are all corpora of the run whose folder is `--run`, in their order: its stored frames and
its held-out speakers are used.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from evenear.checkpoint import Bundle, load_model
from evenear.config import from_json
from evenear.data.batching.batches import collate
from evenear.data.batching.splicing import Splicer
from evenear.data.batching.store import FrameStore
from evenear.features import stack_frames
from evenear.metrics.words import WordErrors, normalize, word_errors
from evenear.search import greedy_search
from evenear.seeding import rng_for
from evenear.training.runs.preparation import Source, prepare
from evenear.training.settings import TrainingConfig
from evenear.training.splicepoints import stored_splice_points

Spoken = tuple[np.ndarray, str]


class OneCopy(FrameStore):
    """A store of which only the first copy of each utterance counts."""

    def __init__(self, store: FrameStore) -> None:
        super().__init__(store.parts)
        kept = [i for i, one in enumerate(self.utterances) if one.copy == 0]
        self.utterances = [self.utterances[i] for i in kept]
        self._places = [self._places[i] for i in kept]


@torch.inference_mode()
def read(bundle: Bundle, spoken: Sequence[Spoken]) -> WordErrors:
    total = WordErrors()
    for start in range(0, len(spoken), 16):
        group = spoken[start : start + 16]
        frames = [stack_frames(frames_TM, bundle.features) for frames_TM, _ in group]
        batch = collate([""] * len(group), frames, [[] for _ in group])
        encoded = bundle.model.encode(batch.features_BTF, batch.lengths_B)
        for reading, (_, text) in zip(greedy_search(bundle.model, encoded), group, strict=True):
            total += word_errors(text, normalize(bundle.tokenizer.decode(reading.tokens)))
    return total


def main() -> None:
    """Read four kinds of sentences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", nargs="+", type=Path, required=True)
    parser.add_argument("--num", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    settings = from_json(TrainingConfig, (args.run / "config.json").read_text(encoding="utf-8"))
    sources = [Source(path) for path in args.data]
    corpus = prepare(sources, settings.data, args.run, seed=settings.seed)
    bundle, store = load_model(args.model), OneCopy(corpus.train)
    splice_points = stored_splice_points(bundle, store, args.run)
    splicer, rng = Splicer(store, splice_points), rng_for(args.seed, "by heart")
    whole: list[Spoken] = []
    spliced: list[Spoken] = []
    begun: list[Spoken] = []
    for stored in rng.permutation(len(store)):
        one = store.utterances[stored]
        made = splicer.splice(int(stored), rng)
        if made is None:
            continue
        known = [
            k for k, point in enumerate(splice_points[one.utterance_id, 0]) if point is not None
        ]
        words = known[int(rng.integers(len(known)))] + 1
        point = splice_points[one.utterance_id, 0][words - 1]
        whole.append((store.frames(stored), one.text))
        spliced.append(made)
        begun.append((store.frames(stored)[:point], " ".join(one.text.split()[:words])))
        if len(whole) == args.num:
            break
    dev = [(corpus.dev.frames(i), u.text) for i, u in enumerate(corpus.dev.utterances)]
    results = {"model": args.model, "seed": args.seed}
    kinds = {"as trained on": whole, "spliced anew": spliced, "their beginnings": begun}
    for name, spoken in (kinds | {"held-out speakers": dev}).items():
        found = read(bundle, spoken)
        results[name] = {"wer": found.rate, "words": found.reference_words, "number": len(spoken)}
        print(f"{name}: WER {100 * (found.rate or 0.0):.1f} % of {found.reference_words} words")
    if args.out is not None:
        args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
