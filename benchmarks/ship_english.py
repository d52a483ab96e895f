# SPDX-License-Identifier: Apache-2.0
"""Which search hears the held-out speakers best? Makes the folder of `evenear-en` with it.

Takes the model of a run of the recipe `evenear-en`, stores it as it will be shipped, and tries on
the speakers that the run held out (never on a test split): greedy search, beams with n-grams of
word pieces, and a search for the words of another model, in each case with several weights. The
best search for tokens and the best search for words are written into the folder; which of the two
is used is the model's own choice: for words, if it has some.

    python benchmarks/ship_english.py --run runs/tuned --data corpus/:1.5 more/ \
        --words-from evenear-en-small --out src/evenear/shipped/evenear-en
"""

import argparse
import itertools
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn.utils.rnn import pad_sequence

from evenear.checkpoint import Bundle, load_model, save_model
from evenear.config import from_json
from evenear.config import replace as set_fields
from evenear.data.batching.batches import Batch, BatchConfig, BatchMaker
from evenear.data.batching.store import FrameStore
from evenear.encoders.base import Encoded
from evenear.encoders.transformer import TransformerConfig, TransformerEncoder
from evenear.language import NgramConfig, NgramModel
from evenear.metrics.words import WordErrors, word_errors
from evenear.models.transducer import Transducer
from evenear.search import BeamConfig, LexiconConfig
from evenear.streaming.ear import Ear
from evenear.streaming.searches import build_search
from evenear.training.runs.preparation import Source, prepare
from evenear.training.settings import TrainingConfig

LM_WEIGHTS = (0.0, 0.15)
BONUSES = (0.0, 0.5)
WORD_LM_WEIGHTS = (0.7, 1.0)
WORD_BONUSES = (0.0,)
BLANK_PENALTIES = (1.5, 2.0, 2.75)
TRANSDUCER_WEIGHTS = (0.4, 0.6)


class HeldOut:
    """The held-out speakers of a run, encoded once, as a recognizer hears them."""

    def __init__(self, bundle: Bundle, store: FrameStore, limit: int) -> None:
        self.bundle = bundle
        whole = BatchConfig(seconds=60.0, min_seconds=0.0, max_seconds=60.0, augmentation=None)
        self.references = {u.utterance_id: u.text for u in store.utterances}
        batches = list(BatchMaker(store, None, whole, bundle.features, seed=0).batches(0))[:limit]
        ear = Ear(bundle.model)
        with torch.inference_mode():
            self.heard = [(b.utterance_ids, _encoded(ear, b)) for b in batches]

    def rate(self, settings: BeamConfig | LexiconConfig, bundle: Bundle | None = None) -> float:
        """WER of a search."""
        bundle = bundle or self.bundle
        search, total = build_search(bundle, settings, None), WordErrors()
        for ids, encoded in self.heard:
            for name, reading in zip(ids, search.read(encoded), strict=True):
                heard = bundle.tokenizer.decode(reading.tokens)
                total += word_errors(self.references[name], heard)
        assert total.rate is not None
        return total.rate

    def best(
        self,
        wanted: Iterable[BeamConfig | LexiconConfig],
        tried: dict[str, float],
        bundle: Bundle | None = None,
    ) -> BeamConfig | LexiconConfig:
        """The best of some searches; what each gave goes into `tried`."""
        rates = []
        for settings in wanted:
            rate = self.rate(settings, bundle)
            tried[str(settings)] = rate
            print(f"{100 * rate:.2f} %  {settings}", flush=True)
            rates.append((rate, len(rates), settings))
        return min(rates)[2]


def _encoded(ear: Ear, batch: Batch) -> Encoded:
    """A batch's utterances, each with its right context if the model has some."""
    if ear.right is None:
        return ear.model.encode(batch.features_BTF, batch.lengths_B)
    features_BTF = ear.model.normalize(batch.features_BTF)
    settled = [
        ear.right.finish(own_TF[None, :length], ear.right.initial_state(1))[0][0]
        for own_TF, length in zip(features_BTF, batch.lengths_B.tolist(), strict=True)
    ]
    lengths_B = torch.tensor([len(own_TD) for own_TD in settled])
    return Encoded(pad_sequence(settled, batch_first=True), lengths_B)


