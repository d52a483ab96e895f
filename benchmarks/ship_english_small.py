# SPDX-License-Identifier: Apache-2.0
"""Which search settings hear the held-out speakers best? Makes the shipped model folder with them.

Takes the model of a training run with pronunciations, learns a model of words from text, mixed with
a general one, tries search settings on the speakers that the run held out of training (never on a
test split) with the weights as they will be stored, and writes the folder. Says also what averaging
the weights brought on those speakers, if the run's last snapshot is there, and how many phones were
misheard before any word was asked for.

    python benchmarks/ship_english_small.py --run runs/small --text sentences.txt \
        --pronunciations words.dict --general en-us.arpa \
        --data CORPORA/speechocean762 CORPORA/speech-commands SYNTHESIZED \
        --out src/evenear/shipped/evenear-en-small

Legend: T steps, P phones with blank first.
"""

import argparse
import copy
import itertools
import json
import multiprocessing
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from evenear.checkpoint import load_model, save_model
from evenear.data.batching.batches import Batch, BatchConfig, BatchMaker
from evenear.data.batching.store import StoreConfig, build_store
from evenear.data.corpora.manifests import load_cuts, utterance
from evenear.encoders.base import Encoded
from evenear.language import ArpaModel, NgramConfig, WordModel
from evenear.lexicon import Lexicon
from evenear.metrics.words import WordErrors, normalize, word_errors
from evenear.models.transducer import Transducer
from evenear.search import BeamConfig, LexiconConfig, greedy_search
from evenear.streaming.searches import build_search
from evenear.tokenizer import Tokenizer
from evenear.training.loop.snapshots import load_snapshot
from evenear.training.runs.preparation import split_speakers

LM_WEIGHTS = (0.6, 0.8, 1.0)
BONUSES = (-0.5, 0.0, 0.5)
BLANK_PENALTIES = (0.75, 1.5, 2.25)
TRANSDUCER_WEIGHTS = (0.2, 0.35, 0.5, 0.7, 1.0)


