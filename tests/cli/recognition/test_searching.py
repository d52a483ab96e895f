# SPDX-License-Identifier: Apache-2.0
"""One word names the search, and a worse one than recommended is not taken silently."""

import pytest

from evenear.checkpoint import shipped_models
from evenear.cli.recognition.searching import load_recognizer
from evenear.errors import ConfigError, ManifestError
from evenear.search import BeamSearch, GreedySearch, LexiconSearch


def test_each_word_gives_its_search(model):
    assert isinstance(load_recognizer(str(model), search="greedy").search, GreedySearch)
    beam = load_recognizer(str(model), search="beam", beam=5).search
    assert isinstance(beam, BeamSearch)
    assert beam.config.width == 5
    with pytest.raises(ConfigError, match="needs a model that has some"):
        load_recognizer(str(model), search="words")


def test_words_that_name_no_search_are_refused(model):
    with pytest.raises(ConfigError, match="no search 'greedi'"):
        load_recognizer(str(model), search="greedi")
    with pytest.raises(ConfigError, match="keeps one reading"):
        load_recognizer(str(model), search="greedy", beam=4)


@pytest.mark.skipif(not shipped_models(), reason="this checkout ships no model")
def test_a_width_that_leaves_the_recommended_search_is_told(capsys):
    name = shipped_models()[0]
    assert isinstance(load_recognizer(name, beam=4).search, BeamSearch)
    assert "--search words" in capsys.readouterr().err
    words = load_recognizer(name, search="words", beam=32).search
    assert isinstance(words, LexiconSearch)
    assert words.config.width == 32
    assert capsys.readouterr().err == ""


def names_file(folder, text="ZADIE  Z EY D IY\nOKONKWO  OW K AO N K W OW\n"):
    path = folder / "names.dict"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.skipif(not shipped_models(), reason="this checkout ships no model")
@pytest.mark.parametrize("search", [None, "words"])
def test_names_are_words_that_can_be_found(tmp_path, search):
    name = shipped_models()[0]
    plain = load_recognizer(name, search=search)
    more = load_recognizer(name, search=search, names=names_file(tmp_path))
    assert isinstance(more.search, LexiconSearch)
    assert more.bundle.words.words == (*plain.bundle.words.words, "OKONKWO", "ZADIE")
    assert (more.search.rescoring is None) == (plain.search.rescoring is None)
    with pytest.raises(ManifestError, match="needs new ones"):
        load_recognizer(name, names=names_file(tmp_path, "THE  DH AH\n"))


def test_names_need_a_model_that_searches_for_words(model, tmp_path):
    with pytest.raises(ConfigError, match="for models that search for words"):
        load_recognizer(str(model), names=names_file(tmp_path))


@pytest.mark.parametrize("asked", [{"search": "greedy"}, {"search": "beam"}, {"beam": 4}])
def test_names_are_not_for_a_search_that_spells(model, tmp_path, asked):
    with pytest.raises(ConfigError, match="found by a search for words"):
        load_recognizer(str(model), names=names_file(tmp_path), **asked)


def test_names_are_of_one_talker(evenear, tmp_path):
    (tmp_path / "talk.wav").write_bytes(b"")
    given = ("--names", names_file(tmp_path), "--two-talkers")
    done = evenear("transcribe", tmp_path / "talk.wav", *given)
    assert done.code == 2
    assert "More words are for one talker" in done.err
