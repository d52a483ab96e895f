# SPDX-License-Identifier: Apache-2.0
"""Several n-gram models as one: their probabilities interpolated, and the most valuable kept.

    P(w | h) = sum of weight_i P_i(w | h)

for every n-gram that one of the models has; the rest of a context's probability goes to shorter
ones. A large model of much text and a small one of the right text are more together than either.

Legend: V vocabulary, G n-grams of one order, H contexts of one order, K tokens of context.

Source: Jelinek and Mercer 1980 (interpolation); pruning as in `language.smoothing`.
"""

import functools
import itertools
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from evenear.errors import ConfigError
from evenear.language.ngrams import NgramModel
from evenear.language.smoothing import LEAST_REST, pruned

__all__ = ["mixed"]

_LINE_LENGTH = 10.0
"""Tokens a line is taken to have, which says how often one begins."""

_Ints = NDArray[np.int64]
_Floats = NDArray[np.float64]
_Probability = Callable[[_Ints, int], _Floats]


def mixed(models: Sequence[NgramModel], weights: Sequence[float], max_ngrams: int) -> NgramModel:
    """Interpolate models of one vocabulary.

    Args:
        models: One or more, of the same vocabulary.
        weights: The share of each; together 1.
        max_ngrams: N-grams of two and more tokens that are kept.

    Raises:
        ConfigError: The vocabularies differ, or the weights are no shares of one whole.
    """
    if len({(m.tokenizer_key, m.vocabulary_size) for m in models}) != 1:
        raise ConfigError(
            f"Language models to be mixed need one vocabulary, got {len(models)} of several.",
            hint="Learn each with the same tokenizer, or over the same words.",
        )
    if len(weights) != len(models) or min(weights) < 0 or abs(sum(weights) - 1) > 1e-6:
        raise ConfigError(
            f"{len(models)} language models need as many weights that make 1, got {list(weights)}."
        )
    first, base = models[0], models[0].vocabulary_size + 1
    unigram_V = np.average([m.unigram_V for m in models], axis=0, weights=weights)

    def probability(keys_G: _Ints, n: int) -> _Floats:
        """What the models together say of n-grams of n tokens."""
        if n == 1:
            return unigram_V[keys_G]
        contexts_GK = np.stack([keys_G // base**k % base for k in reversed(range(1, n))], axis=1)
        tokens_G, total_G = keys_G % base, np.zeros(len(keys_G))
        for weight, model in zip(weights, models, strict=True):
            total_G += weight * np.exp(model.log_probs_of(_fit(contexts_GK, model), tokens_G))
        return total_G

    keys, shares, values = [], [], []
    for every in itertools.zip_longest(
        *(m.ngrams for m in models), fillvalue=np.zeros(0, np.int64)
    ):
        n = len(keys) + 2
        keys_G = functools.reduce(np.union1d, every)
        own_G, lower_G = probability(keys_G, n), probability(keys_G % base ** (n - 1), n - 1)
        contexts_H, row_G = np.unique(keys_G // base, return_inverse=True)
        listed_H = np.bincount(row_G, own_G, len(contexts_H))
        backed_H = np.bincount(row_G, lower_G, len(contexts_H))
        rest_H = np.maximum(1 - listed_H, LEAST_REST) / np.maximum(1 - backed_H, LEAST_REST)
        backed_G = rest_H[row_G] * lower_G
        reached_H = _reached(contexts_H, n - 1, base, probability)
        keys.append(keys_G)
        shares.append(own_G - backed_G)
        values.append(reached_H[row_G] * own_G * (np.log(own_G) - np.log(backed_G)))
    orders = pruned(keys, base, shares, values, max_ngrams)
    return NgramModel(unigram_V, orders, first.special_ids, first.tokenizer_key)


def _fit(contexts_GK: _Ints, model: NgramModel) -> _Ints:
    """Contexts as long as a model reads them."""
    wanted = model.order - 1
    missing = max(0, wanted - contexts_GK.shape[1])
    padded = np.pad(contexts_GK, ((0, 0), (missing, 0)), constant_values=-1)
    return padded[:, padded.shape[1] - wanted :]


def _reached(contexts_H: _Ints, n: int, base: int, probability: _Probability) -> _Floats:
    """How often contexts of n tokens come up, for each token of text."""
    reached_H = np.ones(len(contexts_H))
    for length in range(1, n + 1):
        part_H = contexts_H // base ** (n - length)
        is_start_H = part_H == base - 1
        known_H = np.where(is_start_H, 0, part_H)
        reached_H *= np.where(is_start_H, 1 / _LINE_LENGTH, probability(known_H, length))
    return reached_H
