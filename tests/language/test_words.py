# SPDX-License-Identifier: Apache-2.0
"""A model of words is a vocabulary, its pronunciations and the n-grams of them."""

import numpy as np
import pytest

from evenear.errors import CheckpointError, ManifestError
from evenear.language import ArpaModel, NgramConfig, WordModel
from evenear.lexicon import Lexicon
from language.test_arpa import written
from tiny_corpora import write_lines

SAID = ["CAT K AE T", "SAT S AE T", "MAT M AE T", "THE DH AH", "THE(2) DH IY", "HILL HH IH L"]
TEXT = ["THE CAT SAT ON THE MAT", "THE MAT", "THE CAT SAT", "A CAT SAT"]


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
