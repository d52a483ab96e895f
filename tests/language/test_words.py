# SPDX-License-Identifier: Apache-2.0
"""A model of words is a vocabulary, its pronunciations and the n-grams of them.

Dimensions: N pairs, K words of context, V vocabulary.
"""

import io
import itertools

import numpy as np
import pytest

from evenear.errors import CheckpointError, ConfigError, ManifestError
from evenear.language import ArpaModel, NgramConfig, WordModel
from evenear.lexicon import Lexicon
from language.test_arpa import written
from tiny_corpora import write_lines

SAID = ["CAT K AE T", "SAT S AE T", "MAT M AE T", "THE DH AH", "THE(2) DH IY", "HILL HH IH L"]
TEXT = ["THE CAT SAT ON THE MAT", "THE MAT", "THE CAT SAT", "A CAT SAT"]
RARE = {"HILL": 6.0, "HAT": 3.0, "TIM": 1.0, "CAT": 50.0, "UNSAID": 9.0}
MORE = ["HILL HH IH L", "HAT HH AE T", "TIM T IH M", "CAT DH AH", "HUGE HH Y UW JH"]


@pytest.fixture
def lexicon(tmp_path) -> Lexicon:
    return Lexicon.read(write_lines(tmp_path / "words.dict", SAID))


def test_the_commonest_words_that_can_be_said_are_kept(lexicon):
    model = WordModel.train(TEXT, lexicon)
    assert model.words == ("THE", "CAT", "SAT", "MAT")
    assert WordModel.train(TEXT, lexicon, max_words=2).words == ("THE", "CAT")
    assert model.pronunciations == tuple(lexicon.pronunciations[word] for word in model.words)
    assert model.phones == lexicon.phones
    assert model.vocabulary_size == 5
    again = WordModel.train(["MAT SAT HILL"], model.lexicon)
    assert (again.words, again.phones) == (("MAT", "SAT"), lexicon.phones)
    assert again.pronunciations == (lexicon.pronunciations["MAT"], lexicon.pronunciations["SAT"])


def test_every_word_and_the_unknown_one_share_one_probability(lexicon):
    model = WordModel.train(TEXT, lexicon)
    words_N = np.arange(model.vocabulary_size)
    for said in ([], [1], [1, 2], [3, 0], [0, 0]):
        context_K = np.append(model.begin(), said).astype(np.int64)[-2:]
        found_N = model.log_probs_of(np.tile(context_K, (len(words_N), 1)), words_N)
        assert np.exp(found_N).sum() == pytest.approx(1.0, abs=1e-6)
    assert np.exp(model.likelihoods()).sum() == pytest.approx(1.0, abs=1e-6)
    after_the, after_cat = model.log_probs_of(np.array([[-1, 1], [-1, 2]]), np.array([4, 4]))
    assert after_the > after_cat


def test_a_general_model_adds_its_words_and_what_follows_them(lexicon, tmp_path):
    general = ArpaModel.read(write_lines(tmp_path / "lm.arpa", written().splitlines()))
    alone = WordModel.train([], lexicon, general=general, general_weight=1.0)
    assert alone.words == ("THE", "CAT", "SAT")
    both = WordModel.train(["THE HILL"] * 3, lexicon, general=general, general_weight=0.5)
    assert set(both.words) == {"THE", "CAT", "SAT", "HILL"}
    assert both.words[0] == "THE"
    few = NgramConfig(order=3, max_ngrams=4)
    pruned = WordModel.train(["THE HILL"], lexicon, config=few, general=general)
    assert pruned.ngrams.num_ngrams == 4
    text = WordModel.train(["THE HILL"] * 3, lexicon)

    def chance(model: WordModel, word: str) -> float:
        ids = [0, *(model.words.index(each) + 1 for each in ("THE", word))]
        return float(np.exp(model.log_probs_of(np.array([[-1, ids[1]]]), np.array([ids[2]]))[0]))

    assert chance(alone, "CAT") > chance(both, "CAT") > 0.2 * chance(alone, "CAT")
    assert chance(text, "HILL") > chance(both, "HILL") > 0.2 * chance(text, "HILL")