def main() -> None:
    """Parse, tune, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="holds model/ of the run")
    parser.add_argument("--text", type=Path, required=True, help="a sentence a line")
    parser.add_argument(
        "--data", type=Path, required=True, nargs="+", help="all corpora of the run, the real first"
    )
    parser.add_argument("--seed", type=int, default=0, help="the run's seed")
    parser.add_argument("--dev-speakers", type=int, default=12)
    parser.add_argument("--pronunciations", type=Path, required=True, help="as CMUdict is written")
    parser.add_argument("--general", type=Path, required=True, help="a general model, ARPA")
    parser.add_argument("--general-weight", type=float, default=0.7)
    parser.add_argument("--dtype", default="int8", choices=("float32", "float16", "int8"))
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--max-gap", type=float, default=14.0)
    parser.add_argument("--words", type=int, default=20_000)
    parser.add_argument("--ngrams", type=int, default=2_200_000)
    parser.add_argument("--card", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    bundle = load_model(args.run / "model")
    tokenizer = bundle.tokenizer
    save_model(
        args.out,
        model=bundle.model,
        features=bundle.features,
        tokenizer=tokenizer,
        dtype=args.dtype,
    )
    bundle = load_model(args.out)

    # The speakers depend on all corpora: from fewer, some would be drawn that were trained on.
    corpora = [[utterance(cut) for cut in iter(load_cuts(path))] for path in args.data]
    learned = [u for each in corpora for u in each if u.attributes.get("split") != "test"]
    _, held = split_speakers(learned, args.dev_speakers, seed=args.seed)
    held_speakers = {u.speaker for u in held}
    recorded = [u for u in corpora[0] if u.attributes.get("split") != "test"]
    dev = [u for u in recorded if u.speaker in held_speakers]
    train = [u for u in recorded if u.speaker not in held_speakers]
    texts = [normalize(line) for line in args.text.read_text(encoding="utf-8").splitlines()]
    held_out = {normalize(u.text) for u in dev}
    texts = [text for text in texts if text and text not in held_out]
    texts += [normalize(u.text) for u in train] * 3
    lexicon = Lexicon.read(args.pronunciations)
    settings = NgramConfig(order=3, max_ngrams=args.ngrams)
    words = WordModel.train(
        texts,
        lexicon,
        max_words=args.words,
        config=settings,
        general=ArpaModel.read(args.general),
        general_weight=args.general_weight,
    )
    told = replace(bundle, words=words)
    perplexity = words.score([normalize(u.text) for u in dev]).word_perplexity
    print(f"{words.ngrams.num_ngrams} n-grams, perplexity of held-out words {perplexity:.0f}")

    plain = StoreConfig(augment=False)
    store = build_store(dev, args.run / "frames", plain)
    whole = BatchConfig(seconds=60.0, min_seconds=0.0, max_seconds=60.0, augmentation=None)
    batches = list(BatchMaker(store, tokenizer, whole, plain.features, seed=0).batches(0))
    references = {u.utterance_id: u.text for u in store.utterances}
    with torch.inference_mode():
        encoded = [bundle.model.encode(b.features_BTF, b.lengths_B) for b in batches]

    def errors(settings: BeamConfig | LexiconConfig) -> WordErrors:
        search = build_search(told, settings, None)
        total = WordErrors()
        for batch, frames in zip(batches, encoded, strict=True):
            for utterance_id, reading in zip(batch.utterance_ids, search.read(frames), strict=True):
                heard = tokenizer.decode(reading.tokens)
                total += word_errors(normalize(references[utterance_id]), heard)
        return total

    plain_beam = LexiconConfig(width=args.width, max_gap=args.max_gap)
    tried = {"phones": phone_errors(bundle.model, batches, encoded, lexicon, references).rate}
    tried |= {f"beam {n}": errors(BeamConfig(width=n)).rate for n in (1, 8)}
    snapshot = args.run / "snapshot.pt"
    if snapshot.exists():
        last = copy.deepcopy(bundle.model)
        last.load_state_dict(load_snapshot(snapshot).model, strict=False)  # but for the CTC head
        tried["greedy, last weights"] = greedy_errors(last, batches, references, tokenizer).rate
    print(tried, flush=True)
    wanted = [
        replace(plain_beam, lm_weight=weight, word_bonus=bonus, blank_penalty=penalty)
        for weight, bonus, penalty in itertools.product(LM_WEIGHTS, BONUSES, BLANK_PENALTIES)
    ]
    with multiprocessing.get_context("fork").Pool(os.cpu_count(), _become, (errors,)) as pool:

        def best_of(wanted: list[LexiconConfig]) -> tuple[LexiconConfig, float]:
            rates = []
            for search, rate in zip(wanted, pool.imap(_rate, wanted), strict=True):
                name = f"lm {search.lm_weight}, bonus {search.word_bonus}"
                name += f", blank -{search.blank_penalty}, transducer {search.transducer_weight}"
                tried[name] = rate
                rates.append((rate, search))
                print(f"{name}: {100 * rate:.2f} %", flush=True)
            rate, search = min(rates, key=lambda found: found[0])
            return search, rate

        first, _ = best_of(wanted)
        weights = (0.0, *TRANSDUCER_WEIGHTS)
        best, best_rate = best_of([replace(first, transducer_weight=w) for w in weights])
    print(f"best: {best}, dev WER {100 * best_rate:.2f} %")
    save_model(
        args.out,
        model=bundle.model,
        features=bundle.features,
        tokenizer=tokenizer,
        card=args.card.read_text(encoding="utf-8") if args.card else bundle.card,
        search=BeamConfig(width=8),
        words=words,
        word_search=best,
        dtype=args.dtype,
    )
    (args.run / "search.json").write_text(json.dumps(tried, indent=1), encoding="utf-8")


def phone_errors(
    model: Transducer,
    batches: list[Batch],
    encoded: list[Encoded],
    lexicon: Lexicon,
    references: dict[str, str],
) -> WordErrors:
    """Phone errors of the likeliest phone of each step; texts with unknown words are left out."""
    total = WordErrors()
    for batch, frames in zip(batches, encoded, strict=True):
        with torch.inference_mode():
            projected_BTD = model.joiner.encoder_proj(frames.encoded_BTD)
            best_BT = model.phone_logits(projected_BTD).argmax(dim=2).tolist()
        lengths = (frames.lengths_B * model.encoder.stride).tolist()
        for utterance_id, best_T, length in zip(batch.utterance_ids, best_BT, lengths, strict=True):
            said = [phone for phone, _ in itertools.groupby(best_T[:length]) if phone]
            expected = lexicon.phones_of(normalize(references[utterance_id]))
            if expected:
                total += word_errors(" ".join(map(str, expected)), " ".join(map(str, said)))
    return total


def greedy_errors(
    model: Transducer, batches: list[Batch], references: dict[str, str], tokenizer: Tokenizer
) -> WordErrors:
    """Word errors of greedy search with other weights than the shipped ones."""
    total = WordErrors()
    with torch.inference_mode():
        for batch in batches:
            readings = greedy_search(model, model.encode(batch.features_BTF, batch.lengths_B))
            for utterance_id, reading in zip(batch.utterance_ids, readings, strict=True):
                heard = tokenizer.decode(reading.tokens)
                total += word_errors(normalize(references[utterance_id]), heard)
    return total


def _become(errors: Callable[[LexiconConfig], WordErrors]) -> None:
    """Remember, in a forked process, what counts errors: encoded frames cannot be sent."""
    global _errors
    _errors = errors
    torch.set_num_threads(1)


def _rate(search: LexiconConfig) -> float:
    rate = _errors(search).rate
    return 1.0 if rate is None else rate


if __name__ == "__main__":
    main()
