# SPDX-License-Identifier: Apache-2.0
"""Mixed models say what their parts say, in their shares."""

import numpy as np
import pytest

from evenear.errors import ConfigError
from evenear.language import NgramConfig, NgramModel, mixed
from language.test_ngrams import UNPRUNED, corpus
from laws import tiny_tokenizer


def ordinary(model: NgramModel) -> np.ndarray:
    return np.setdiff1d(np.arange(model.vocabulary_size), list(model.special_ids))


def after(model: NgramModel, tokens: list[int]) -> np.ndarray:
    """Probabilities of ordinary tokens after those of a line."""
    words_N = ordinary(model)
    return np.exp(model.next_log_probs(tokens).double().numpy()[words_N])


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_listed_ngrams_get_the_weighted_mean_and_all_sums_to_one(weight):
    tokenizer = tiny_tokenizer()
    one = NgramModel.train(corpus(60), tokenizer, NgramConfig(order=3))
    two = NgramModel.train(corpus(80, seed=1), tokenizer, NgramConfig(order=3))
    both = mixed([one, two], [1 - weight, weight], 10**9)
    for line in corpus(10, seed=2):
        tokens = tokenizer.encode(line)
        for k in range(len(tokens)):
            found = after(both, tokens[:k])
            assert found.sum() == pytest.approx(1.0, abs=1e-5)
            expected = (1 - weight) * after(one, tokens[:k]) + weight * after(two, tokens[:k])
            is_listed = expected > 3 * np.median(expected)
            np.testing.assert_allclose(found[is_listed], expected[is_listed], rtol=0.03)


def test_models_of_different_orders_are_mixed():
    tokenizer = tiny_tokenizer()
    long = NgramModel.train(corpus(60), tokenizer, UNPRUNED)
    short = NgramModel.train(corpus(60, seed=1), tokenizer, NgramConfig(order=2))
    both = mixed([short, long], [0.5, 0.5], 10**9)
    assert both.order == 4
    expected = 0.5 * after(long, [5, 6, 7]) + 0.5 * after(short, [5, 6, 7])
    np.testing.assert_allclose(after(both, [5, 6, 7]), expected, rtol=0.2, atol=1e-3)


def test_a_mixture_hears_both_texts_better_than_the_wrong_part_does():
    tokenizer = tiny_tokenizer()
    texts = corpus(300), [line[::-1].strip() for line in corpus(300, seed=1)]
    parts = [NgramModel.train(text, tokenizer, UNPRUNED) for text in texts]
    both = mixed(parts, [0.5, 0.5], 10**9)
    for text, right, wrong in zip(texts, parts, parts[::-1], strict=True):
        scores = [m.score(text, tokenizer).log_prob for m in (wrong, both, right)]
        assert scores == sorted(scores)


def test_the_first_half_to_go_is_hardly_missed():
    tokenizer = tiny_tokenizer()
    parts = [NgramModel.train(corpus(300, seed=s), tokenizer, UNPRUNED) for s in (0, 1)]
    held_out, whole = corpus(60, seed=2), mixed(parts, [0.5, 0.5], 10**9)
    scores = []
    for kept in (1.0, 0.5, 0.1, 0.0):
        model = mixed(parts, [0.5, 0.5], int(kept * whole.num_ngrams))
        assert model.num_ngrams <= kept * whole.num_ngrams
        scores.append(model.score(held_out, tokenizer).log_prob)
    assert scores == sorted(scores, reverse=True)
    assert scores[0] - scores[1] < 0.1 * (scores[0] - scores[3])


def test_other_vocabularies_and_wrong_weights_are_refused():
    one = NgramModel.train(["A CAT"], tiny_tokenizer(), NgramConfig(order=2))
    other = NgramModel(one.unigram_V, (), one.special_ids, "another")
    with pytest.raises(ConfigError, match="one vocabulary"):
        mixed([one, other], [0.5, 0.5], 10)
    for weights in ([1.0], [0.7, 0.7], [1.5, -0.5]):
        with pytest.raises(ConfigError, match="make 1"):
            mixed([one, one], weights, 10)