@pytest.fixture
def more(tmp_path) -> Lexicon:
    return Lexicon.read(write_lines(tmp_path / "more.dict", MORE))


def chances(model: WordModel, said: list[int]) -> np.ndarray:
    """How likely every word is after what a line has said, (V,)."""
    context_K = np.append(model.begin(), said).astype(np.int64)[len(said) :]
    words_V = np.arange(model.vocabulary_size)
    return np.exp(model.log_probs_of(np.tile(context_K, (len(words_V), 1)), words_V))


def test_added_words_follow_those_that_are_there_the_commonest_first(lexicon, more):
    old = WordModel.train(TEXT, lexicon)
    model = old.with_words(RARE, more)
    assert model.words == (*old.words, "HILL", "HAT", "TIM")
    assert model.pronunciations[:4] == old.pronunciations  # CAT is said as it was
    said = [[model.phones[phone - 1] for phone in ways[0]] for ways in model.pronunciations[4:]]
    assert said == [["HH", "IH", "L"], ["HH", "AE", "T"], ["T", "IH", "M"]]
    assert model.vocabulary_size == 8
    assert old.with_words(RARE, more, max_words=6).words == (*old.words, "HILL", "HAT")
    assert old.words == ("THE", "CAT", "SAT", "MAT")


@pytest.mark.parametrize("order", [1, 2, 3])
def test_added_words_share_what_the_unknown_word_had_in_every_context(lexicon, more, order):
    old = WordModel.train(TEXT, lexicon, config=NgramConfig(order=order))
    model = old.with_words(RARE, more, share=0.8)
    for said in itertools.chain.from_iterable(
        itertools.product(range(8), repeat=n) for n in (1, 2)
    ):
        found_V, counted = chances(model, list(said)), [0 if word > 4 else word for word in said]
        before_V = chances(old, counted)
        assert found_V.sum() == pytest.approx(1.0, abs=1e-12)
        np.testing.assert_array_equal(found_V[1:5], before_V[1:5])
        np.testing.assert_allclose(found_V[5:] / before_V[0], [0.48, 0.24, 0.08], rtol=1e-6)
        assert found_V[0] == pytest.approx(0.2 * before_V[0], rel=1e-6)
    assert chances(model, []).sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_array_equal(chances(model, [])[1:5], chances(old, [])[1:5])
    assert np.exp(model.likelihoods()).sum() == pytest.approx(1.0, abs=1e-12)


def test_the_start_of_a_line_is_not_the_first_added_word(lexicon, more):
    old = WordModel.train(TEXT, lexicon)
    model = old.with_words(RARE, more)
    assert model.begin().tolist() == [-1, 8]
    assert (chances(model, [])[:5] != chances(model, [5])[:5]).any()
    np.testing.assert_array_equal(chances(model, [5])[1:5], chances(old, [0])[1:5])


def test_words_may_be_added_twice(lexicon, more):
    once = WordModel.train(TEXT, lexicon).with_words({"HILL": 1}, more, share=0.5)
    twice = once.with_words({"HAT": 3, "TIM": 1}, more, share=0.5)
    assert twice.shares == pytest.approx((0.5, 0.1875, 0.0625))
    np.testing.assert_array_equal(chances(twice, [1])[:6][1:], chances(once, [1])[1:])


def test_a_name_needs_no_text_and_is_heard_as_much_as_is_asked(lexicon, more):
    old = WordModel.train(TEXT, lexicon)
    model = old.with_words(dict.fromkeys(["HAT", "TIM"], 1), more, share=1 - 1e-12)
    assert model.shares == pytest.approx((0.5, 0.5))
    assert np.isfinite(model.likelihoods()).all()
    assert np.isfinite(old.with_words({"HAT": 1.0, "TIM": 1e-60}, more).likelihoods()).all()


