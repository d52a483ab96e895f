# SPDX-License-Identifier: Apache-2.0
"""Word errors of many utterances at once.

`evenear.metrics.words.word_errors` scores one pair of texts; an audit scores millions. Here each
distinct piece of text is normalized once and becomes word numbers, and pairs whose references have
the same length go through one edit-distance table together, a row at a time. Pairs that are equal
after normalization never get that far.

The number of errors of a pair is unique; its split into insertions, deletions and substitutions is
not. Ties are broken as kaldialign breaks them, insertion before deletion before substitution at
every cell, so that this module and `word_errors` agree in every count.

Legend: N pairs of one group, R words of their references, H words of the longest hypothesis.

Source: R. A. Wagner and M. J. Fischer, "The string-to-string correction problem", 1974; the
row-wise form follows from d[j] = min over k <= j of (c[k] + j - k), a running minimum.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl

from evenear.errors import TableError
from evenear.metrics.normalizing.named import normalize, normalizer_named

__all__ = ["CELLS_AT_ONCE", "LONGEST", "WordCounts", "count_word_errors"]

CELLS_AT_ONCE = 1 << 16
"""Cells of one row of tables handled together: small enough for the processor's cache."""

LONGEST = 500_000
"""Words of the longest text that can be aligned."""

_FIELD = 20
_ERROR = 1 << (2 * _FIELD)
_PLACE = 1 << _FIELD
_PLACE_MASK = (_PLACE - 1) << _FIELD
_SUBSTITUTION_MASK = _PLACE - 1


class WordCounts(NamedTuple):
    """Counts of many pairs of texts, one entry each, all int64."""

    words: np.ndarray
    insertions: np.ndarray
    deletions: np.ndarray
    substitutions: np.ndarray

    @property
    def errors(self) -> np.ndarray:
        """Insertions, deletions and substitutions together."""
        return self.insertions + self.deletions + self.substitutions


def count_word_errors(
    references: pl.Series, hypotheses: pl.Series, *, normalizer: str = "basic"
) -> WordCounts:
    """Align each reference with its hypothesis and count the errors.

    Args:
        references: What was said, one text each; null counts as empty.
        hypotheses: What was recognized, in the same order.
        normalizer: A name that `evenear.metrics.words.normalize` knows.

    Raises:
        TableError: A text has more words than fit the arithmetic.
    """
    reference, hypothesis = _word_numbers(references, hypotheses, normalizer)
    longest = int(max(reference.lengths.max(initial=0), hypothesis.lengths.max(initial=0)))
    if longest > LONGEST:
        raise TableError(
            f"A text may have at most {LONGEST:,} words, got one of {longest:,}.",
            hint="Cut long recordings into utterances.",
        )
    differ = ~_equal(reference, hypothesis)
    insertions = np.where(differ & (reference.lengths == 0), hypothesis.lengths, 0)
    deletions = np.where(differ & (hypothesis.lengths == 0), reference.lengths, 0)
    substitutions = np.zeros_like(insertions)
    todo = np.flatnonzero(differ & (reference.lengths > 0) & (hypothesis.lengths > 0))
    for rows in _groups(todo, reference.lengths, hypothesis.lengths):
        hypothesis_lengths = hypothesis.lengths[rows]
        errors, replaced = _edit_distances(
            reference.matrix(rows, int(reference.lengths[rows[0]])),
            hypothesis.matrix(rows, int(hypothesis_lengths.max())),
            hypothesis_lengths,
        )
        surplus = hypothesis_lengths - reference.lengths[rows]
        insertions[rows] = (errors - replaced + surplus) // 2
        deletions[rows] = (errors - replaced - surplus) // 2
        substitutions[rows] = replaced
    return WordCounts(reference.lengths, insertions, deletions, substitutions)


class _Words(NamedTuple):
    """Texts as runs of word numbers in one long array."""

    numbers: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    def matrix(self, rows_N: np.ndarray, width: int) -> np.ndarray:
        """The words of some texts, one column each; beyond a text's end stands anything."""
        places = self.starts[rows_N] + np.arange(width)[:, None]
        return self.numbers[np.minimum(places, len(self.numbers) - 1)]


