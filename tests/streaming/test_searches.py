# SPDX-License-Identifier: Apache-2.0
"""A recognizer searches as its model recommends, unless told otherwise."""

import dataclasses
from pathlib import Path

import pytest

from evenear.checkpoint import save_model
from evenear.errors import CheckpointError, ConfigError
from evenear.language import NgramModel
from evenear.search import BeamConfig, BeamSearch, GreedySearch, LexiconConfig, LexiconSearch
from evenear.streaming import Final, Recognizer
from evenear.tokenizer import Tokenizer
from laws import random_sound, tiny_bundle, tiny_tokenizer, tiny_word_bundle
from streaming.test_recognizer import BRISK, assert_same, hear


@pytest.fixture
def folder(tmp_path):
    bundle = tiny_bundle()
    save_model(
        tmp_path / "mine",
        model=bundle.model,
        features=bundle.features,
        tokenizer=bundle.tokenizer,
        language_model=bundle.language_model,
        search=BeamConfig(width=3, lm_weight=0.2, insertion_bonus=0.4),
    )
    return tmp_path / "mine"


def test_loading_follows_the_folder_unless_told_otherwise(folder):
    recommended = Recognizer.load(folder)
    assert isinstance(recommended.search, BeamSearch)
    assert recommended.search.config.width == 3
    assert recommended.search.config.lm_weight == 0.2
    assert isinstance(Recognizer.load(folder, beam=1).search, GreedySearch)
    wider = Recognizer.load(folder, beam=6).search.config
    assert (wider.width, wider.lm_weight) == (6, 0.2)
    assert Recognizer.load(folder, lm_weight=0.5).search.config.lm_weight == 0.5
    own = BeamConfig(width=2, internal_lm_weight=0.3)
    assert Recognizer.load(folder, beam=own).search.config == own
    sound = random_sound(2.0, seed=7)
    same = Recognizer(tiny_bundle(), beam=recommended.search.config)
    assert_same(hear(Recognizer.load(folder), sound), hear(same, sound))


def test_a_language_model_of_ones_own_replaces_the_models(folder):
    own = NgramModel.train(["PLEASE WAIT"], tiny_tokenizer())
    assert Recognizer.load(folder, language_model=own).search.language_model is own
    other = NgramModel.train(["A CAT"], Tokenizer.train(["A CAT AND A HAT", "OF THE CAT"], 16))
    with pytest.raises(CheckpointError, match="another tokenizer"):
        Recognizer.load(folder, language_model=other)


def test_settings_that_cannot_be_are_refused(folder):
    with pytest.raises(ConfigError, match="width"):
        Recognizer.load(folder, beam=0)
    with pytest.raises(ConfigError, match="lm_weight"):
        Recognizer.load(folder, lm_weight=-1.0)
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        Recognizer.load(folder, threads=0)
    bundle = tiny_bundle()
    without = type(bundle)(**{**vars(bundle), "language_model": None})
    with pytest.raises(ConfigError, match="needs a language model"):
        Recognizer(without, beam=BeamConfig(lm_weight=0.3))


def saved_words(folder: Path, **changes) -> Path:
    bundle = tiny_word_bundle()
    parts = {"model": bundle.model, "words": bundle.words, **changes}
    save_model(
        folder,
        features=bundle.features,
        tokenizer=bundle.tokenizer,
        search=BeamConfig(width=3),
        word_search=LexiconConfig(width=9),
        **parts,
    )
    return folder


def test_a_model_with_words_searches_for_them_unless_told_otherwise(tmp_path):
    folder = saved_words(tmp_path / "words")
    recommended = Recognizer.load(folder)
    assert isinstance(recommended.search, LexiconSearch)
    assert recommended.search.config == LexiconConfig(width=9)
    assert Recognizer.load(folder, lm_weight=0.2).search.config.lm_weight == 0.2
    own = LexiconConfig(width=5, word_bonus=0.5)
    assert Recognizer.load(folder, beam=own).search.config == own
    assert isinstance(Recognizer.load(folder, beam=1).search, GreedySearch)
    assert Recognizer.load(folder, beam=6).search.config == BeamConfig(width=6)
    tokens = NgramModel.train(["PLEASE WAIT"], tiny_tokenizer())
    assert isinstance(Recognizer.load(folder, language_model=tokens).search, BeamSearch)
    sound = random_sound(3.0, seed=7)
    same = Recognizer(tiny_word_bundle(), beam=LexiconConfig(width=9))
    found = hear(recommended, sound)
    assert_same(found, hear(same, sound))
    said = {word.text for event in found if isinstance(event, Final) for word in event.words}
    assert said
    assert said <= set(tiny_word_bundle().words.words)  # pyright: ignore


def test_a_search_for_words_needs_words(tmp_path):
    with pytest.raises(ConfigError, match="needs a model that has some; tiny has none"):
        Recognizer(tiny_bundle(), beam=LexiconConfig())
    with pytest.raises(CheckpointError, match="Words of 4 phones need a model"):
        saved_words(tmp_path / "words", model=tiny_bundle().model)


def test_words_that_the_tokenizer_cannot_spell_are_never_found():
    bundle = tiny_word_bundle()
    assert bundle.words is not None
    words = tuple("ŻÓŁĆ" if word == "MAT" else word for word in bundle.words.words)
    other = dataclasses.replace(bundle, words=dataclasses.replace(bundle.words, words=words))
    found = hear(Recognizer(other, turns=BRISK), random_sound(6.0, seed=3))
    assert any(isinstance(event, Final) for event in found)
    assert not any("Ż" in event.text for event in found if isinstance(event, Final))
