# SPDX-License-Identifier: Apache-2.0
"""Text becomes tokens and comes back, and special ids have one home."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.errors import TokenizerError
from evenear.tokenizer import SPECIAL_PIECES, Tokenizer
from laws import tiny_tokenizer

WORDS = st.lists(st.text("ACEHNOST'", min_size=1, max_size=6), max_size=6)


@settings(deadline=None, max_examples=50, derandomize=True)
@given(WORDS)
def test_text_comes_back(words):
    tokenizer = tiny_tokenizer()
    text = " ".join(words)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(deadline=None, max_examples=50, derandomize=True)
@given(WORDS)
def test_word_spans_cover_the_text_in_order(words):
    tokenizer = tiny_tokenizer()
    tokens = tokenizer.encode(" ".join(words))
    spans = tokenizer.word_spans(tokens)
    assert [word for word, _, _ in spans] == words
    for (_, first, end), word in zip(spans, words, strict=True):
        assert tokenizer.decode(tokens[first:end]) == word
        assert tokenizer.starts_word(tokens[first])
        assert not any(tokenizer.starts_word(t) for t in tokens[first + 1 : end])


def test_special_ids_are_distinct_and_belong_to_no_word():
    tokenizer = tiny_tokenizer()
    ids = [tokenizer.blank_id, tokenizer.sot_id, tokenizer.eot_id]
    assert [tokenizer.piece(i) for i in ids] == list(SPECIAL_PIECES)
    assert tokenizer.special_ids == set(ids)
    assert not any(tokenizer.starts_word(i) for i in ids)
    cat, dog = tokenizer.encode("CAT"), tokenizer.encode("DOG")
    mixed = [tokenizer.sot_id, *cat, tokenizer.eot_id, *dog, tokenizer.blank_id]
    assert tokenizer.decode(mixed) == "CAT DOG"
    assert [word for word, _, _ in tokenizer.word_spans(mixed)] == ["CAT", "DOG"]


def test_text_never_encodes_to_a_special_id():
    tokenizer = tiny_tokenizer()
    assert not set(tokenizer.encode("THE CAT SAT")) & tokenizer.special_ids


def test_pieces_in_the_middle_of_a_word_join_it_even_at_the_start():
    tokenizer = tiny_tokenizer()
    tail = tokenizer.encode("CAT")[1:]
    spans = tokenizer.word_spans(tail)
    assert len(spans) == 1
    assert spans[0][1:] == (0, len(tail))


def test_a_saved_model_encodes_the_same(tmp_path):
    path = tmp_path / "tokenizer.model"
    path.write_bytes(tiny_tokenizer().model)
    again = Tokenizer.load(path)
    assert len(again) == len(tiny_tokenizer()) == 40
    assert again.encode("THE MOON") == tiny_tokenizer().encode("THE MOON")


def test_training_twice_gives_the_same_model():
    lines = ["A CAT AND A HAT", "THE HAT OF THE CAT"]
    assert Tokenizer.train(lines, 16).model == Tokenizer.train(lines, 16).model


def test_a_character_without_a_piece_is_named():
    with pytest.raises(TokenizerError, match="no piece for '7'"):
        tiny_tokenizer().encode("CAT 7")


def test_bytes_that_are_no_model_are_refused():
    with pytest.raises(TokenizerError, match="got 7 bytes that are none"):
        Tokenizer(b"rubbish")


def test_a_model_without_our_special_pieces_is_refused():
    import io

    import sentencepiece

    writer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["A CAT AND A HAT"] * 5),
        model_writer=writer,
        vocab_size=12,
        minloglevel=2,
    )
    with pytest.raises(TokenizerError, match=r"lacks <blank>, <sot>, <eot>"):
        Tokenizer(writer.getvalue())


def test_a_vocabulary_is_no_larger_than_its_texts():
    lines = ["A CAT AND A HAT", "THE HAT OF THE CAT"]
    fitted = Tokenizer.train(lines, 500)
    assert 13 <= len(fitted) < 60
    assert [fitted.decode(fitted.encode(line)) for line in lines] == lines
    assert Tokenizer.train(lines, 500).model == fitted.model


def test_a_vocabulary_smaller_than_the_letters_is_refused_with_the_size_that_will_do():
    lines = ["THE QUICK BROWN FOX"]
    with pytest.raises(TokenizerError, match="at least 20 pieces") as caught:
        Tokenizer.train(lines, 19)
    assert "data.vocabulary_size=20" in caught.value.hint
    assert len(Tokenizer.train(lines, 20)) == 20


def test_a_missing_file_and_no_text_are_explained(tmp_path):
    with pytest.raises(TokenizerError, match="no tokenizer at"):
        Tokenizer.load(tmp_path / "none.model")
    with pytest.raises(TokenizerError, match="no text"):
        Tokenizer.train([], 500)
