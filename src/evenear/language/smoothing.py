# SPDX-License-Identifier: Apache-2.0
"""Counts of n-grams, what is taken from them, and which are worth keeping.

Counts are smoothed by modified Kneser-Ney: with c the count of a token w after a context h (below
the highest order: the number of different tokens before it), and h' the context without its oldest
token,

    P(w | h) = (c(h w) - D(c)) / sum_v c(h v)  +  rest(h) P(w | h')

where the discount D depends on whether c is 1, 2 or more, and rest(h) is what the discounts left.
Then n-grams that hardly change a probability are dropped, and rest(h) takes their share.

Legend: V vocabulary, G n-grams of one order, H contexts of one order, N keys.

Source: Chen and Goodman 1999, "An empirical study of smoothing techniques for language modeling";
counts of n-grams at the start of a line and missing discounts as in Heafield et al. 2013, KenLM;
pruning by weighted difference, Seymour and Rosenfeld 1996.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evenear.config import config
from evenear.errors import ConfigError, TokenizerError

__all__ = [
    "LEAST_REST",
    "NgramConfig",
    "Order",
    "TextCoder",
    "check_room",
    "found_at",
    "learn",
    "make_order",
    "pruned",
]

LEAST_REST = 1e-4
"""Every context leaves at least this much probability to the shorter ones."""

_Ints = NDArray[np.int64]
_Floats = NDArray[np.float64]


class TextCoder(Protocol):
    """Turns text into numbers below its length: a coder, or the words of a vocabulary."""

    model: bytes
    """What tells it from others."""
    special_ids: frozenset[int]
    """Numbers that no text becomes."""

    def __len__(self) -> int: ...

    def encode(self, text: str) -> list[int]:
        """The numbers of a normalized text."""
        ...


@config
class NgramConfig:
    """How much a language model remembers."""

    order: int = Field(default=5, ge=1)
    """Longest n-gram, in tokens."""
    max_ngrams: int = Field(default=600_000, ge=0)
    """N-grams of two and more tokens that are kept: those that change probabilities most."""
    min_count: int = Field(default=1, ge=1)
    """N-grams of three and more tokens that were seen less often are dropped at once."""


class Order(NamedTuple):
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


def learn(
    texts: Iterable[str], coder: TextCoder, settings: NgramConfig
) -> tuple[_Floats, list[Order]]:
    """The smoothed probability of each token anywhere, (V,), and the n-grams of each higher order.

    Raises:
        TokenizerError: A line has a character that no piece covers, or there is no text.
        ConfigError: The order is too high for so large a vocabulary.
    """
    base = len(coder) + 1  # the last digit is the start mark
    check_room(settings.order, base)
    sequence, depths = _sequence(texts, coder)
    counts = _count(sequence, depths, base, settings)
    orders = _smooth(counts, base, len(coder) - len(coder.special_ids), settings)
    return _unigram(counts[0], coder), orders


def check_room(order: int, base: int) -> None:
    """Refuse n-grams that cannot be numbered.

    Raises:
        ConfigError: The order is too high for so large a vocabulary.
    """
    if order * math.log2(base) > 63 or base > 2**16:
        raise ConfigError(
            f"Order {order} is too high for {base - 1} tokens: an n-gram must "
            "fit 63 bits, and a token 16.",
            hint=f"Use order {int(63 / math.log2(base))} or less, or fewer tokens.",
        )


def make_order(
    contexts_H: _Ints, starts_H: _Ints, tokens_G: _Ints, shares_G: NDArray[Any]
) -> Order:
    """Round shares to what a file holds, and give the rest to shorter contexts."""
    shares_G = shares_G.astype(np.float16)
    if not len(contexts_H):
        return Order(contexts_H, starts_H, tokens_G, shares_G, np.zeros(0), np.zeros(0))
    sums_H = np.add.reduceat(shares_G.astype(np.float64), starts_H[:-1])
    scales_H = np.minimum(1.0, (1.0 - LEAST_REST) / sums_H)
    return Order(contexts_H, starts_H, tokens_G, shares_G, scales_H, 1.0 - sums_H * scales_H)


class _Counts(NamedTuple):
    """N-grams of one order: keys ascending, how often each was seen, and its smoothing count."""

    keys_G: _Ints
    seen_G: _Ints
    counts_G: _Ints


def _sequence(texts: Iterable[str], coder: TextCoder) -> tuple[_Ints, _Ints]:
    """All lines in a row, each after a start mark; and how far each token is from its mark."""
    start = len(coder)
    lines = [np.array([start, *coder.encode(text)], np.int32) for text in texts]
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


def _unigram(counts: _Counts, coder: TextCoder) -> _Floats:
    """Smoothed probability of each token; special ones have none."""
    discounts_G = _discounts(counts.counts_G)[np.minimum(counts.counts_G, 3)]
    probabilities_V = np.zeros(len(coder))
    probabilities_V[:] = discounts_G.sum() / (len(coder) - len(coder.special_ids))
    probabilities_V[counts.keys_G] += counts.counts_G - discounts_G
    probabilities_V[list(coder.special_ids)] = 0.0
    return probabilities_V / counts.counts_G.sum()


def _smooth(
    counts: Sequence[_Counts], base: int, num_tokens: int, settings: NgramConfig
) -> list[Order]:
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
    return pruned([own.keys_G for own in counts[1:]], base, shares, values, settings.max_ngrams)


def found_at(sorted_G: _Ints, keys_N: _Ints) -> tuple[_Ints, NDArray[np.bool_]]:
    """Where each key is among some, or a place of no meaning, and whether it is there."""
    places_N = np.minimum(np.searchsorted(sorted_G, keys_N), len(sorted_G) - 1)
    return places_N, sorted_G[places_N] == keys_N


def pruned(
    keys: Sequence[_Ints],
    base: int,
    shares: Sequence[_Floats],
    values: Sequence[_Floats],
    max_ngrams: int,
) -> list[Order]:
    """The n-grams of highest value above 0, with their contexts; keys ascend in each order."""
    if not keys:
        return []
    joined = np.concatenate(values)
    keep = joined > 0
    if keep.sum() > max_ngrams:
        order = np.argsort(-joined, kind="stable")
        keep[order[max_ngrams:]] = False
    orders, position = [], 0
    for every_G, shares_G in zip(keys, shares, strict=True):
        own_keep = keep[position : position + len(shares_G)]
        position += len(shares_G)
        keys_G = every_G[own_keep]
        first_H = _group_starts(keys_G // base)
        starts_H = np.append(first_H, len(keys_G))
        contexts_H = keys_G[first_H] // base
        orders.append(make_order(contexts_H, starts_H, keys_G % base, shares_G[own_keep]))
    return orders


def _group_starts(sorted_G: _Ints) -> _Ints:
    """Where each run of equal values begins."""
    return np.flatnonzero(np.diff(sorted_G, prepend=sorted_G[:1] - 1))
