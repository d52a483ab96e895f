# SPDX-License-Identifier: Apache-2.0
import jiwer
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.audit.tables.alignment import count_word_errors
from evenear.errors import TableError
from evenear.metrics.normalizing.named import NORMALIZERS, normalize, normalizer_named
from evenear.metrics.words import word_errors

BY_SPACE = [name for name in NORMALIZERS if normalizer_named(name).is_by_space]

WORDS = st.sampled_from(
    ["a", "b", "c", "B", "it's", "its", "'tis", "well-known", "…", "é", "e\u0301"]
)
TEXTS = st.lists(WORDS, max_size=9).map(" ".join)
ANY_TEXTS = st.text(alphabet="ab'’ -.\t\u00a0é\u0301\u200bßİ", max_size=25)
PAIRS = st.lists(st.tuples(TEXTS | ANY_TEXTS, TEXTS | ANY_TEXTS), min_size=1, max_size=40)


def count(pairs, normalizer="basic"):
    references = pl.Series([said for said, _ in pairs], dtype=pl.String)
    hypotheses = pl.Series([heard for _, heard in pairs], dtype=pl.String)
    return count_word_errors(references, hypotheses, normalizer=normalizer)


@settings(deadline=None, max_examples=150)
@given(PAIRS, st.sampled_from(sorted(NORMALIZERS)))
def test_every_count_is_that_of_word_errors(pairs, normalizer):
    counts = count(pairs, normalizer)
    for row, (said, heard) in enumerate(pairs):
        one = word_errors(normalize(said, normalizer), normalize(heard, normalizer))
        assert counts.words[row] == one.reference_words
        assert counts.insertions[row] == one.insertions
        assert counts.deletions[row] == one.deletions
        assert counts.substitutions[row] == one.substitutions


def test_the_sum_agrees_with_jiwer():
    rng = np.random.default_rng(1)
    said = [" ".join(rng.choice(list("abcdefgh"), 12)) for _ in range(300)]
    heard = [" ".join(rng.choice(list("abcdefgh"), rng.integers(0, 15))) for _ in range(300)]
    counts = count(list(zip(said, heard, strict=True)), "none")
    theirs = jiwer.process_words(said, heard)
    assert counts.errors.sum() == theirs.insertions + theirs.deletions + theirs.substitutions


def test_the_order_of_utterances_does_not_matter():
    rng = np.random.default_rng(2)
    pairs = [
        (" ".join(rng.choice(list("abc"), n)), " ".join(rng.choice(list("abc"), m)))
        for n, m in rng.integers(0, 30, size=(200, 2))
    ]
    order = rng.permutation(len(pairs))
    shuffled = count([pairs[row] for row in order])
    straight = count(pairs)
    for field, other in zip(straight, shuffled, strict=True):
        np.testing.assert_array_equal(field[order], other)


def test_long_texts_are_aligned_like_short_ones():
    rng = np.random.default_rng(3)
    said = rng.choice(list("abcdefghij"), 1500)
    heard = np.delete(said, rng.choice(1500, 100, replace=False))
    one = word_errors(" ".join(said).upper(), " ".join(heard).upper())
    counts = count([(" ".join(said), " ".join(heard)), ("a", "a")])
    assert (counts.errors[0], counts.substitutions[0]) == (one.errors, one.substitutions)
    assert counts.errors[1] == 0


def test_texts_beyond_the_arithmetic_are_refused():
    with pytest.raises(TableError, match="500,000 words, got one of 500,001"):
        count([("a", "b " * 500_001)])


def test_null_counts_as_empty():
    counts = count([(None, "a b"), ("a b", None), (None, None)])
    assert counts.words.tolist() == [0, 2, 0]
    assert counts.insertions.tolist() == [2, 0, 0]
    assert counts.deletions.tolist() == [0, 2, 0]


def test_no_utterances_give_no_counts():
    assert len(count([]).errors) == 0


def test_texts_may_be_one_piece_for_a_normalizer_that_looks_across_spaces(monkeypatch):
    pairs = [("a b c", "a c"), ("", "x"), ("It's", "its")]
    by_space = count(pairs)
    whole = normalizer_named("basic")._replace(is_by_space=False)
    monkeypatch.setattr("evenear.audit.tables.alignment.normalizer_named", lambda _: whole)
    for field, other in zip(by_space, count(pairs), strict=True):
        np.testing.assert_array_equal(field, other)


@pytest.mark.parametrize("normalizer", [*sorted(BY_SPACE), "basic+contractions"])
@settings(deadline=None, max_examples=100)
@given(text=ANY_TEXTS)
def test_normalizers_taken_space_by_space_are_so(normalizer, text):
    pieces = [word for piece in text.split(" ") for word in normalize(piece, normalizer).split()]
    assert pieces == normalize(text, normalizer).split()
