# SPDX-License-Identifier: Apache-2.0
"""Teach an attention decoder to judge the readings of `evenear-en`, beginning as Whisper's.

The recognizer hears all speech once, as a stream settles it, by several processes; what they heard
is kept, so a second run goes on where the first was stopped. Then the decoder learns from those
frames alone. What is kept is a mean of where it began and of what it learned, for it knows more
English than can be learned here (Wortsman et al. 2022, arXiv:2109.01903). Its vocabulary holds the
pieces of the recognizer's words and no others; rare pieces, those beyond --merges, are spelled by
commoner ones.

    python benchmarks/rescore_evenear_en.py evenear-en OUT --decoder-from WHISPER-TINY.EN \
        --tokenizer WHISPER-TINY.EN/tokenizer.json --data speechocean762.jsonl.gz kokoro.jsonl.gz \
        pico.jsonl.gz:3000 flite.jsonl.gz:1000 --held HELD-OUT-SPEAKERS

A number behind a corpus is how many of its utterances are heard. Needs the package tokenizers.

Legend: T frames, D width, F width of a projected frame, N frames of many utterances, S frames of
the pretrained encoder, V pieces, M mel bins.
"""

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import torch
from tokenizers import Tokenizer as PieceTokenizer
from torch import Tensor

from evenear.checkpoint import Bundle, RescorerBundle, load_model, put_rescorer
from evenear.checkpoint.pretrained import load_pretrained
from evenear.checkpoint.rescorers import digest_of
from evenear.checkpoint.whisperdecoder import load_decoder, read_decoder
from evenear.config import replace
from evenear.data.batching.augmentation import FrameAugmentation
from evenear.data.batching.batches import BatchConfig, BatchMaker
from evenear.data.batching.store import FrameStore, StoreConfig, build_store
from evenear.data.corpora.manifests import Utterance
from evenear.data.corpora.splits import is_held_back
from evenear.encoders.transformer import TransformerConfig, TransformerEncoder
from evenear.evaluation import load_utterances
from evenear.models.rescorer import Rescorer, RescorerConfig
from evenear.recipes.english import heads
from evenear.training.loop.optimizers import build_optimizers
from evenear.training.loop.trainer import Trainer
from evenear.training.mitigation.upper import Cut, cut_below, stored_below
from evenear.training.tasks.rescorer import RescorerTask, RescorerTraining

WHISPER_FRAMES = 3000
"""Feature frames of the 30 s that a Whisper encoder is used to."""
MARKS = ("<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>")


@lru_cache(maxsize=1)
def cut_of(model: str) -> Cut:
    """The recognizer below its heads."""
    return cut_below(load_model(model), 0, precision="bfloat16")


def hear(job: tuple[str, Path, Path]) -> Path:
    """Hear one part of a store."""
    model, part, folder = job
    torch.set_num_threads(1)
    return stored_below(cut_of(model), FrameStore([part]), folder).parts[0]


def chosen(given: list[str], held: set[str]) -> tuple[list[list[Utterance]], list[Utterance]]:
    """Utterances of each corpus to learn from, and those of held-out speakers."""
    learned, judged = [], []
    for one in given:
        path, colon, number = one.rpartition(":")
        path, count = (path, int(number)) if colon and number.isdigit() else (one, 10**9)
        everyone = [
            u for u in load_utterances(Path(path)) if not is_held_back(u.attributes.get("split"))
        ]
        learned.append([u for u in everyone if u.speaker not in held][:count])
        judged += [u for u in everyone if u.speaker in held]
    return learned, judged


def pieces_of(tokenizer: Path, merges: int) -> tuple[PieceTokenizer, list[int]]:
    """Whisper's tokenizer with its commonest merges alone, and the ids of its marks."""
    settings = json.loads(tokenizer.read_text(encoding="utf-8"))
    settings["model"]["merges"] = settings["model"]["merges"][:merges]
    made = PieceTokenizer.from_str(json.dumps(settings))
    return made, [made.token_to_id(mark) for mark in MARKS]


def text_of(tokenizer: PieceTokenizer, piece: int) -> str:
    """What a piece writes; Whisper's tokenizer shows a space as another letter."""
    return str(tokenizer.id_to_token(piece)).replace("Ġ", " ")


