# SPDX-License-Identifier: Apache-2.0
"""ARPA files mean what their definition says, over any vocabulary, and broken ones are refused."""

import math

import numpy as np
import pytest

from evenear.errors import ConfigError, ManifestError
from evenear.language import ArpaModel, NgramModel, mixed
from tiny_corpora import write_lines

LISTED = {
    "<unk>": 0.15,
    "</s>": 0.15,
    "the": 0.35,
    "cat": 0.25,
    "sat": 0.1,
    "<s> the": 0.6,
    "<s> cat": 0.3,
    "the cat": 0.5,
    "the <unk>": 0.2,
    "cat sat": 0.4,
    "cat </s>": 0.2,
    "sat </s>": 0.5,
    "<s> the cat": 0.7,
    "the cat sat": 0.6,
    "the cat </s>": 0.1,
}
Gram = tuple[str, ...]
PROBABILITIES: dict[Gram, float] = {tuple(gram.split()): p for gram, p in LISTED.items()}


def backoff(context: Gram) -> float:
    """What makes all probabilities after a context sum to one."""
    last = [gram[-1] for gram in PROBABILITIES if gram[:-1] == context]
    listed = sum(PROBABILITIES[(*context, word)] for word in last)
    return (1 - listed) / (1 - sum(defined(word, context[1:]) for word in last))


def defined(word: str, context: Gram) -> float:
    """P(word | context) as the format defines it."""
    if (*context, word) in PROBABILITIES:
        return PROBABILITIES[(*context, word)]
    known = context in PROBABILITIES or context == ("<s>",)
    return (backoff(context) if known else 1.0) * defined(word, context[1:])


def written() -> str:
    """The file; the start mark has a back-off weight and no probability."""
    lines = ["\\data\\", *(f"ngram {n}={k}" for n, k in ((1, 6), (2, 7), (3, 3))), ""]
    for n in (1, 2, 3):
        lines.append(f"\\{n}-grams:")
        lines += [f"-99 <s> {math.log10(backoff(('<s>',)))}"] * (n == 1)
        for gram, p in PROBABILITIES.items():
            if len(gram) == n:
                has_more = any(other[:-1] == gram for other in PROBABILITIES)
                rest = f" {math.log10(backoff(gram)):.8f}" if has_more else ""
                lines.append(f"{math.log10(p):.8f} {' '.join(gram)}{rest}")
        lines.append("")
    return "\n".join([*lines, "\\end\\", ""])


class Words:
    """A vocabulary; 0 is any other word."""

    special_ids: frozenset[int] = frozenset()
    model = b"words"

    def __init__(self, *words: str) -> None:
        self.ids = {word: number for number, word in enumerate(words, start=1)}

    def __len__(self) -> int:
        return len(self.ids) + 1

    def encode(self, text: str) -> list[int]:
        return [self.ids.get(word, 0) for word in text.split()]


@pytest.fixture
def path(tmp_path):
    return write_lines(tmp_path / "lm.arpa", written().splitlines())


def after(model: NgramModel, context: list[int]) -> np.ndarray:
    contexts_NK = np.tile(np.array(context), (model.vocabulary_size, 1))
    return np.exp(model.log_probs_of(contexts_NK, np.arange(model.vocabulary_size)))


def test_probabilities_are_those_of_the_definition_without_the_end_of_a_line(path):
    model = NgramModel.from_arpa(ArpaModel.read(path), Words("THE", "CAT", "SAT"))
    names = ["<unk>", "the", "cat", "sat", "<s>"]
    for context in ([-1, 4], [4, 1], [1, 2], [2, 3], [-1, 1], [3, 3], [3, 1], [4, 2]):
        said = tuple(names[k] for k in context if k >= 0)
        left = 1 - defined("</s>", said)
        found = after(model, context)
        assert found.sum() == pytest.approx(1.0, abs=1e-6)
        for k, name in enumerate(names[:4]):
            assert found[k] == pytest.approx(defined(name, said) / left, rel=2e-3), (said, name)