def with_right_context(model: Transducer, frames: int) -> None:
    """Let a model's recognizers wait for so many feature frames behind each block."""
    config = model.config.encoder
    assert isinstance(config, TransformerConfig)
    assert isinstance(model.encoder, TransformerEncoder)
    model.config = set_fields(model.config, encoder=set_fields(config, right_frames=frames))
    model.encoder.right_frames = frames


def main() -> None:
    """Parse, tune, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="holds model/ and config.json")
    parser.add_argument("--model", type=Path, help="another model of the run than model/")
    parser.add_argument("--data", nargs="+", required=True, help="the run's sources")
    parser.add_argument("--right", type=int, help="feature frames of right context, if others")
    parser.add_argument("--provenance", type=Path, help="where it came from, all stages, as JSON")
    parser.add_argument("--words-from", help="a model whose words to search for")
    parser.add_argument("--dtype", default="int8", choices=("float32", "float16", "int8"))
    parser.add_argument("--card", type=Path)
    parser.add_argument("--batches", type=int, default=10**6, help="how much to tune on")
    parser.add_argument(
        "--quick", action="store_true", help="keep the settings of --out; tune none"
    )
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(2)
    made = load_model(args.model or args.run / "model")
    if args.right is not None:
        with_right_context(made.model, args.right)
    config = from_json(TrainingConfig, (args.run / "config.json").read_text(encoding="utf-8"))
    sources = [Source.parse(text) for text in args.data]
    corpus = prepare(sources, config.data, args.run, seed=config.seed)
    texts = [u.text for u in corpus.train.utterances if u.copy == 0]
    ngrams = NgramModel.train(texts, made.tokenizer, NgramConfig(order=5))
    words = load_model(args.words_from).words if args.words_from else None
    provenance = dict(made.provenance)
    if args.provenance is not None:
        provenance = json.loads(args.provenance.read_text(encoding="utf-8"))
    told = {"features": made.features, "tokenizer": made.tokenizer, "language_model": ngrams}
    told |= {"words": words, "provenance": provenance, "dtype": args.dtype}
    told["card"] = args.card.read_text(encoding="utf-8") if args.card else made.card
    if args.quick:
        old = load_model(args.out)
        save_model(
            args.out, model=made.model, search=old.search, word_search=old.word_search, **told
        )
        return
    save_model(args.out, model=made.model, **told)
    bundle = load_model(args.out)
    print("encoding the held-out speakers", flush=True)
    held = HeldOut(bundle, corpus.dev, args.batches)
    tried: dict[str, float] = {}
    unquantized = replace(bundle, model=made.model)
    exact = HeldOut(unquantized, corpus.dev, args.batches)
    tried["greedy, weights of 32 bits"] = exact.rate(BeamConfig(width=1))
    print(f"greedy with weights of 32 bits: {100 * tried['greedy, weights of 32 bits']:.2f} %")
    beams = [BeamConfig(width=1)]
    beams += [
        BeamConfig(width=4, lm_weight=weight, insertion_bonus=bonus, internal_lm_weight=weight)
        for weight, bonus in itertools.product(LM_WEIGHTS, BONUSES)
    ]
    search = held.best(beams, tried)
    word_search = LexiconConfig()
    if words is not None:
        lexicons = [
            LexiconConfig(width=64, lm_weight=weight, word_bonus=bonus, blank_penalty=penalty)
            for weight, bonus, penalty in itertools.product(
                WORD_LM_WEIGHTS, WORD_BONUSES, BLANK_PENALTIES
            )
        ]
        word_search = held.best(lexicons, tried)
        assert isinstance(word_search, LexiconConfig)
        word_search = held.best(
            (replace(word_search, transducer_weight=weight) for weight in TRANSDUCER_WEIGHTS), tried
        )
    save_model(args.out, model=made.model, search=search, word_search=word_search, **told)
    (args.run / "search.json").write_text(json.dumps(tried, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
