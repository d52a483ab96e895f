# SPDX-License-Identifier: Apache-2.0
"""A small n-gram language model over tokens, learned from text alone.

It tells a beam search which tokens are likely after the last few, so a recognizer can be fitted to
a domain (names, commands, products) without any audio. Counts are smoothed by modified Kneser-Ney:
with c the count of a token w after a context h (below the highest order: the number of different
tokens before it), and h' the context without its oldest token,

    P(w | h) = (c(h w) - D(c)) / sum_v c(h v)  +  rest(h) P(w | h')

where the discount D depends on whether c is 1, 2 or more, and rest(h) is what the discounts left.
Then n-grams that hardly change a probability are dropped, and rest(h) takes their share.

A line of text begins with a start mark; its end is not modeled, since a stream has none.

Legend: V vocabulary, G n-grams of one order, H contexts of one order.

Source: Chen and Goodman 1999, "An empirical study of smoothing techniques for language modeling";
counts of n-grams at the start of a line and missing discounts as in Heafield et al. 2013, KenLM;
pruning by weighted difference, Seymour and Rosenfeld 1996.
Departs from the papers: special tokens (blank, turn marks) have no probability, and a context
begins anew after them.
"""

import functools
import hashlib
import io
import math
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from evenear.config import config
from evenear.errors import CheckpointError, ConfigError, TokenizerError
from evenear.tokenizer import Tokenizer

__all__ = ["NgramConfig", "NgramModel", "TextScore"]

_FORMAT = 1
_LEAST_REST = 1e-4
"""Every context leaves at least this much probability to the shorter ones."""

_Ints = NDArray[np.int64]
_Floats = NDArray[np.float64]


@config
class NgramConfig:
    """How much a language model remembers."""

    order: int = Field(default=5, ge=1)
    """Longest n-gram, in tokens."""
    max_ngrams: int = Field(default=600_000, ge=0)
    """N-grams of two and more tokens that are kept: those that change probabilities most."""
    min_count: int = Field(default=1, ge=1)
    """N-grams of three and more tokens that were seen less often are dropped at once."""


@dataclass(frozen=True)
class TextScore:
    """Log-probability of text. These add; perplexities do not."""

    log_prob: float = 0.0
    tokens: int = 0
    words: int = 0

    def __add__(self, other: "TextScore") -> "TextScore":
        return TextScore(
            self.log_prob + other.log_prob, self.tokens + other.tokens, self.words + other.words
        )

    @property
    def token_perplexity(self) -> float | None:
        """Perplexity for each token; None without tokens."""
        return math.exp(-self.log_prob / self.tokens) if self.tokens else None

    @property
    def word_perplexity(self) -> float | None:
        """Perplexity for each word, comparable between tokenizers; None without words."""
        return math.exp(-self.log_prob / self.words) if self.words else None


class _Order(NamedTuple):
    """The n-grams of one order, grouped by context."""

    contexts_H: _Ints
    """Keys of contexts, ascending."""
    starts_H: _Ints
    """Where the n-grams of each context begin; one more entry than contexts."""
    tokens_G: _Ints
    shares_G: NDArray[np.float16]
    """Discounted probability of each n-gram's last token, to be scaled."""
    scales_H: _Floats
    rests_H: _Floats
    """What is left to shorter contexts."""


