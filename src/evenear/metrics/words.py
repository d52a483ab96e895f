# SPDX-License-Identifier: Apache-2.0
"""Word errors of a recognizer: aligned words, counts that add, and named ways to normalize text.

Reference and hypothesis become words by a named normalizer and then by splitting at spaces. The
fewest insertions, deletions and substitutions that turn one into the other are its errors. Counts
add; the rate of many utterances is the sum of their errors over the sum of their reference words.

The number of errors of a pair is unique. Its split into insertions, deletions and substitutions is
not always; kaldialign decides ties, always the same way, and the counts agree with `align_words`.

A score means little without its normalizer, so `normalizer_version` gives the name to print beside
it. What normalizers there are says `evenear.metrics.normalizing.named`.

Source: R. A. Wagner and M. J. Fischer, "The string-to-string correction problem", 1974.
"""

from dataclasses import dataclass
from typing import NamedTuple

import kaldialign

from evenear.metrics.normalizing.named import NORMALIZERS, normalize, normalizer_version

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
