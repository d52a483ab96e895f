# SPDX-License-Identifier: Apache-2.0
"""Language models of words as others write them: back-off n-grams in an ARPA file.

    P(w | h) = p(h w) if the file lists h w, else backoff(h) P(w | h')

with h' the context without its oldest word. SRILM, KenLM and CMU Sphinx read and write such files.

Legend: G n-grams of one order, n words of an n-gram, k words of a context, H contexts, W words of
the file, V vocabulary.

Departs from the format: the end of a line is not modeled, since a stream has none, so all else is
divided by what it leaves; n-grams are brought into the interpolated form of `language.ngrams`, in
which one that is less likely than its back-off says counts as just as likely.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evenear.errors import ConfigError, ManifestError
from evenear.language.smoothing import Order, TextCoder, found_at, make_order

__all__ = ["ArpaModel"]

_START, _END = "<s>", "</s>"
_DROPPED, _UNKNOWN = -1, 0
_LEAST_LEFT = 1e-3
"""A context that nearly always ends its line is taken to go on with this probability."""

_Ints = NDArray[np.int64]
_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ArpaModel:
    """N-grams of words with probabilities and back-off weights."""

    words: tuple[str, ...]
    keys: tuple[_Ints, ...]
    """For each order, n-grams as numbers: their words are digits to the base of `words`."""
    probabilities: tuple[_Floats, ...]
    backoffs: tuple[_Floats, ...]

    @classmethod
    def read(cls, path: Path) -> "ArpaModel":
        """Read an ARPA file.

        Raises:
            ManifestError: The file cannot be read, is none, is cut short, or a line of it is wrong.
            ConfigError: Its order is too high for so many words.
        """
        try:
            with path.open(encoding="utf-8") as lines:
                return _Reader(path, lines).model()
        except (OSError, UnicodeDecodeError) as error:
            raise ManifestError(
                f"A language model needs a text file, got {path}, which cannot be read ({error})."
            ) from None

    def likely(self) -> dict[str, float]:
        """How probable each word is anywhere, in upper case, marks left out."""
        found: dict[str, float] = {}
        for word, probability in zip(self.words, self.probabilities[0].tolist(), strict=True):
            if not (word.startswith("<") and word.endswith(">")):
                found[word.upper()] = max(probability, found.get(word.upper(), 0.0))
        return found

    def fitted(self, coder: TextCoder) -> tuple[_Floats, list[Order]]:
        """The model over another vocabulary, as `smoothing.learn` gives one.

        Words that it lacks share half of what all words outside the vocabulary had; those count as
        the unknown word.
        """
        target_W = self._targets(coder)
        ends = np.flatnonzero(np.array(self.words) == _END)
        end = int(ends[0]) if len(ends) else None
        size = len(coder)
        unigram_V = np.zeros(size)
        is_kept_W = (target_W >= 0) & (target_W < size)
        np.add.at(unigram_V, target_W[is_kept_W], self.probabilities[0][is_kept_W])
        missing_V = unigram_V == 0
        missing_V[_UNKNOWN] = False
        if missing_V.any():
            half = max(unigram_V[_UNKNOWN], 1e-6) / 2
            unigram_V[_UNKNOWN] = half
            unigram_V[missing_V] = half / missing_V.sum()
        orders = [self._order(n, target_W, size, end) for n in range(2, len(self.keys) + 1)]
        return unigram_V / unigram_V.sum(), orders

    def _targets(self, coder: TextCoder) -> _Ints:
        """What each word becomes; of those that become the same, all but the likeliest unknown."""
        target_W = np.full(len(self.words), _UNKNOWN, np.int64)
        likeliest: dict[int, int] = {}
        for word in np.argsort(-self.probabilities[0], kind="stable").tolist():
            encoded = coder.encode(self.words[word].upper())
            if len(encoded) == 1 and encoded[0] != _UNKNOWN:
                likeliest.setdefault(encoded[0], word)
        for target, word in likeliest.items():
            target_W[word] = target
        for word, text in enumerate(self.words):
            if text in (_START, _END):
                target_W[word] = len(coder) if text == _START else _DROPPED
        return target_W

    def _order(self, n: int, target_W: _Ints, size: int, end: int | None) -> Order:
        """The n-grams of one order as shares of probability."""
        words_Gn = self._words_of(n)
        target_Gn = target_W[words_Gn]
        is_start_Gn = target_Gn == size
        # A context of unknown words is none, and the start mark comes first alone.
        is_kept_G = (target_Gn[:, :-1] > _UNKNOWN).all(axis=1) & (target_Gn[:, -1] >= 0)
        is_kept_G &= ~is_start_Gn[:, 1:].any(axis=1)
        words_Gn, target_Gn = words_Gn[is_kept_G], target_Gn[is_kept_G]
        backoff_G = self._backoff(words_Gn[:, :-1])
        lower_G = self._probability(words_Gn[:, 1:])
        shares_G = self.probabilities[n - 1][is_kept_G] - backoff_G * lower_G
        shares_G /= self._left(words_Gn[:, :-1], end)
        base = size + 1
        keys_G = np.zeros(len(target_Gn), np.int64)
        for target_G in target_Gn.T:
            keys_G = keys_G * base + target_G
        keys_G, place_G = np.unique(keys_G, return_inverse=True)
        summed_G = np.bincount(place_G, shares_G, len(keys_G))
        keys_G, shares_G = keys_G[summed_G > 0], summed_G[summed_G > 0]
        contexts_H, first_H = np.unique(keys_G // base, return_index=True)
        return make_order(contexts_H, np.append(first_H, len(keys_G)), keys_G % base, shares_G)

    def _left(self, contexts_Gk: _Ints, end: int | None) -> _Floats:
        """How probable it is that a line goes on after each context."""
        if end is None:
            return np.ones(len(contexts_Gk))
        last_G1 = np.full((len(contexts_Gk), 1), end)
        ends_G = self._probability(np.concatenate([contexts_Gk, last_G1], axis=1))
        return np.maximum(_LEAST_LEFT, 1.0 - ends_G)

    def _probability(self, words_Gn: _Ints) -> _Floats:
        """The probability of the last word of each n-gram after those before it."""
        probability_G = self.probabilities[0][np.searchsorted(self.keys[0], words_Gn[:, -1])]
        for n in range(2, words_Gn.shape[1] + 1):
            if not len(self.keys[n - 1]):
                break  # nor has it longer ones
            place_G, is_listed_G = self._found(words_Gn[:, -n:])
            backed_G = probability_G * self._backoff(words_Gn[:, -n:-1])
            probability_G = np.where(is_listed_G, self.probabilities[n - 1][place_G], backed_G)
        return probability_G

    def _backoff(self, contexts_Gk: _Ints) -> _Floats:
        if not len(self.keys[contexts_Gk.shape[1] - 1]):
            return np.ones(len(contexts_Gk))
        place_G, is_listed_G = self._found(contexts_Gk)
        return np.where(is_listed_G, self.backoffs[contexts_Gk.shape[1] - 1][place_G], 1.0)

    def _found(self, words_Gn: _Ints) -> tuple[_Ints, NDArray[np.bool_]]:
        """Where each n-gram is listed, and whether it is."""
        keys_G = np.zeros(len(words_Gn), np.int64)
        for word_G in words_Gn.T:
            keys_G = keys_G * len(self.words) + word_G
        return found_at(self.keys[words_Gn.shape[1] - 1], keys_G)

    def _words_of(self, n: int) -> _Ints:
        """The words of the n-grams of one order."""
        base, keys_G = len(self.words), self.keys[n - 1]
        return np.stack([keys_G // base**k % base for k in reversed(range(n))], axis=1)


class _Reader:
    """Reads the parts of an ARPA file, one line after another."""

    def __init__(self, path: Path, lines: Iterable[str]) -> None:
        self.path, self.number, self.line = path, 0, ""
        self._lines = iter(lines)
        self.ids: dict[str, int] = {}

    def model(self) -> ArpaModel:
        """The whole file."""
        counts = self._head()
        orders = []
        for n, count in enumerate(counts, start=1):
            if n > 1 and n * len(self.ids).bit_length() > 63:
                raise ConfigError(
                    f"{self.path} has {n}-grams of {len(self.ids)} words, which are more than 63 "
                    "bits tell apart.",
                    hint="Use a model of a lower order, or of fewer words.",
                )
            orders.append(self._ngrams(n, count, is_last=n == len(counts)))
        keys, probabilities, backoffs = zip(*orders, strict=True)
        return ArpaModel(tuple(self.ids), keys, probabilities, backoffs)

    def _next(self) -> bool:
        """Go on to the next line that is not empty, if there is one."""
        for line in self._lines:
            self.number, self.line = self.number + 1, line.strip()
            if self.line:
                return True
        return False

    def _head(self) -> list[int]:
        """How many n-grams of each order are promised."""
        counts: list[int] = []
        while self._next():
            name, _, count = self.line.partition("=")
            if self.line == "\\1-grams:" and counts:
                return counts
            if name.startswith("ngram ") and count.strip().isdigit():
                counts.append(int(count))
            elif counts or self.line != "\\data\\":
                break
        raise self._wrong("the head of an ARPA file")

    def _ngrams(self, n: int, count: int, *, is_last: bool) -> tuple[_Ints, _Floats, _Floats]:
        """The n-grams of one order, ascending, to the line that ends them."""
        key_G, place = np.zeros(count, np.int64), 0
        prob_G, backoff_G = np.zeros(count), np.ones(count)
        while self._next() and not self.line.startswith("\\"):
            fields = self.line.split()
            if len(fields) not in (n + 1, n + 2) or place == count:
                raise self._wrong(f"one of {count} {n}-grams")
            try:
                if n == 1:
                    self.ids[fields[1]] = place
                for word in fields[1 : n + 1]:
                    key_G[place] = key_G[place] * len(self.ids) * (n > 1) + self.ids[word]
                prob_G[place] = 10.0 ** float(fields[0])
                if len(fields) == n + 2:
                    backoff_G[place] = 10.0 ** float(fields[n + 1])
            except (ValueError, KeyError, OverflowError):
                raise self._wrong(f"a {n}-gram of words listed above") from None
            place += 1
        ending = "\\end\\" if is_last else f"\\{n + 1}-grams:"
        if place != count or self.line != ending:
            raise self._wrong(f"{ending}, after {count} {n}-grams")
        if n == 1 and len(self.ids) != count:
            raise self._wrong(f"preceded by {count} different words, not by {len(self.ids)}")
        order_G = np.argsort(key_G, kind="stable")
        return key_G[order_G], prob_G[order_G], backoff_G[order_G]

    def _wrong(self, wanted: str) -> ManifestError:
        return ManifestError(
            f"Line {self.number} of {self.path} should be {wanted}, got {self.line[:60]!r}.",
            hint="Give an ARPA file, as SRILM and KenLM write it, unpacked.",
        )