def bridge(
    bundle: Bundle, whisper: Path, utterances: list[Utterance], store: Callable[..., FrameStore]
) -> tuple[Tensor, Tensor]:
    """The affine map from projected frames to what Whisper's own encoder says there."""
    decoder = read_decoder(whisper)
    wide, dim = decoder["layers.0.widen.weight"].shape
    layers = {name.split(".")[1] for name in decoder if name.startswith("layers.")}
    config = TransformerConfig(
        dim=dim, ff_dim=wide, num_heads=dim // 64, num_layers=len(layers), reduction=1
    )
    teacher = TransformerEncoder(config).eval()
    load_pretrained(teacher, whisper)
    sounds = store(utterances)
    ours, theirs = [], []
    with torch.inference_mode():
        for place in range(len(sounds)):
            features_TM = torch.from_numpy(sounds.frames(place))[:WHISPER_FRAMES]
            encoded = bundle.model.encode(features_TM[None], torch.tensor([len(features_TM)]))
            own_TF = bundle.model.joiner.encoder_proj(encoded.encoded_BTD[0])
            padded_TM = torch.full((WHISPER_FRAMES, features_TM.shape[1]), float(features_TM.min()))
            padded_TM[: len(features_TM)] = features_TM
            padded_TM = padded_TM.clamp_min(float(padded_TM.max()) - 2.0)
            valid_BT = torch.ones(1, WHISPER_FRAMES, dtype=torch.bool)
            said_SD = teacher.encode_unbounded(padded_TM[None], valid_BT)[0]
            count = min(len(own_TF), len(features_TM) // 4)
            ours.append(own_TF[:count])
            theirs.append(said_SD[: 2 * count].unflatten(0, (count, 2)).mean(dim=1))
    ours_NF, theirs_ND = torch.cat(ours).double(), torch.cat(theirs).double()
    with_one = torch.cat([ours_NF, torch.ones(len(ours_NF), 1).double()], dim=1)
    found = torch.linalg.lstsq(with_one, theirs_ND).solution
    left_ND = theirs_ND - with_one @ found
    explained = 1 - float(left_ND.square().sum() / (theirs_ND - theirs_ND.mean(0)).square().sum())
    print(f"the bridge explains {explained:.2f} of what Whisper's encoder says", flush=True)
    return found[:-1].T.float().contiguous(), found[-1].float()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--decoder-from", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--held", type=Path, help="Speakers to hold out, in words.")
    parser.add_argument("--merges", type=int, default=12_000)
    parser.add_argument("--copies", type=int, default=3, help="Augmented, of recorded speech.")
    parser.add_argument("--updates", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=160.0, help="Of a batch.")
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument(
        "--mix", type=float, default=0.3, help="Share of what was learned in the weights."
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--work", type=Path, help="Where frames and the run go.")
    given = parser.parse_args()
    began = time.time()
    torch.manual_seed(given.seed)
    torch.set_num_threads(1)
    work = given.work or given.out.with_name(given.out.name + "-work")
    held = set(given.held.read_text().split()) if given.held else set()
    corpora, judged = chosen(given.data, held)
    learned = [u for corpus in corpora for u in corpus]
    bundle = load_model(given.model)
    assert bundle.words is not None, "a decoder judges readings of words"
    settings = replace(heads().data.store, copies=given.copies, synthesized_copies=1)

    def plain(utterances: list[Utterance]) -> FrameStore:
        return build_store(utterances, work / "frames", replace(settings, augment=False))

    def heard(utterances: list[Utterance], how: StoreConfig) -> FrameStore:
        sound = build_store(utterances, work / "frames", how, num_processes=given.processes)
        jobs = [(given.model, part, work / "below") for part in sound.parts]
        with multiprocessing.Pool(given.processes) as pool:
            return FrameStore(list(_told(pool.imap(hear, jobs), len(jobs))))

    parts = [part for corpus in corpora for part in heard(corpus, settings).parts]
    train = FrameStore(parts)
    dev = heard(judged, replace(settings, augment=False)) if judged else None
    print(f"{train.hours * 2:.1f} hours heard, {time.time() - began:.0f} s", flush=True)
    tokenizer, marks = pieces_of(given.tokenizer, given.merges)
    texts = {u.utterance_id: u.text.lower() for u in (*learned, *judged)}
    words = [word.lower() for word in bundle.words.words]
    said = {word for text in texts.values() for word in text.split()}
    cut = {
        word: tokenizer.encode(" " + word, add_special_tokens=False).ids
        for word in sorted({*words, *said})
    }
    pieces_V = [*marks, *sorted({piece for ids in cut.values() for piece in ids})]
    number = {piece: place for place, piece in enumerate(pieces_V)}
    spelled = {word: tuple(number[piece] for piece in ids) for word, ids in cut.items()}
    config = RescorerConfig(
        frame_dim=bundle.model.config.joiner_dim,
        vocabulary_size=len(pieces_V),
        max_pieces=128,
        dropout=0.1,
    )
    model = Rescorer(config)
    load_decoder(model, given.decoder_from, pieces_V)
    of_first = learned[:: max(1, len(learned) // 200)]
    weight_DF, bias_D = bridge(bundle, given.decoder_from, of_first, plain)
    with torch.no_grad():
        model.bridge.weight.copy_(weight_DF)
        model.bridge.bias.copy_(bias_D)
    start = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    upper = cut_of(given.model).upper
    masks = FrameAugmentation(
        warp_chance=0.0, tempo_chance=0.0, num_frequency_masks=0, time_mask_ratio=0.05
    )
    how = BatchConfig(seconds=given.seconds, augmentation=masks)
    training = RescorerTraining(seed=given.seed, num_updates=given.updates)
    training = replace(training, optimizer=replace(training.optimizer, peak_rate=given.rate))

    def pieces(text: str) -> list[int] | None:
        found = [piece for word in text.split() for piece in spelled[word]]
        return found if len(found) + len(MARKS) <= config.max_pieces else None

    task = RescorerTask(
        training,
        model,
        upper.model,
        BatchMaker(train, None, how, upper.features, seed=given.seed),
        BatchMaker(
            dev or train, None, replace(how, augmentation=None), upper.features, seed=given.seed
        ),
        pieces,
        texts,
    )
    trainer = Trainer(task, build_optimizers(model, training.optimizer), training, work)
    if trainer.snapshot_path.exists():
        trainer.resume()
    for progress in trainer.run():
        if progress.update % 50 == 0 or progress.score is not None:
            score = "" if progress.score is None else f", dev {progress.score:.3f}"
            print(f"{progress.update} loss {progress.loss:.2f}{score}", flush=True)
    made = trainer.averaged()
    assert isinstance(made, Rescorer), "as given"
    with torch.no_grad():
        for name, weight in made.named_parameters():
            weight.copy_(torch.lerp(start[name], weight, given.mix))
    provenance = {
        "command": "python benchmarks/rescore_evenear_en.py MODEL OUT --decoder-from WHISPER …",
        "decoder_from": given.decoder_from.name,
        "sources": [Path(one).name for one in given.data],
        "hours_of_speech": round(train.hours * 2, 2),
        "hours_heard": round(trainer.heard_seconds / 3600, 2),
        "merges": given.merges,
        "updates": given.updates,
        "rate": given.rate,
        "mix": given.mix,
        "seed": given.seed,
        "minutes": round((time.time() - began) / 60, 1),
        "dev_nats_per_word": task.evaluate(made.eval()),
    }
    spellings = ((), *(spelled[word] for word in words))
    rescorer = RescorerBundle(
        model=made,
        spellings=spellings,
        words_digest=digest_of(bundle.words),
        provenance=provenance,
        texts=tuple(text_of(tokenizer, piece) for piece in pieces_V),
    )
    put_rescorer(given.model, rescorer, given.out)


def _told(parts: Iterator[Path], many: int) -> Iterator[Path]:
    """Count parts on the way."""
    for number, part in enumerate(parts, start=1):
        print(f"heard {number} of {many} parts", flush=True)
        yield part


if __name__ == "__main__":
    main()
