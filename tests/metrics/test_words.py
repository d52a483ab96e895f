# SPDX-License-Identifier: Apache-2.0
"""Word errors against jiwer and a table of edits written out; normalizers by their laws."""

import subprocess
import sys
import unicodedata

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.errors import ConfigError
from evenear.metrics.words import (
    NORMALIZERS,
    WordErrors,
    align_words,
    normalize,
    normalizer_version,
    word_errors,
)

texts = st.lists(st.sampled_from(["A", "B", "C", "DON'T"]), max_size=8).map(" ".join)


def fewest_errors(reference: list[str], hypothesis: list[str]) -> int:
    """The edit distance, cell by cell."""
    row = list(range(len(hypothesis) + 1))
    for i, said in enumerate(reference, start=1):
        above, row = row, [i]
        for j, heard in enumerate(hypothesis, start=1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (said != heard)))
    return row[-1]


@given(texts, texts)
@settings(deadline=None, max_examples=300)
def test_number_of_errors_is_the_edit_distance(reference, hypothesis):
    counts = word_errors(reference, hypothesis)
    assert counts.errors == fewest_errors(reference.split(), hypothesis.split())
    assert min(counts.insertions, counts.deletions, counts.substitutions) >= 0
    surplus = len(hypothesis.split()) - len(reference.split())
    assert counts.insertions - counts.deletions == surplus


@given(texts.filter(bool), texts)
@settings(deadline=None, max_examples=200)
def test_rate_agrees_with_jiwer(reference, hypothesis):
    assert word_errors(reference, hypothesis).rate == pytest.approx(
        jiwer.wer(reference, hypothesis), abs=1e-12
    )


@given(texts, texts)
@settings(deadline=None, max_examples=200)
def test_alignment_holds_both_texts_and_the_same_errors(reference, hypothesis):
    pairs = align_words(reference, hypothesis)
    counts = word_errors(reference, hypothesis)
    assert [p.reference for p in pairs if p.reference is not None] == reference.split()
    assert [p.hypothesis for p in pairs if p.hypothesis is not None] == hypothesis.split()
    assert sum(p.reference is None for p in pairs) == counts.insertions
    assert sum(p.hypothesis is None for p in pairs) == counts.deletions
    assert sum(p.is_error for p in pairs) == counts.errors


def test_each_kind_of_error_is_counted_as_itself():
    assert word_errors("A B C", "A X B C") == WordErrors(1, 0, 0, 3)
    assert word_errors("A B C", "A C") == WordErrors(0, 1, 0, 3)
    assert word_errors("A B C", "A X C") == WordErrors(0, 0, 1, 3)
    assert word_errors("A B C", "") == WordErrors(0, 3, 0, 3)
    assert word_errors("", "A B") == WordErrors(2, 0, 0, 0)


@given(st.lists(st.tuples(texts, texts), max_size=5))
@settings(deadline=None, max_examples=100)
def test_sum_of_counts_is_the_pooled_count(pairs):
    total = sum((word_errors(r, h) for r, h in pairs), WordErrors())
    assert total.errors == sum(word_errors(r, h).errors for r, h in pairs)
    assert total.reference_words == sum(len(r.split()) for r, _ in pairs)


def test_rate_of_nothing_is_none():
    assert WordErrors().rate is None
    assert word_errors("", "A").rate is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We call it 'bear'.", "WE CALL IT BEAR"),
        ("don’t  stop", "DON'T STOP"),
        ("rock 'n' roll, the dogs' tails", "ROCK N ROLL THE DOGS TAILS"),
        ("O''Brien", "O BRIEN"),
        ("well-known\tword\n", "WELL KNOWN WORD"),
        ("ﬁne ｆｕｌｌ", "FINE FULL"),
        ("cafe\u0301 straße", "CAFÉ STRASSE"),
        ("co\u00adoperate", "COOPERATE"),
        ("snake_case $5", "SNAKE CASE 5"),
        ("नमस्ते, दुनिया।", "नमस्ते दुनिया"),
        ("  ", ""),
    ],
)
def test_basic_keeps_words_and_nothing_else(text, expected):
    assert normalize(text) == unicodedata.normalize("NFKC", expected)


def test_characters_makes_each_character_a_word_with_its_marks():
    assert normalize("你好，世界", "characters") == "你 好 世 界"
    assert normalize("नि", "characters") == "नि"
    assert normalize("don't", "characters") == "D O N T"


def test_none_changes_nothing():
    assert normalize(" As it – is ", "none") == " As it – is "


# Whisper's twelve steps, as published, do not have this law: fillers go before marks do, so "àh"
# becomes "ah", which a second pass takes for a filler.
@pytest.mark.parametrize("name", sorted(set(NORMALIZERS) - {"whisper"}))
@given(text=st.text(max_size=40))
@settings(deadline=None, max_examples=300)
def test_normalizing_twice_changes_nothing_more(name, text):
    once = normalize(text, name)
    assert normalize(once, name) == once


def test_no_character_of_the_basic_plane_needs_a_second_pass():
    for code in range(0x10000):
        once = normalize(f"a{chr(code)}b")
        assert normalize(once) == once, hex(code)


@given(st.text(max_size=40))
@settings(deadline=None, max_examples=300)
def test_basic_leaves_single_spaces_and_inner_apostrophes(text):
    for word in normalize(text).split(" "):
        assert word.strip("'") == word
        assert all(c == "'" or unicodedata.category(c)[0] in "LMN" for c in word)


def test_unknown_normalizer_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match="'basic'"):
        normalize("A", "basik")
    with pytest.raises(ConfigError, match="'basic'"):
        normalizer_version("basik")


def test_version_names_the_normalizer():
    assert {normalizer_version(n).split("-")[0] for n in NORMALIZERS} == set(NORMALIZERS)


def test_importing_loads_neither_torch_nor_lhotse():
    code = (
        "import sys, evenear.metrics.words, evenear.metrics.intervals;"
        "assert not {'torch', 'lhotse', 'soundfile'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