def _word_numbers(
    references: pl.Series, hypotheses: pl.Series, normalizer: str
) -> tuple[_Words, _Words]:
    """Normalize both sides and number their words alike."""
    texts = pl.concat([references.cast(pl.String), hypotheses.cast(pl.String)]).fill_null("")
    if normalizer_named(normalizer).is_by_space:
        split = texts.str.split(" ")
        pieces_per_text = split.list.len().to_numpy().astype(np.int64)
        pieces = split.explode()
    else:
        pieces_per_text = np.ones(len(texts), dtype=np.int64)
        pieces = texts
    distinct = pieces.unique()
    order = pl.int_range(len(distinct), eager=True)
    piece = (
        pieces.replace_strict(distinct, order, return_dtype=pl.Int64).to_numpy().astype(np.int64)
    )
    numbers, starts, lengths = _vocabulary(distinct, normalizer)
    lengths_of_pieces = lengths[piece]
    ends = np.cumsum(lengths_of_pieces)
    within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(
        ends - lengths_of_pieces, lengths_of_pieces
    )
    words = numbers[np.repeat(starts[piece], lengths_of_pieces) + within]
    bounds = np.concatenate([[0], ends])[np.concatenate([[0], np.cumsum(pieces_per_text)])]
    half = len(references)
    text_starts, text_lengths = bounds[:-1], np.diff(bounds)
    return (
        _Words(words, text_starts[:half], text_lengths[:half]),
        _Words(words, text_starts[half:], text_lengths[half:]),
    )


def _vocabulary(pieces: pl.Series, normalizer: str) -> _Words:
    known: dict[str, int] = {}
    numbers: list[int] = []
    lengths = np.zeros(len(pieces), dtype=np.int64)
    for row, piece in enumerate(pieces):
        words = normalize(piece, normalizer).split()
        lengths[row] = len(words)
        numbers.extend(known.setdefault(word, len(known)) for word in words)
    return _Words(np.array(numbers, dtype=np.int64), np.cumsum(lengths) - lengths, lengths)


def _equal(reference: _Words, hypothesis: _Words) -> np.ndarray:
    """Which pairs have the same words."""
    equal = reference.lengths == hypothesis.lengths
    rows = np.flatnonzero(equal & (reference.lengths > 0))
    if len(rows) == 0:
        return equal
    lengths = reference.lengths[rows]
    ends = np.cumsum(lengths)
    within = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
    said = reference.numbers[np.repeat(reference.starts[rows], lengths) + within]
    heard = hypothesis.numbers[np.repeat(hypothesis.starts[rows], lengths) + within]
    equal[rows] = ~np.logical_or.reduceat(said != heard, ends - lengths)
    return equal


def _groups(
    rows: np.ndarray, reference_lengths: np.ndarray, hypothesis_lengths: np.ndarray
) -> Iterator[np.ndarray]:
    """Rows whose references are equally long and whose hypotheses nearly are, in small lots."""
    order = np.lexsort((hypothesis_lengths[rows], reference_lengths[rows]))
    rows = rows[order]
    edges = np.flatnonzero(np.diff(reference_lengths[rows])) + 1
    for group in np.split(rows, edges):
        start = 0
        while start < len(group):
            width = int(hypothesis_lengths[group[start]]) + 1
            lot = max(1, CELLS_AT_ONCE // width)
            yield group[start : start + lot]
            start += lot


def _edit_distances(
    reference_RN: np.ndarray, hypothesis_HN: np.ndarray, lengths_N: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Errors and, of these, substitutions.

    A cell is one integer: errors, then a place that decides ties, then substitutions. The earliest
    column wins a tie (its path goes on with insertions); in one column a deletion beats a
    substitution.
    """
    num_columns, num_pairs = len(hypothesis_HN) + 1, hypothesis_HN.shape[1]
    columns = np.arange(num_columns, dtype=np.int64)[:, None]
    slant = columns * _ERROR
    deletion_step = _ERROR + 2 * columns * _PLACE - slant
    match_step = (2 * columns[1:] + 1) * _PLACE - slant[1:]
    row = np.repeat(slant, num_pairs, axis=1)
    for words_N in reference_RN:
        cell = row + deletion_step
        diagonal = np.where(hypothesis_HN == words_N, 0, _ERROR + 1)
        diagonal += row[:-1]
        diagonal += match_step
        np.minimum(cell[1:], diagonal, out=cell[1:])
        np.minimum.accumulate(cell, axis=0, out=row)
        row &= ~_PLACE_MASK
        row += slant
    last = row[lengths_N, np.arange(num_pairs)]
    return last >> (2 * _FIELD), last & _SUBSTITUTION_MASK