class NgramModel:
    """Probabilities of the next token. Make one with `train` or `load`."""

    def __init__(
        self, unigram_V: _Floats, orders: Sequence[_Order], special_ids: frozenset[int], key: str
    ) -> None:
        self._unigram_V = unigram_V
        self._orders = tuple(orders)
        self.special_ids = special_ids
        self.tokenizer_key = key
        self.vocabulary_size = len(unigram_V)
        self._cached = functools.lru_cache(maxsize=8192)(self._log_probs)

    @classmethod
    def train(
        cls, texts: Iterable[str], tokenizer: Tokenizer, config: NgramConfig | None = None
    ) -> "NgramModel":
        """Learn from lines of normalized text.

        Raises:
            TokenizerError: A line has a character that no piece covers, or there is no text.
            ConfigError: The order is too high for so large a vocabulary.
        """
        settings = config or NgramConfig()
        base = len(tokenizer) + 1  # the last digit is the start mark
        if settings.order * math.log2(base) > 63 or base > 2**16:
            raise ConfigError(
                f"Order {settings.order} is too high for {len(tokenizer)} tokens: an n-gram must "
                "fit 63 bits, and a token 16.",
                hint=f"Use order {int(63 / math.log2(base))} or less, or fewer tokens.",
            )
        sequence, depths = _sequence(texts, tokenizer)
        counts = _count(sequence, depths, base, settings)
        orders = _smooth(counts, base, len(tokenizer) - len(tokenizer.special_ids), settings)
        unigram_V = _unigram(counts[0], tokenizer)
        return cls(unigram_V, orders, tokenizer.special_ids, _key(tokenizer))

    @property
    def order(self) -> int:
        """Longest n-gram, in tokens."""
        return len(self._orders) + 1

    @property
    def num_ngrams(self) -> int:
        """N-grams of two and more tokens."""
        return sum(len(order.tokens_G) for order in self._orders)

    def next_log_probs(self, tokens: Sequence[int]) -> Tensor:
        """Natural log of the probability of each next token after a line's tokens, (V,).

        Special tokens get 0, which leaves their score to the recognizer.
        """
        return self._cached(self._context(tokens))

    def score(self, texts: Iterable[str], tokenizer: Tokenizer) -> TextScore:
        """How probable lines of normalized text are."""
        total = TextScore()
        for text in texts:
            tokens = tokenizer.encode(text)
            rows = [
                self.next_log_probs(tokens[max(0, i - self.order) : i]) for i in range(len(tokens))
            ]
            log_prob = sum(float(row_V[t]) for row_V, t in zip(rows, tokens, strict=True))
            total += TextScore(log_prob, len(tokens), len(text.split()))
        return total

    def check_fits(self, tokenizer: Tokenizer) -> None:
        """Refuse a tokenizer that this model was not trained with.

        Raises:
            CheckpointError: It is another one.
        """
        if self.tokenizer_key != _key(tokenizer):
            raise CheckpointError(
                "The language model was trained with another tokenizer.",
                hint="Train it again with the recognizer's own tokenizer.",
            )

    def to_bytes(self) -> bytes:
        """The model as a compressed npz archive."""
        arrays: dict[str, Any] = {
            "format": np.array(_FORMAT),
            "unigram": self._unigram_V,
            "special": np.array(sorted(self.special_ids), np.int64),
            "tokenizer": np.frombuffer(bytes.fromhex(self.tokenizer_key), np.uint8),
        }
        for n, order in enumerate(self._orders, start=2):
            arrays[f"contexts{n}"] = np.diff(order.contexts_H, prepend=0)
            arrays[f"sizes{n}"] = np.diff(order.starts_H).astype(np.uint16)
            arrays[f"tokens{n}"] = order.tokens_G.astype(np.uint16)
            arrays[f"shares{n}"] = order.shares_G
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "NgramModel":
        """Read what `to_bytes` wrote.

        Raises:
            CheckpointError: The bytes are no such model.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                if int(arrays["format"]) != _FORMAT:
                    raise CheckpointError("The language model is of another version of evenear.")
                orders = []
                while f"contexts{len(orders) + 2}" in arrays:
                    orders.append(_read_order(arrays, len(orders) + 2))
                special = frozenset(arrays["special"].tolist())
                key = arrays["tokenizer"].tobytes().hex()
                return cls(arrays["unigram"], orders, special, key)
        except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise CheckpointError(
                f"Expected a language model, got {len(content)} bytes that are none: {error}."
            ) from None

    @classmethod
    def load(cls, path: str | Path) -> "NgramModel":
        """Read a model file. Raises `CheckpointError` as `from_bytes` does."""
        if not Path(path).is_file():
            raise CheckpointError(f"There is no language model at {path}.")
        return cls.from_bytes(Path(path).read_bytes())

    def _context(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """The part of a line that matters for its next token."""
        context: list[int] = []
        for token in reversed(tokens):
            if len(context) == self.order - 1:
                return tuple(context[::-1])
            if token in self.special_ids:
                break
            context.append(token)
        context.append(self.vocabulary_size)  # the start mark
        return tuple(context[::-1][-(self.order - 1) :]) if self.order > 1 else ()

    def _log_probs(self, context: tuple[int, ...]) -> Tensor:
        probabilities_V = self._unigram_V.copy()
        key, digit = 0, 1
        for order, token in zip(self._orders, reversed(context), strict=False):
            key, digit = key + token * digit, digit * (self.vocabulary_size + 1)
            row = int(np.searchsorted(order.contexts_H, key))
            if row == len(order.contexts_H) or order.contexts_H[row] != key:
                continue  # a longer context may still be there: pruning may leave gaps
            own = slice(order.starts_H[row], order.starts_H[row + 1])
            probabilities_V *= order.rests_H[row]
            shares_G = order.shares_G[own] * order.scales_H[row]
            probabilities_V[order.tokens_G[own]] += shares_G
        probabilities_V[list(self.special_ids)] = 1.0
        return torch.from_numpy(np.log(probabilities_V).astype(np.float32))


class _Counts(NamedTuple):
    """N-grams of one order: keys ascending, how often each was seen, and its smoothing count."""

    keys_G: _Ints
    seen_G: _Ints
    counts_G: _Ints


def _key(tokenizer: Tokenizer) -> str:
    return hashlib.sha256(tokenizer.model).hexdigest()


def _sequence(texts: Iterable[str], tokenizer: Tokenizer) -> tuple[_Ints, _Ints]:
    """All lines in a row, each after a start mark; and how far each token is from its mark."""
    start = len(tokenizer)
    lines = [np.array([start, *tokenizer.encode(text)], np.int32) for text in texts]
    lines = [line for line in lines if len(line) > 1]
    if not lines:
        raise TokenizerError("A language model needs text to learn from, got none.")
    depths = np.concatenate([np.arange(len(line), dtype=np.int32) for line in lines])
    return np.concatenate(lines).astype(np.int64), depths.astype(np.int64)


def _count(sequence: _Ints, depths: _Ints, base: int, settings: NgramConfig) -> list[_Counts]:
    """Count the n-grams of every order; an n-gram holds the start mark at most as its first."""
    raw = []
    keys = np.zeros_like(sequence)
    for n in range(1, settings.order + 1):
        keys[n - 1 :] += sequence[: max(0, len(sequence) - n + 1)] * base ** (n - 1)
        raw.append(np.unique(keys[depths >= max(n - 1, 1)], return_counts=True))
    counts = []
    for n, (keys_G, seen_G) in enumerate(raw, start=1):
        counts_G = seen_G.copy()
        if n < settings.order:
            inner_G, before_G = np.unique(raw[n][0] % base**n, return_counts=True)
            counts_G[np.searchsorted(keys_G, inner_G)] = before_G
        counts.append(_Counts(keys_G, seen_G, counts_G))
    return counts


def _discounts(counts_G: _Ints) -> _Floats:
    """D(1), D(2) and D(3 or more), at places 1 to 3."""
    n1, n2, n3, n4 = (float((counts_G == c).sum()) for c in (1, 2, 3, 4))
    if min(n1, n2, n3, n4) == 0:
        return np.array([0.0, 0.5, 1.0, 1.5])
    y = n1 / (n1 + 2 * n2)
    discounts = np.array([0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
    if (discounts[1:] <= 0).any() or (discounts[1:] > [1, 2, 3]).any():
        return np.array([0.0, 0.5, 1.0, 1.5])
    return discounts


def _unigram(counts: _Counts, tokenizer: Tokenizer) -> _Floats:
    """Smoothed probability of each token; special ones have none."""
    discounts_G = _discounts(counts.counts_G)[np.minimum(counts.counts_G, 3)]
    probabilities_V = np.zeros(len(tokenizer))
    probabilities_V[:] = discounts_G.sum() / (len(tokenizer) - len(tokenizer.special_ids))
    probabilities_V[counts.keys_G] += counts.counts_G - discounts_G
    probabilities_V[list(tokenizer.special_ids)] = 0.0
    return probabilities_V / counts.counts_G.sum()


def _smooth(
    counts: Sequence[_Counts], base: int, num_tokens: int, settings: NgramConfig
) -> list[_Order]:
    """Discount, find what each n-gram is worth, and keep the most valuable."""
    lower = counts[0]
    discounts_G = _discounts(lower.counts_G)[np.minimum(lower.counts_G, 3)]
    total = lower.counts_G.sum()
    lower_G = (lower.counts_G - discounts_G) / total + discounts_G.sum() / total / num_tokens
    shares, values = [], []
    for n, own in enumerate(counts[1:], start=2):
        discounts_G = _discounts(own.counts_G)[np.minimum(own.counts_G, 3)]
        first_H = _group_starts(own.keys_G // base)
        row_G = np.repeat(np.arange(len(first_H)), np.diff(first_H, append=len(own.keys_G)))
        totals_H = np.add.reduceat(own.counts_G, first_H)
        rests_H = np.add.reduceat(discounts_G, first_H) / totals_H
        shares_G = (own.counts_G - discounts_G) / totals_H[row_G]
        suffix_G = np.searchsorted(counts[n - 2].keys_G, own.keys_G % base ** (n - 1))
        backed_G = rests_H[row_G] * lower_G[suffix_G]
        lower_G = shares_G + backed_G
        values_G = own.seen_G * (np.log(lower_G) - np.log(backed_G))
        if n > 2:
            values_G[own.seen_G < settings.min_count] = -1.0
        shares.append(shares_G)
        values.append(values_G)
    return _prune(counts[1:], base, shares, values, settings)


def _prune(
    counts: Sequence[_Counts],
    base: int,
    shares: Sequence[_Floats],
    values: Sequence[_Floats],
    settings: NgramConfig,
) -> list[_Order]:
    """Keep the n-grams of highest value, with their contexts."""
    if not counts:
        return []
    joined = np.concatenate(values)
    keep = joined > 0
    if keep.sum() > settings.max_ngrams:
        order = np.argsort(-joined, kind="stable")
        keep[order[settings.max_ngrams :]] = False
    orders, position = [], 0
    for own, shares_G in zip(counts, shares, strict=True):
        own_keep = keep[position : position + len(shares_G)]
        position += len(shares_G)
        keys_G = own.keys_G[own_keep]
        first_H = _group_starts(keys_G // base)
        starts_H = np.append(first_H, len(keys_G))
        contexts_H = keys_G[first_H] // base
        orders.append(_order(contexts_H, starts_H, keys_G % base, shares_G[own_keep]))
    return orders


def _read_order(arrays: Any, n: int) -> _Order:
    starts_H = np.concatenate([[0], np.cumsum(arrays[f"sizes{n}"], dtype=np.int64)])
    contexts_H = np.cumsum(arrays[f"contexts{n}"], dtype=np.int64)
    tokens_G, shares_G = arrays[f"tokens{n}"].astype(np.int64), arrays[f"shares{n}"]
    if len(starts_H) != len(contexts_H) + 1 or not starts_H[-1] == len(tokens_G) == len(shares_G):
        raise ValueError(f"its n-grams of order {n} do not agree in number")
    return _order(contexts_H, starts_H, tokens_G, shares_G)


def _order(contexts_H: _Ints, starts_H: _Ints, tokens_G: _Ints, shares_G: NDArray[Any]) -> _Order:
    """Round shares to what a file holds, and give the rest to shorter contexts."""
    shares_G = shares_G.astype(np.float16)
    if not len(contexts_H):
        return _Order(contexts_H, starts_H, tokens_G, shares_G, np.zeros(0), np.zeros(0))
    sums_H = np.add.reduceat(shares_G.astype(np.float64), starts_H[:-1])
    scales_H = np.minimum(1.0, (1.0 - _LEAST_REST) / sums_H)
    return _Order(contexts_H, starts_H, tokens_G, shares_G, scales_H, 1.0 - sums_H * scales_H)


def _group_starts(sorted_G: _Ints) -> _Ints:
    """Where each run of equal values begins."""
    return np.flatnonzero(np.diff(sorted_G, prepend=sorted_G[:1] - 1))
