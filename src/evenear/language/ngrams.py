# SPDX-License-Identifier: Apache-2.0
"""A small n-gram language model over tokens, learned from text alone.

It tells a search which tokens are likely after the last few, so a recognizer can be fitted to a
domain (names, commands, products) without any audio. How it is learned: `language.smoothing`.

A line of text begins with a start mark; its end is not modeled, since a stream has none.

Legend: V vocabulary, G n-grams of one order, H contexts of one order, N pairs, K tokens of context.

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
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evenear.errors import CheckpointError
from evenear.language.arpa import ArpaModel
from evenear.language.smoothing import (
    NgramConfig,
    Order,
    TextCoder,
    check_room,
    found_at,
    learn,
    make_order,
)

__all__ = ["NgramModel", "TextScore"]

_FORMAT = 1
_Ints = NDArray[np.int64]
_Floats = NDArray[np.float64]


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


class NgramModel:
    """Probabilities of the next token. Make one with `train` or `load`."""

    def __init__(
        self, unigram_V: _Floats, orders: Sequence[Order], special_ids: frozenset[int], key: str
    ) -> None:
        self.unigram_V = unigram_V
        """The probability of each token anywhere."""
        self._orders = tuple(orders)
        self.special_ids = special_ids
        self.tokenizer_key = key
        self.vocabulary_size = len(unigram_V)
        self._cached = functools.lru_cache(maxsize=8192)(self._log_probs)

    @classmethod
    def train(
        cls, texts: Iterable[str], tokenizer: TextCoder, config: NgramConfig | None = None
    ) -> "NgramModel":
        """Learn from lines of normalized text.

        Raises:
            TokenizerError: A line has a character that no piece covers, or there is no text.
            ConfigError: The order is too high for so large a vocabulary.
        """
        unigram_V, orders = learn(texts, tokenizer, config or NgramConfig())
        return cls(unigram_V, orders, tokenizer.special_ids, _key(tokenizer))

    @classmethod
    def from_arpa(cls, model: ArpaModel, tokenizer: TextCoder) -> "NgramModel":
        """Take over the n-grams of words that are single tokens of the tokenizer.

        Raises:
            ConfigError: The order is too high for so large a vocabulary.
        """
        base = len(tokenizer) + 1
        check_room(len(model.keys), base)
        unigram_V, orders = model.fitted(tokenizer)
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

    def begin(self) -> _Ints:
        """The context of a line's first token, for `log_probs_of`: (K,), -1 where nothing is."""
        contexts_K = np.full(self.order - 1, -1)
        contexts_K[-1:] = self.vocabulary_size
        return contexts_K

    def log_probs_of(self, contexts_NK: _Ints, tokens_N: _Ints) -> _Floats:
        """Natural log of the probability of a token after a context, for each of N pairs.

        A context is the last K = order - 1 tokens, that of `begin` with tokens put behind it.
        """
        probabilities_N = self.unigram_V[tokens_N]
        base, keys_N, digit = self.vocabulary_size + 1, np.zeros(len(tokens_N), np.int64), 1
        for order, ngrams_G, token_N in zip(
            self._orders, self.ngrams, contexts_NK[:, ::-1].T, strict=True
        ):
            # Where there is no token, no digit fits: this context and all longer ones are unknown.
            keys_N = np.where((token_N < 0) | (keys_N < 0), -1, keys_N + token_N * digit)
            digit *= base
            if not len(ngrams_G):
                continue
            row_N, is_known_N = found_at(order.contexts_H, keys_N)
            known = np.flatnonzero(is_known_N)
            row_N = row_N[known]
            place_N, is_seen_N = found_at(ngrams_G, keys_N[known] * base + tokens_N[known])
            shares_N = order.shares_G[place_N] * order.scales_H[row_N] * is_seen_N
            probabilities_N[known] = probabilities_N[known] * order.rests_H[row_N] + shares_N
        return np.log(np.where(np.isin(tokens_N, list(self.special_ids)), 1.0, probabilities_N))

    @functools.cached_property
    def ngrams(self) -> tuple[_Ints, ...]:
        """The n-grams of each order from two, ascending.

        Their tokens are digits to the base `vocabulary_size + 1`, whose last is the start mark.
        """
        base = self.vocabulary_size + 1
        return tuple(
            np.repeat(order.contexts_H, np.diff(order.starts_H)) * base + order.tokens_G
            for order in self._orders
        )

    def score(self, texts: Iterable[str], tokenizer: TextCoder) -> TextScore:
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

    def check_fits(self, tokenizer: TextCoder) -> None:
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
            "unigram": self.unigram_V,
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
        probabilities_V = self.unigram_V.copy()
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


def _key(tokenizer: TextCoder) -> str:
    return hashlib.sha256(tokenizer.model).hexdigest()


def _read_order(arrays: Any, n: int) -> Order:
    starts_H = np.concatenate([[0], np.cumsum(arrays[f"sizes{n}"], dtype=np.int64)])
    contexts_H = np.cumsum(arrays[f"contexts{n}"], dtype=np.int64)
    tokens_G, shares_G = arrays[f"tokens{n}"].astype(np.int64), arrays[f"shares{n}"]
    if len(starts_H) != len(contexts_H) + 1 or not starts_H[-1] == len(tokens_G) == len(shares_G):
        raise ValueError(f"its n-grams of order {n} do not agree in number")
    return make_order(contexts_H, starts_H, tokens_G, shares_G)