def test_an_ngram_less_likely_than_its_backoff_says_counts_as_just_as_likely(tmp_path):
    rare = written().replace(f"{math.log10(0.3):.8f} <s> cat", "-3 <s> cat")
    path = write_lines(tmp_path / "rare.arpa", rare.splitlines())
    found = after(NgramModel.from_arpa(ArpaModel.read(path), Words("THE", "CAT", "SAT")), [-1, 4])
    assert found.sum() == pytest.approx(1.0, abs=1e-6)
    assert found[2] / found[3] == pytest.approx(0.25 / 0.1, rel=1e-3)


def test_words_outside_the_vocabulary_count_as_the_unknown_one(path):
    arpa = ArpaModel.read(path)
    wide = NgramModel.from_arpa(arpa, Words("THE", "CAT", "SAT"))
    narrow = NgramModel.from_arpa(arpa, Words("THE", "CAT"))
    for context in ([-1, -1], [-1, 1], [1, 2]):
        other = [3 if k == 4 else k for k in context]
        assert after(narrow, other)[0] == pytest.approx(
            after(wide, context)[0] + after(wide, context)[3], rel=1e-3
        )
    more = NgramModel.from_arpa(arpa, Words("THE", "CAT", "SAT", "MAT", "DOG"))
    unknown = after(wide, [-1, -1])[0]
    np.testing.assert_allclose(after(more, [-1, -1])[[0, 4, 5]], [unknown / 2, *[unknown / 4] * 2])


@pytest.mark.parametrize("kept", [1, 2])
def test_orders_without_ngrams_change_nothing(tmp_path, kept):
    lines, n = [], 0
    for line in written().splitlines():
        n = int(line[1]) if line.endswith("-grams:") else n
        if line.startswith("ngram ") and int(line[6]) > kept:
            line = f"ngram {line[6]}=0"
        if n <= kept or not line.startswith("-"):
            lines.append(line)
    arpa = ArpaModel.read(write_lines(tmp_path / "short.arpa", lines))
    model = NgramModel.from_arpa(arpa, Words("THE", "CAT", "SAT"))
    after_both, after_last = after(model, [1, 2]), after(model, [-1, 2] if kept == 2 else [-1, -1])
    assert after_both.sum() == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(after_both, after_last)
    assert mixed([model, model], [0.5, 0.5], 10).num_ngrams == model.num_ngrams


def test_words_are_found_in_any_case_and_marks_are_none(path):
    assert set(ArpaModel.read(path).likely()) == {"THE", "CAT", "SAT"}
    assert ArpaModel.read(path).likely()["CAT"] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("cat sat", "cat dog", "Line 19 .* a 2-gram of words listed above"),
        (" cat sat", "x cat sat", "Line 19 .* a 2-gram of words listed above"),
        (" cat sat", " cat", "Line 19 .* one of 7 2-grams"),
        ("ngram 2=7", "ngram 2=8", r"after 8 2-grams"),
        ("ngram 3=3", "ngram 3=2", "one of 2 3-grams"),
        ("\\end\\\n", "", "end.*after 3 3-grams"),
        ("\\data\\", "hello", "Line 1 .* the head of an ARPA file, got 'hello'"),
        (" cat -", " the -", "preceded by 6 different words, not by 5"),
        ("1-grams", "5-grams", "the head of an ARPA file"),
    ],
)
def test_broken_files_are_refused_by_the_line(tmp_path, old, new, wanted):
    path = tmp_path / "broken.arpa"
    path.write_text(written().replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ManifestError, match=wanted):
        ArpaModel.read(path)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(ManifestError, match="cannot be read"):
        ArpaModel.read(tmp_path / "none.arpa")
    packed = tmp_path / "lm.arpa.gz"
    packed.write_bytes(b"\x1f\x8b\x08\x00\xff\xff")
    with pytest.raises(ManifestError, match="cannot be read"):
        ArpaModel.read(packed)


def test_an_order_too_high_to_number_is_refused(tmp_path):
    words = [f"-3 w{k}" for k in range(600)]
    counts = ["ngram 1=600", *(f"ngram {n}=0" for n in range(2, 8))]
    parts = [f"\\{n}-grams:" for n in range(2, 8)]
    path = write_lines(
        tmp_path / "long.arpa", ["\\data\\", *counts, "\\1-grams:", *words, *parts, "\\end\\"]
    )
    with pytest.raises(ConfigError, match=r"7-grams of 600 words"):
        ArpaModel.read(path)