def test_texts_are_scored_with_added_words(lexicon, more):
    model = WordModel.train(TEXT, lexicon, config=NgramConfig(order=2)).with_words(RARE, more)
    score = model.score(["THE HILL SAT", "ON"])
    begin = model.begin()[0]
    contexts = np.array([[begin], [1], [5], [begin]])
    expected = model.log_probs_of(contexts, np.array([1, 5, 3, 0]))
    assert score.log_prob == pytest.approx(expected.sum(), abs=1e-5)
    assert score.words == 4


def test_a_saved_model_keeps_its_added_words(lexicon, more):
    model = WordModel.train(TEXT, lexicon).with_words(RARE, more)
    again = WordModel.from_bytes(model.to_bytes())
    assert (again.words, again.pronunciations, again.shares) == (
        model.words,
        model.pronunciations,
        model.shares,
    )
    np.testing.assert_array_equal(chances(again, [1, 5]), chances(model, [1, 5]))


def test_more_words_than_two_bytes_count_are_saved(lexicon, tmp_path):
    names = {f"W{number}": 1.0 for number in range(66_000)}
    many = Lexicon(lexicon.phones, dict.fromkeys(names, ((1, 2),)))
    model = WordModel.train(TEXT, lexicon).with_words(names, many)
    again = WordModel.from_bytes(model.to_bytes())
    assert again.words == model.words
    assert again.pronunciations == model.pronunciations


def test_words_that_cannot_be_added_are_explained(lexicon, more):
    old = WordModel.train(TEXT, lexicon)
    for counts in ({}, {"CAT": 1}, {"UNSAID": 2}):
        with pytest.raises(ManifestError, match="needs new ones that the dictionary has"):
            old.with_words(counts, more)
    with pytest.raises(ManifestError, match="room for 0"):
        old.with_words(RARE, more, max_words=4)
    with pytest.raises(ManifestError, match=r"phones that the model knows .*; HUGE has JH UW Y\."):
        old.with_words({"HUGE": 1}, more)
    for count in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ManifestError, match="must be above 0"):
            old.with_words({"HILL": count}, more)
    for share in (0.0, 1.0, -0.5):
        with pytest.raises(ConfigError, match="between 0 and 1"):
            old.with_words(RARE, more, share=share)


def test_texts_are_scored_with_their_unknown_words(lexicon):
    model = WordModel.train(TEXT, lexicon, config=NgramConfig(order=2))
    score = model.score(["THE CAT", "ON"])
    begin, the = model.begin(), np.array([1])
    expected = model.log_probs_of(np.stack([begin, the, begin]), np.array([1, 2, 0]))
    assert score.log_prob == pytest.approx(expected.sum(), abs=1e-5)
    assert score.words == 3


def test_a_saved_model_is_the_same(lexicon):
    model = WordModel.train(TEXT, lexicon)
    again = WordModel.from_bytes(model.to_bytes())
    assert (again.words, again.phones, again.pronunciations) == (
        model.words,
        model.phones,
        model.pronunciations,
    )
    contexts_NK, words_N = np.array([[1, 2], [4, 1]]), np.array([3, 2])
    np.testing.assert_array_equal(
        again.log_probs_of(contexts_NK, words_N), model.log_probs_of(contexts_NK, words_N)
    )


def test_what_cannot_be_learned_or_read_is_explained(lexicon):
    with pytest.raises(ManifestError, match="got 1 lines and a dictionary of 5"):
        WordModel.train(["PLEASE WAIT"], lexicon)
    content = WordModel.train(TEXT, lexicon).to_bytes()
    for damaged in (b"", b"words", content[: len(content) // 2]):
        with pytest.raises(CheckpointError, match="Expected a word model"):
            WordModel.from_bytes(damaged)
    with np.load(io.BytesIO(content)) as arrays:
        parts = dict(arrays)
    other = io.BytesIO()
    np.savez(other, **{**parts, "shares": np.ones(2, np.float32) / 4})
    with pytest.raises(CheckpointError, match="n-grams of others"):
        WordModel.from_bytes(other.getvalue())
