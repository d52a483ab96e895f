# SPDX-License-Identifier: Apache-2.0
"""Write a language model of CMU Sphinx (`en-us.lm.bin`) as an ARPA file, which others can read.

    python sphinx_arpa.py DOWNLOADS/pocketsphinx-*.whl en-us.arpa

Reads the file or the wheel that holds it. Sphinx's own converter stops at a failed assertion with
the model it ships. An n-gram is found from its last word backwards; all numbers are little-endian,
and logarithms are to the base 1.0001.

Legend: V words, G n-grams of one order, B bits.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sources import members

_MAGIC = b"Trie Language Model"
_NUM_BINS = 2**16
_LOG10 = math.log10(1.0001)
_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]


class Trie(NamedTuple):
    """A trigram model: log10 probabilities and back-off weights, words as their places."""

    words: Sequence[str]
    unigrams_V: _Floats
    unigram_backoffs_V: _Floats
    bigrams_G2: _Ints
    bigrams_G: _Floats
    bigram_backoffs_G: _Floats
    trigrams_G3: _Ints
    trigrams_G: _Floats


def read_trie(content: bytes) -> Trie:
    """Parse the bytes of a trigram `.lm.bin`."""
    order = content[len(_MAGIC)] if content.startswith(_MAGIC) else 0
    if order != 3:
        raise SystemExit("Expected a trigram model of CMU Sphinx in its trie format.")
    at = len(_MAGIC) + 1
    num_words, num_bigrams, num_trigrams = np.frombuffer(content, "<u4", 3, at).tolist()
    at += 16  # the counts, and a number without meaning
    bins = np.frombuffer(content, "<f4", 3 * _NUM_BINS, at).reshape(3, _NUM_BINS) * _LOG10
    at += 12 * _NUM_BINS
    fields = np.dtype([("prob", "<f4"), ("backoff", "<f4"), ("next", "<u4")])
    unigrams = np.frombuffer(content, fields, num_words + 1, at)
    at += unigrams.nbytes
    word_bits, next_bits = num_words.bit_length(), num_trigrams.bit_length()
    widths = (word_bits, 16, 16, next_bits)
    stored = int(unigrams["next"][-1])  # the counts say a few more than there are
    inner_G, backoff_G, prob_G, next_G = _records(content, at, stored + 1, widths)
    at += ((num_bigrams + 1) * sum(widths) + 7) // 8 + 8
    widths = (word_bits, 16)
    first_G, longest_G = _records(content, at, int(next_G[-1]), widths)
    at += ((num_trigrams + 1) * sum(widths) + 7) // 8 + 8
    words = content[at + 4 :].decode("utf-8").split("\0")[:num_words]
    # A trigram hangs from the bigram of its last two words, a bigram from its last word.
    last_of_G = np.repeat(np.arange(num_words), np.diff(unigrams["next"].astype(np.int64)))
    inner_of_G = np.repeat(np.arange(stored), np.diff(next_G))
    bigrams_G2 = np.stack([inner_G[:-1], last_of_G], axis=1)
    trigrams_G3 = np.concatenate([first_G[:, None], bigrams_G2[inner_of_G]], axis=1)
    return Trie(
        words,
        unigrams["prob"][:-1].astype(np.float64) * _LOG10,
        unigrams["backoff"][:-1].astype(np.float64) * _LOG10,
        bigrams_G2,
        bins[0][prob_G[:-1]],
        bins[1][backoff_G[:-1]],
        trigrams_G3,
        bins[2][longest_G],
    )


def _records(content: bytes, at: int, number: int, widths: Sequence[int]) -> list[_Ints]:
    """Columns of records of a fixed number of bits."""
    num_bytes = (number * sum(widths) + 7) // 8
    bits_B = np.unpackbits(np.frombuffer(content, np.uint8, num_bytes, at), bitorder="little")
    bits_GB = bits_B[: number * sum(widths)].reshape(number, sum(widths))
    columns, start = [], 0
    for width in widths:
        packed = np.packbits(bits_GB[:, start : start + width], axis=1, bitorder="little")
        column_G = np.zeros(number, np.int64)
        for place in range(packed.shape[1]):
            column_G |= packed[:, place].astype(np.int64) << 8 * place
        columns.append(column_G)
        start += width
    return columns


def write_arpa(model: Trie, path: Path) -> None:
    """Write the model; n-grams without probability of their own are left out."""
    words = model.words
    bigrams = np.flatnonzero(np.isfinite(model.bigrams_G))
    with path.open("w", encoding="utf-8") as out:
        out.write(f"\\data\\\nngram 1={len(words)}\nngram 2={len(bigrams)}\n")
        out.write(f"ngram 3={len(model.trigrams_G)}\n\n\\1-grams:\n")
        for word, prob, rest in zip(
            words, model.unigrams_V.tolist(), model.unigram_backoffs_V.tolist(), strict=True
        ):
            out.write(f"{prob:.4f}\t{word}\t{rest:.4f}\n")
        out.write("\n\\2-grams:\n")
        for place in bigrams.tolist():
            one, two = model.bigrams_G2[place]
            prob, rest = model.bigrams_G[place], model.bigram_backoffs_G[place]
            out.write(f"{prob:.4f}\t{words[one]} {words[two]}\t{rest:.4f}\n")
        out.write("\n\\3-grams:\n")
        for (one, two, three), prob in zip(
            model.trigrams_G3.tolist(), model.trigrams_G.tolist(), strict=True
        ):
            out.write(f"{prob:.4f}\t{words[one]} {words[two]} {words[three]}\n")
        out.write("\n\\end\\\n")


def main() -> None:
    """Parse the command line and convert."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="a .lm.bin, or the wheel that holds en-us.lm.bin")
    parser.add_argument("arpa", type=Path)
    args = parser.parse_args()
    if args.model.suffix == ".whl":
        content = dict(members(args.model, r"/en-us\.lm\.bin$")).popitem()[1]
    else:
        content = args.model.read_bytes()
    model = read_trie(content)
    write_arpa(model, args.arpa)
    print(
        f"{len(model.words)} words, {len(model.trigrams_G)} trigrams: {args.arpa}", file=sys.stderr
    )


if __name__ == "__main__":
    main()
