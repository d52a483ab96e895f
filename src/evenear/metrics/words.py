# SPDX-License-Identifier: Apache-2.0
"""Word errors of a recognizer: aligned words, counts that add, and named ways to normalize text.

Reference and hypothesis become words by a named normalizer and then by splitting at spaces. The
fewest insertions, deletions and substitutions that turn one into the other are its errors. Counts
add; the rate of many utterances is the sum of their errors over the sum of their reference words.

The number of errors of a pair is unique. Its split into insertions, deletions and substitutions is
not always; kaldialign decides ties, always the same way, and the counts agree with `align_words`.

A score means little without its normalizer, so `normalizer_version` gives the name to print beside
it. "basic" does not turn digits into words or expand abbreviations: do so before if one side does.

Source: R. A. Wagner and M. J. Fischer, "The string-to-string correction problem", 1974; Unicode
Standard Annex 15 (NFKC).
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import kaldialign

from evenear.errors import ConfigError, nearest_names

__all__ = [
    "NORMALIZERS",
    "AlignedPair",
    "WordErrors",
    "align_words",
    "normalize",
    "normalizer_version",
    "word_errors",
]

_NO_WORD = " "
"""Stands for "no word" in kaldialign: no word has a space in it."""
_APOSTROPHES = str.maketrans(dict.fromkeys("‘’‛ʼ′＇`´", "'"))
_EDGE_APOSTROPHE = re.compile(r"(?<![^ '])'|'(?![^ '])")


@dataclass(frozen=True)
class WordErrors:
    """Word errors in any amount of speech. These add; their rates do not."""

    insertions: int = 0
    deletions: int = 0
    substitutions: int = 0
    reference_words: int = 0

    def __add__(self, other: "WordErrors") -> "WordErrors":
        return WordErrors(
            self.insertions + other.insertions,
            self.deletions + other.deletions,
            self.substitutions + other.substitutions,
            self.reference_words + other.reference_words,
        )

    @property
    def errors(self) -> int:
        """Insertions, deletions and substitutions together."""
        return self.insertions + self.deletions + self.substitutions

    @property
    def rate(self) -> float | None:
        """Errors per reference word; None where there are no reference words."""
        return self.errors / self.reference_words if self.reference_words else None


class AlignedPair(NamedTuple):
    """A reference word and what was recognized in its place; None where there is no such word."""

    reference: str | None
    hypothesis: str | None

    @property
    def is_error(self) -> bool:
        """Whether the two differ."""
        return self.reference != self.hypothesis


def word_errors(reference: str, hypothesis: str) -> WordErrors:
    """Count the errors between two texts, split at spaces. Normalize both before.

    Example:
        >>> word_errors("WE CALL IT BEAR", "WE CALLED BEAR")
        WordErrors(insertions=0, deletions=1, substitutions=1, reference_words=4)
    """
    said, heard = reference.split(), hypothesis.split()
    if said == heard:
        return WordErrors(reference_words=len(said))
    counts = kaldialign.edit_distance(said, heard)
    return WordErrors(
        insertions=int(counts["ins"]),
        deletions=int(counts["del"]),
        substitutions=int(counts["sub"]),
        reference_words=len(said),
    )


def align_words(reference: str, hypothesis: str) -> tuple[AlignedPair, ...]:
    """Put each word of two texts beside its counterpart, with the errors that `word_errors` counts.

    Example:
        >>> align_words("IT IS", "IT")
        (AlignedPair(reference='IT', hypothesis='IT'), AlignedPair(reference='IS', hypothesis=None))
    """
    pairs = kaldialign.align(reference.split(), hypothesis.split(), _NO_WORD)
    return tuple(
        AlignedPair(
            None if said == _NO_WORD else said,
            None if heard == _NO_WORD else heard,
        )
        for said, heard in pairs
    )


def normalize(text: str, normalizer: str = "basic") -> str:
    """Bring a text into the form in which words are compared.

    Args:
        text: What was said or recognized.
        normalizer: A name in `NORMALIZERS`.

    Raises:
        ConfigError: There is no normalizer of this name.
    """
    return _normalizer(normalizer)(text)


def normalizer_version(normalizer: str = "basic") -> str:
    """What to print beside a score: the normalizer's name, version and Unicode's version.

    Raises:
        ConfigError: There is no normalizer of this name.
    """
    _normalizer(normalizer)
    return f"{normalizer}-{_VERSIONS[normalizer]} (Unicode {unicodedata.unidata_version})"


def _normalizer(name: str) -> Callable[[str], str]:
    try:
        return NORMALIZERS[name]
    except KeyError:
        raise ConfigError(
            f"There is no normalizer {name!r}.", hint=nearest_names(name, NORMALIZERS)
        ) from None


def _none(text: str) -> str:
    """The text as it is."""
    return text


def _basic(text: str) -> str:
    """Upper case, straight apostrophes inside words, no other punctuation, single spaces."""
    text = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES))
    text = unicodedata.normalize("NFKC", text.upper()).translate(_KEPT)
    return " ".join(_EDGE_APOSTROPHE.sub(" ", text).split())


def _characters(text: str) -> str:
    """Basic without apostrophes, each character a word: for scripts that put no spaces."""
    spaced = "".join(
        char if unicodedata.category(char)[0] == "M" else f" {char}"
        for char in _basic(text).replace("'", "")
    )
    return " ".join(spaced.split())


class _KeptCharacters(dict[int, str]):
    """What `str.translate` makes of each character; looked up in Unicode once, then remembered.

    Letters, marks, numbers and the straight apostrophe stay; invisible format characters (soft
    hyphen, zero-width joiners) vanish; everything else becomes a space.
    """

    def __missing__(self, code: int) -> str:
        category = unicodedata.category(chr(code))
        if category[0] in "LMN" or code == ord("'"):
            kept = chr(code)
        else:
            kept = "" if category == "Cf" else " "
        self[code] = kept
        return kept


_KEPT = _KeptCharacters(_APOSTROPHES)
_VERSIONS = {"basic": 1, "characters": 1, "none": 1}

NORMALIZERS: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {"basic": _basic, "characters": _characters, "none": _none}
)
"""Ways to normalize, by name.

- basic: NFKC, upper case, apostrophes straight and only inside words, other punctuation to spaces.
- characters: basic without apostrophes, then every character (with its marks) a word of its own.
- none: the text as it is.
"""
