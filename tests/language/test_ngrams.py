# SPDX-License-Identifier: Apache-2.0
"""The language model against its definition, counted with dictionaries."""

import itertools
import math
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.errors import CheckpointError, ConfigError, TokenizerError
from evenear.language import NgramConfig, NgramModel, TextScore
from evenear.seeding import rng_for
from evenear.tokenizer import Tokenizer
from laws import tiny_tokenizer

WORDS = "THE CAT SAT ON A MAT AND DOG RAN TO MOON HILL WAIT PLEASE TRAIN BALL".split()  # noqa: SIM905
UNPRUNED = NgramConfig(order=4, max_ngrams=10**9)
laws = settings(deadline=None, max_examples=40, derandomize=True)


def corpus(num_lines: int, seed: int = 0) -> list[str]:
    """Lines in which a word depends on the one before, so that contexts matter."""
    rng = rng_for(seed, "language test")
    lines = []
    for _ in range(num_lines):
        word, line = int(rng.integers(len(WORDS))), []
        for _ in range(int(rng.integers(1, 9))):
            line.append(WORDS[word])
            word = (word * 3 + int(rng.integers(3))) % len(WORDS)
        lines.append(" ".join(line))
    return lines


class WrittenOut:
    """Interpolated modified Kneser-Ney as the formula says, with dictionaries and recursion."""

    def __init__(self, lines: list[str], tokenizer: Tokenizer, order: int) -> None:
        self.tokenizer, self.order = tokenizer, order
        raw = Counter()
        for line in lines:
            tokens = ["<s>", *tokenizer.encode(line)]
            for n in range(1, order + 1):
                raw.update(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))
        self.raw = raw = Counter({g: c for g, c in raw.items() if g != ("<s>",)})
        self.counts = Counter()
        for gram, count in raw.items():
            if len(gram) == order or gram[0] == "<s>":  # no other token can precede it
                self.counts[gram] = count
            else:
                self.counts[gram] = sum(len(g) == len(gram) + 1 and g[1:] == gram for g in raw)
        self.followers = defaultdict(dict)
        for gram, count in self.counts.items():
            self.followers[gram[:-1]][gram[-1]] = count
        self.discounts = {n: self.discount(n) for n in range(1, order + 1)}

    def discount(self, n: int) -> list[float]:
        of = Counter(c for g, c in self.counts.items() if len(g) == n)
        n1, n2, n3, n4 = of[1], of[2], of[3], of[4]
        if not (n1 and n2 and n3 and n4):
            return [0, 0.5, 1.0, 1.5]
        y = n1 / (n1 + 2 * n2)
        found = [0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
        sane = all(0 < d <= k for k, d in enumerate(found[1:], start=1))
        return found if sane else [0, 0.5, 1.0, 1.5]

    def probability(self, token: int, context: tuple) -> float:
        special = self.tokenizer.special_ids
        lower = (
            self.probability(token, context[1:])
            if context
            else 1 / (len(self.tokenizer) - len(special))
        )
        own = self.followers.get(context)
        if not own:
            return lower
        discounts = self.discounts[len(context) + 1]
        total = sum(own.values())
        rest = sum(discounts[min(c, 3)] for c in own.values()) / total
        count = own.get(token, 0)
        return max(count - discounts[min(count, 3)], 0) / total + rest * lower


@pytest.mark.parametrize("num_lines", [3, 60])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_probabilities_are_those_of_the_formula(num_lines, order):
    tokenizer, lines = tiny_tokenizer(), corpus(num_lines)
    model = NgramModel.train(lines, tokenizer, NgramConfig(order=order, max_ngrams=10**9))
    written = WrittenOut(lines, tokenizer, order)
    regular = [v for v in range(len(tokenizer)) if v not in tokenizer.special_ids]
    lines_of_tokens = [tokenizer.encode(line) for line in [*lines[:5], "WAIT ON A HILL", "A"]]
    for tokens, cut in itertools.product(lines_of_tokens, range(6)):
        context = tuple(["<s>", *tokens[:cut]][-(order - 1) :]) if order > 1 else ()
        row_V = model.next_log_probs(tokens[:cut]).exp()
        for token in regular[::3]:
            expected = written.probability(token, context)
            assert row_V[token].item() == pytest.approx(expected, rel=2e-2, abs=2e-4)


@laws
@given(
    tokens=st.lists(st.integers(0, 39), max_size=8),
    order=st.integers(1, 5),
    max_ngrams=st.sampled_from([0, 7, 60, 10**9]),
    seed=st.integers(0, 2),
)
def test_probabilities_add_up_to_one_after_anything(tokens, order, max_ngrams, seed):
    tokenizer = tiny_tokenizer()
    config = NgramConfig(order=order, max_ngrams=max_ngrams)
    model = NgramModel.train(corpus(30, seed), tokenizer, config)
    row_V = model.next_log_probs(tokens)
    assert row_V.shape == (40,)
    special = sorted(tokenizer.special_ids)
    assert row_V[special].tolist() == [0.0] * len(special)
    probabilities_V = row_V.double().exp()
    assert probabilities_V.sum().item() - len(special) == pytest.approx(1.0, abs=1e-5)
    assert probabilities_V.min() > 0
    assert model.num_ngrams <= max_ngrams


def test_held_out_text_is_more_probable_with_more_context():
    tokenizer = tiny_tokenizer()
    train, held_out = corpus(400), corpus(60, seed=1)
    perplexities = []
    for order in (1, 2, 3, 5):
        model = NgramModel.train(train, tokenizer, NgramConfig(order=order))
        perplexities.append(model.score(held_out, tokenizer).word_perplexity)
    assert perplexities == sorted(perplexities, reverse=True)
    assert perplexities[-1] < 0.5 * perplexities[0]


def test_a_line_begins_anew_after_a_turn_mark():
    tokenizer = tiny_tokenizer()
    model = NgramModel.train(corpus(50), tokenizer)
    tokens = tokenizer.encode("THE CAT")
    after_turn = [*tokens, tokenizer.eot_id, tokenizer.sot_id]
    assert torch.equal(model.next_log_probs(after_turn), model.next_log_probs([]))
    assert not torch.equal(model.next_log_probs(tokens), model.next_log_probs([]))
    assert torch.equal(model.next_log_probs([*after_turn, *tokens]), model.next_log_probs(tokens))


def test_only_the_last_tokens_matter():
    tokenizer = tiny_tokenizer()
    model = NgramModel.train(corpus(50), tokenizer, NgramConfig(order=3))
    long, short = tokenizer.encode("A DOG RAN TO THE CAT"), tokenizer.encode("MOON THE CAT")
    assert long[-2:] == short[-2:]
    assert torch.equal(model.next_log_probs(long), model.next_log_probs(short))


@laws
@given(
    lines=st.lists(st.lists(st.integers(4, 11), max_size=5), min_size=1, max_size=8),
    order=st.integers(1, 4),
    max_ngrams=st.integers(0, 400),
)
def test_pairs_have_the_probabilities_of_whole_rows(lines, order, max_ngrams):
    tokenizer = tiny_tokenizer()
    settings = NgramConfig(order=order, max_ngrams=max_ngrams)
    model = NgramModel.train(corpus(60), tokenizer, settings)
    contexts = [np.append(model.begin(), line).astype(np.int64) for line in lines]
    contexts_NK = np.stack([each[len(each) - (order - 1) :] for each in contexts])
    for token in range(len(tokenizer)):
        if not math.isfinite(model.next_log_probs([])[token]):
            continue  # the piece for unknown letters
        found_N = model.log_probs_of(contexts_NK, np.full(len(lines), token))
        rows = [model.next_log_probs(line)[token] for line in lines]
        np.testing.assert_allclose(found_N, np.array(rows), atol=1e-5)


def test_a_saved_model_says_the_same_to_the_last_bit():
    tokenizer = tiny_tokenizer()
    model = NgramModel.train(corpus(100), tokenizer, NgramConfig(order=4, max_ngrams=300))
    content = model.to_bytes()
    again = NgramModel.from_bytes(content)
    assert again.to_bytes() == content
    assert again.num_ngrams == model.num_ngrams == 300
    again.check_fits(tokenizer)
    for text in ["", "THE CAT", "A DOG RAN TO", "MOON"]:
        tokens = tokenizer.encode(text)
        assert torch.equal(again.next_log_probs(tokens), model.next_log_probs(tokens))


def test_scores_add_and_perplexity_of_nothing_is_none():
    tokenizer = tiny_tokenizer()
    model = NgramModel.train(corpus(50), tokenizer)
    first, second = (model.score([text], tokenizer) for text in ("THE CAT", "A DOG RAN"))
    both = model.score(["THE CAT", "A DOG RAN"], tokenizer)
    assert first + second == both
    assert both.words == 5
    assert both.token_perplexity == pytest.approx(math.exp(-both.log_prob / both.tokens))
    assert TextScore().word_perplexity is None
    assert TextScore().token_perplexity is None


def test_what_cannot_be_learned_or_read_is_explained(tmp_path):
    tokenizer = tiny_tokenizer()
    with pytest.raises(TokenizerError, match="got none"):
        NgramModel.train(["", "  "], tokenizer)
    with pytest.raises(TokenizerError, match="no piece for"):
        NgramModel.train(["CAT 5"], tokenizer)
    assert NgramModel.train(["A"], tokenizer, NgramConfig(order=9)).num_ngrams == 1
    with pytest.raises(ConfigError, match="Order 12 is too high"):
        NgramModel.train(["CAT"], tokenizer, NgramConfig(order=12))
    with pytest.raises(CheckpointError, match="no language model at"):
        NgramModel.load(tmp_path / "none.npz")
    content = NgramModel.train(["CAT"], tokenizer).to_bytes()
    for bad in (b"", b"rubbish", content[: len(content) // 2]):
        with pytest.raises(CheckpointError, match="bytes that are none"):
            NgramModel.from_bytes(bad)
    other = Tokenizer.train(["A CAT AND A HAT", "THE HAT OF THE CAT"], 16)
    with pytest.raises(CheckpointError, match="another tokenizer"):
        NgramModel.from_bytes(content).check_fits(other)
