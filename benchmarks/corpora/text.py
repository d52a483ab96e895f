# SPDX-License-Identifier: Apache-2.0
"""Choose English sentences to be spoken by synthesized voices, and text for a language model.

Sentences and clauses of 2 to 20 words are cut from freely licensed text packages (see README.md
here for how to get them), then ranked by how much more they look like the wanted speech than like
text at large: the difference of two bigram cross-entropies. Sentences that bring rarely seen
words are kept whatever their rank, and no word may fill the pool. Nothing of a test split gets
in, not even inside a longer sentence.

Source: Moore and Lewis 2010, "Intelligent selection of language model training data", ACL.
Departs from the paper: bigrams interpolated with unigrams instead of a 4-gram model, and a floor
for rare words.

Run: python text.py --sources DOWNLOADS --domain UTTERANCES_JSONL --out DIR
"""

import argparse
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sources import SOURCES
from templates import digit_strings, filled_templates

from evenear.seeding import rng_for

__all__ = ["Bigrams", "Prompt", "choose", "contains_held_out", "main", "sentences", "words_of"]

MAX_WORDS = 20
ABBREVIATIONS = re.compile(r"\b(Mr|Mrs|Dr|St|Messrs|Jr|Sr|Prof|Col|Capt|Gen|vs|etc|i\.e|e\.g)\.")
EXPANDED = {"MR": "MISTER", "DR": "DOCTOR", "OK": "OKAY", "'TIS": "IT IS", "'TWAS": "IT WAS"}
REFUSED = {"MRS", "ST", "MESSRS", "JR", "SR", "COL", "CAPT", "GEN", "VS", "ETC", "PROF", "IE", "EG"}
SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[A-Z])|\s*(?:--+|—|;|:)\s*")
CLAUSE_END = re.compile(r"\s*,\s*")
WORD = re.compile(r"^'?[A-Z]+(?:'[A-Z]+)*'?$")
ROUGH = re.compile(
    r"\b(fuck|shit|cunt|nigg|bitch|whore|rape|penis|vagina|cock|slut|faggot|dick\b|pussy|negro|"
    r"sex|porn|masturbat|orgasm|retard|jew|nazi)", re.IGNORECASE
)  # fmt: skip


class Prompt(NamedTuple):
    """A sentence to speak: words in capitals, and where it is from."""

    text: str
    source: str
    license: str
    repeats: int = 1


class Bigrams:
    """Bigrams interpolated with unigrams and a uniform floor; scores in nats a word."""

    def __init__(self, texts: Iterable[str], vocabulary_size: int = 50_000) -> None:
        self.words: Counter[str] = Counter()
        self.pairs: Counter[tuple[str, str]] = Counter()
        for text in texts:
            padded = ["<s>", *text.split(), "</s>"]
            self.words.update(padded)
            self.pairs.update(pairwise(padded))
        self.total = sum(self.words.values())
        self.floor = 1.0 / vocabulary_size

    def cross_entropy(self, text: str) -> float:
        """Nats a word of this text, sentence ends counted."""
        padded = ["<s>", *text.split(), "</s>"]
        nats = 0.0
        for before, word in pairwise(padded):
            pair = self.pairs[before, word] / (self.words[before] or 1)
            nats -= math.log(0.5 * pair + 0.45 * self.words[word] / self.total + 0.05 * self.floor)
        return nats / (len(padded) - 1)


def words_of(sentence: str) -> str | None:
    """The sentence as words in capitals, or None if it cannot be read aloud as it stands."""
    sentence = sentence.replace("’", "'").replace("‘", "'").replace("_", "").replace("*", "")
    if re.search(
        r"[^A-Za-z',.!?\"()\[\]\s-]|[a-z][A-Z]|\b[A-Z]{2,}\b.*[a-z]|[a-z].*\b[A-Z]{2,}\b", sentence
    ):
        return None
    words = []
    for raw in re.split(r"[\s,.!?\"()\[\]-]+", sentence):
        word = raw.upper()
        word = EXPANDED.get(word, word)
        word = word.strip("'") if word.count("'") and not word.startswith("'") else word.lstrip("'")
        if not word:
            continue
        if word in REFUSED or not all(WORD.match(part) for part in word.split()):
            return None
        if len(word) == 1 and word not in "AIO":
            return None
        words.append("OH" if word == "O" else word)
    return " ".join(words) if words else None


def sentences(paragraph: str) -> Iterator[str]:
    """Sentences and clauses of 2 to 20 words in this paragraph, as words in capitals."""
    paragraph = ABBREVIATIONS.sub(lambda found: found[1].replace(".", ""), paragraph)
    for sentence in SENTENCE_END.split(" ".join(paragraph.split())):
        if ROUGH.search(sentence):
            continue
        text = words_of(sentence)
        if text and 2 <= text.count(" ") + 1 <= MAX_WORDS:
            yield text
        clauses = CLAUSE_END.split(sentence)
        if len(clauses) > 1 and len(sentence) > 40:
            for clause in clauses:
                text = words_of(clause)
                if text and 4 <= text.count(" ") + 1 <= 12:
                    yield text


