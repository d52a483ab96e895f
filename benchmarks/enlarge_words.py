# SPDX-License-Identifier: Apache-2.0
"""Give the shipped recognizers more words to find, without any text or training.

The commonest words of a list that a pronunciation dictionary has and the model does not are added
to the words of `evenear-en-small`, which `evenear-en` shares, and take most of the unknown word's
probability. The decoder of `evenear-en` learns to write them: pieces that it lacks and that many
new words need get the row of Whisper's own embedding, as its other rows began (0.7 of each is that
still); words that need other pieces are written with more and shorter ones that are there.

    python benchmarks/enlarge_words.py --frequencies en_lexeme_prob.json.gz \
        --pronunciations cmudict.dict --words 40000 --pieces 400 \
        --decoder-from WHISPER-TINY.EN --tokenizer WHISPER-TINY.EN/tokenizer.json \
        --small src/evenear/shipped/evenear-en-small --model src/evenear/shipped/evenear-en

The list is the table of the package spacy-lookups-data (MIT): natural logs of how likely words are
in comments on the web, by case. The models' folders must be as they were before: words are added to
what is there. Needs the package tokenizers.

Legend: V pieces of the decoder, W pieces of Whisper, K of these, N of the decoder's, D width.
"""

import argparse
import gzip
import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from evenear.checkpoint import RescorerBundle
from evenear.checkpoint.folders import CONFIG, read_folder, write_folder
from evenear.checkpoint.whisperdecoder import read_decoder
from evenear.language import WordModel
from evenear.lexicon import Lexicon
from rescore_evenear_en import pieces_of, text_of

WORDS = "words.npz"
SPELLED = re.compile(r"[A-Z]+('[A-Z]+)*")
"""A word as the basic normalizer leaves it: letters, and apostrophes between them."""
CUT = frozenset(word for stem in ("wo", "ca", "sha", "ai") for word in (stem, stem.title()))
"""What the list's tokenizer leaves of won't, can't, shan't and ain't; in capitals, other words."""
CONTRACTED = re.compile(
    r"('T|'LL|'RE|'VE|'D|'M|^(HE|HERE|HOW|IT|LET|SHE|THAT|THERE|WHAT|WHERE|WHO)'S)$"
)
"""Two words in one; THING'S is one word, and THINGS another."""
NUM_BYTES = 256
"""Pieces that no merge made."""
NEAR = 0.9
"""Cosine of a row of the decoder and that of Whisper's which it began as, at least."""


def frequencies(path: Path) -> dict[str, float]:
    """How likely each word is anywhere, in upper case, whatever its case in the list."""
    found: defaultdict[str, float] = defaultdict(float)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for word, log_prob in json.load(file).items():
            if SPELLED.fullmatch(word.upper()) and word.isascii() and word not in CUT:
                found[word.upper()] += math.exp(log_prob)
    return dict(found)


def but_for_slips(counts: Mapping[str, float], words: WordModel) -> dict[str, float]:
    """All but those that are known words without their apostrophe: DOESNT, WHATS."""
    slips = {word.replace("'", "") for word in words.words if CONTRACTED.search(word)}
    return {word: count for word, count in counts.items() if word not in slips}


def ids_of(rows_VD: Tensor, whisper_WD: Tensor, known: Sequence[int]) -> list[int]:
    """Which of some pieces of Whisper's the decoder's are, as their rows tell."""
    own_VD, theirs_KD = F.normalize(rows_VD, dim=1), F.normalize(whisper_WD[known], dim=1)
    found = [(part_ND @ theirs_KD.T).max(dim=1) for part_ND in own_VD.split(512)]
    alike_V = torch.cat([one.values for one in found])
    assert alike_V.min() > NEAR, f"a row is like none of Whisper's: {alike_V.min():.2f}"
    return [known[place] for one in found for place in one.indices.tolist()]


def enlarged(
    rescorer: RescorerBundle, words: WordModel, whisper: Path, tokenizer: Path, num_pieces: int
) -> RescorerBundle:
    """The decoder for more words, with at most so many more pieces."""
    merges = int(rescorer.provenance["merges"])
    coder, marks = pieces_of(tokenizer, merges)
    rows_WD = read_decoder(whisper)["embedding.weight"]
    known = [*range(NUM_BYTES + merges), *marks]
    ids_V = ids_of(rescorer.model.embedding.weight.detach(), rows_WD, known)
    count = len(rescorer.spellings) - 1

    def cut(word: str) -> list[int]:
        return coder.encode(" " + word.lower(), add_special_tokens=False).ids

    numbers = {piece: number for number, piece in enumerate(ids_V)}
    assert len(numbers) == len(ids_V), "two rows are like the same of Whisper's"
    told = [tuple(numbers[piece] for piece in cut(word)) for word in words.words[:count]]
    assert told == list(rescorer.spellings[1:]), "the tokenizer cuts its words otherwise"
    new = {word: cut(word) for word in words.words[count:]}
    worth: defaultdict[int, float] = defaultdict(float)
    shares = dict(zip(words.words[-len(words.shares) :], words.shares, strict=True))
    for word, pieces in new.items():
        for piece in set(pieces) - numbers.keys():
            worth[piece] += shares[word]
    added = [p for p, _ in sorted(worth.items(), key=lambda one: (-one[1], one[0]))[:num_pieces]]
    numbers |= {piece: number for number, piece in enumerate(added, start=len(ids_V))}
    rescorer = replace(rescorer, texts=tuple(text_of(coder, p) for p in ids_V))
    rescorer = rescorer.with_pieces([text_of(coder, p) for p in added], rows_WD[added])
    usual = {
        word: [numbers[piece] for piece in pieces]
        for word, pieces in new.items()
        if all(piece in numbers for piece in pieces)
    }
    print(
        f"{len(new):,} new words; they lack {len(worth):,} pieces, of which {len(added)} are "
        f"added; {len(new) - len(usual):,} words are written with other pieces"
    )
    return replace(
        rescorer.with_words(words, usual),
        provenance={**rescorer.provenance, "words": len(words.words), "pieces_added": len(added)},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frequencies", type=Path, required=True)
    parser.add_argument("--pronunciations", type=Path, required=True)
    parser.add_argument("--words", type=int, required=True, help="in all")
    parser.add_argument("--share", type=float, default=0.9, help="of the unknown word's")
    parser.add_argument("--pieces", type=int, required=True, help="to add, at most")
    parser.add_argument("--decoder-from", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--small", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out-small", type=Path, help="else in place")
    parser.add_argument("--out", type=Path, help="else in place")
    given = parser.parse_args()
    small, large = (dict(read_folder(f, (CONFIG,))) for f in (given.small, given.model))
    before, lexicon = WordModel.from_bytes(small[WORDS]), Lexicon.read(given.pronunciations)
    counts = but_for_slips(frequencies(given.frequencies), before)
    words = before.with_words(counts, lexicon, share=given.share, max_words=given.words)
    rescorer = RescorerBundle.among(given.model, large)
    assert rescorer is not None, "else there is nothing to be told of words"
    assert rescorer.writes(before), "the two share their words"
    rescorer = enlarged(rescorer, words, given.decoder_from, given.tokenizer, given.pieces)
    small[WORDS] = words.to_bytes()
    large |= rescorer.files()
    for folder, files in (
        (given.out_small or given.small, small),
        (given.out or given.model, large),
    ):
        write_folder(folder, files)
        print(f"{folder.name}: {sum(p.stat().st_size for p in folder.iterdir()):,} bytes")


if __name__ == "__main__":
    main()
