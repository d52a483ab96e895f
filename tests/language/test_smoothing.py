# SPDX-License-Identifier: Apache-2.0
"""What is kept of counted n-grams: what changes probabilities most, and never all of it."""

import math

import numpy as np
import pytest

from evenear.language import NgramConfig, NgramModel
from language.test_ngrams import UNPRUNED, WrittenOut, corpus
from laws import tiny_tokenizer


def test_the_first_half_to_go_is_hardly_missed():
    tokenizer = tiny_tokenizer()
    train, held_out = corpus(400), corpus(60, seed=1)
    whole = NgramModel.train(train, tokenizer, UNPRUNED)
    scores = []
    for kept in (1.0, 0.5, 0.1, 0.0):
        config = NgramConfig(order=4, max_ngrams=int(kept * whole.num_ngrams))
        model = NgramModel.train(train, tokenizer, config)
        assert model.num_ngrams == pytest.approx(kept * whole.num_ngrams, abs=1)
        scores.append(model.score(held_out, tokenizer).log_prob)
    assert scores == sorted(scores, reverse=True)
    lost = [scores[0] - score for score in scores]
    assert lost[1] < 0.1 * lost[3]


def test_what_is_kept_is_what_changes_the_training_text_most():
    tokenizer, lines = tiny_tokenizer(), corpus(40)
    written = WrittenOut(lines, tokenizer, 3)
    values = {}
    for gram, seen in written.raw.items():
        if len(gram) > 1:
            followers = written.followers[gram[:-1]]
            discounts = written.discounts[len(gram)]
            rest = sum(discounts[min(c, 3)] for c in followers.values()) / sum(followers.values())
            backed = rest * written.probability(gram[-1], gram[1:-1])
            whole = written.probability(gram[-1], gram[:-1])
            values[gram] = seen * math.log(whole / backed)
    num_kept = len(values) // 3
    model = NgramModel.train(lines, tokenizer, NgramConfig(order=3, max_ngrams=num_kept))
    kept = set()
    for n, order in enumerate(model._orders, start=2):
        sizes = np.diff(order.starts_H)
        for key, token in zip(np.repeat(order.contexts_H, sizes), order.tokens_G, strict=True):
            context = [int(key) // 41**k % 41 for k in reversed(range(n - 1))]
            kept.add(tuple("<s>" if t == 40 else t for t in (*context, int(token))))
    assert len(kept) == num_kept
    worst_kept = min(values[gram] for gram in kept)
    assert all(value <= worst_kept + 1e-9 for gram, value in values.items() if gram not in kept)


def test_the_least_count_drops_rare_long_ngrams_only():
    tokenizer = tiny_tokenizer()
    text = ["THE CAT SAT", "THE CAT SAT", "A DOG RAN"]
    model = NgramModel.train(text, tokenizer, NgramConfig(order=3, min_count=2))
    every = NgramModel.train(text, tokenizer, NgramConfig(order=3, min_count=1))
    rare = tokenizer.encode("A DOG RAN")
    pairs = NgramModel.train(text, tokenizer, NgramConfig(order=2))
    assert pairs.num_ngrams < model.num_ngrams < every.num_ngrams
    dropped, kept = (m.next_log_probs(rare[:3])[rare[3]] for m in (model, every))
    assert dropped < kept


def test_rest_is_never_nothing_however_sure_a_context_is():
    tokenizer = tiny_tokenizer()
    model = NgramModel.train(["THE CAT"] * 30_000, tokenizer)
    tokens = tokenizer.encode("THE CAT")
    for cut in range(len(tokens)):
        row_V = model.next_log_probs(tokens[:cut])
        assert np.isfinite(row_V.numpy()).all()
        assert row_V[tokens[cut]] > -0.01