def contains_held_out(text: str, held_out: set[str]) -> bool:
    """True if the text is a held-out sentence, or has one of 4 words or more inside it."""
    words = text.split()
    if text in held_out:
        return True
    return any(
        " ".join(words[start : start + size]) in held_out
        for size in range(4, min(len(words), 12))
        for start in range(len(words) - size + 1)
    )


def choose(pool: list[Prompt], domain: list[str], num: int, rare_floor: int = 12) -> list[Prompt]:
    """The `num` prompts nearest to the domain; rare words stay and no word floods the pool."""
    inside = Bigrams(domain)
    outside = Bigrams(prompt.text for prompt in pool[:: max(1, len(pool) // 60_000)])
    scores = np.array([inside.cross_entropy(p.text) - outside.cross_entropy(p.text) for p in pool])
    lengths = np.array([p.text.count(" ") + 1 for p in pool])
    scores += 0.04 * np.maximum(0, lengths - 10)  # the domain's sentences are short
    frequent = {word for word, count in outside.words.items() if count >= 3}
    known = frequent | {word for text in domain for word in text.split()}
    counts: Counter[str] = Counter()
    chosen: list[Prompt] = []
    cap = max(200, num // 60)
    for round_floor in (rare_floor, None):
        taken = {p.text for p in chosen}
        for index in np.argsort(scores, kind="stable"):
            prompt = pool[index]
            words = prompt.text.split()
            if prompt.text in taken or not all(word in known for word in words):
                continue
            rarest = min(counts[word] for word in words)
            if rarest >= (round_floor or cap) or len(chosen) >= num:
                continue
            counts.update(words)
            chosen.append(prompt)
    return chosen


def gather(sources: Path, held_out: set[str]) -> list[Prompt]:
    """Every distinct sentence of every source that is at hand, without the held-out ones."""
    seen: set[str] = set()
    pool: list[Prompt] = []
    for source in SOURCES:
        before = len(pool)
        for archive in sorted(sources.glob(source.archive)):
            for paragraph in source.paragraphs(archive):
                for text in sentences(paragraph):
                    if text not in seen and not contains_held_out(text, held_out):
                        seen.add(text)
                        pool.append(Prompt(text, source.name, source.license))
        print(f"{source.name}: {len(pool) - before} sentences", flush=True)
    return pool


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write all lines or nothing."""
    partial = path.with_suffix(path.suffix + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def main() -> None:
    """Read the sources, write prompts.jsonl and lm_text.txt."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n\n")[0])
    parser.add_argument("--sources", type=Path, required=True, help="folder of downloaded packages")
    parser.add_argument("--domain", type=Path, required=True, help="utterances.jsonl with split")
    parser.add_argument("--more-domain", type=Path, help="utterances.jsonl, all of it for training")
    parser.add_argument(
        "--leave-out",
        nargs="*",
        default=[],
        metavar="SPEAKER",
        help="held-out speakers of the domain: their sentences are kept out like the test's",
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--num", type=int, default=70_000, help="sentences taken from the sources")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rows = [json.loads(line) for line in args.domain.read_text().splitlines()]
    missing = set(args.leave_out) - {row["speaker"] for row in rows}
    if missing:
        parser.error(f"no such speaker in {args.domain}: {', '.join(sorted(missing))}")
    held_out = {
        row["text"] for row in rows if row["split"] == "test" or row["speaker"] in args.leave_out
    }
    domain = list(dict.fromkeys(row["text"] for row in rows if row["split"] == "train"))
    domain = [text for text in domain if text not in held_out]
    prompts = [Prompt(text, "speechocean762 train", "OpenSLR 101", 4) for text in domain]
    if args.more_domain:
        more = {json.loads(line)["text"] for line in args.more_domain.read_text().splitlines()}
        clean = (words_of(text) for text in sorted(more - set(domain)))
        more_texts = [t for t in clean if t and not contains_held_out(t, held_out)]
        prompts += [Prompt(text, "Common Voice prompts", "CC0", 2) for text in more_texts]
    pool = gather(args.sources, held_out)
    rng = rng_for(args.seed, "corpora", "made")
    made = [(t, "digits") for t in digit_strings(3000, rng)]
    made += [(t, "templates") for t in filled_templates(6000, rng)]
    known = {p.text for p in prompts} | held_out
    prompts += [Prompt(t, s, "Apache-2.0") for t, s in dict.fromkeys(made) if t not in known]
    known |= {p.text for p in prompts}
    prompts += [p for p in choose(pool, domain, args.num) if p.text not in known]
    order = rng_for(args.seed, "corpora", "order").permutation(len(prompts))
    args.out.mkdir(parents=True, exist_ok=True)
    write_lines(args.out / "prompts.jsonl", (json.dumps(prompts[i]._asdict()) for i in order))
    write_lines(args.out / "lm_text.txt", (p.text for p in [*prompts, *pool]))
    print(f"{len(prompts)} prompts, {len(pool)} sentences of language-model text")


if __name__ == "__main__":
    main()
