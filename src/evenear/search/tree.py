# SPDX-License-Identifier: Apache-2.0
"""All words of a dictionary in one tree of phones, for a search.

Legend: M nodes of the tree, C children of all nodes or of one depth, W words of all nodes, V
vocabulary, N phones of all words.

Source: Ney et al. 1992, "Improvements in beam search for 10000-word continuous speech recognition".
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["ROOT", "PronunciationTree"]

ROOT = 0
"""The node of no phone."""

_Ints = NDArray[np.int64]
_Floats = NDArray[np.float64]


class PronunciationTree:
    """Words by their phones. Node 0 is the root: no phone said.

    Children come after their parents, and those of a node, as its words, in the order in which they
    were given.

    Args:
        pronunciations: Words and how they are said, as phone ids from 1; a word may come again.
        likelihoods_V: Natural log of how likely each word id is anywhere.
    """

    def __init__(
        self, pronunciations: Iterable[tuple[int, Sequence[int]]], likelihoods_V: _Floats
    ) -> None:
        ways = list(pronunciations)
        words_W = _row(word for word, _ in ways)
        lengths_W = _row(len(phones) for _, phones in ways)
        phones_N = _row(phone for _, phones in ways for phone in phones)
        begins_W = np.cumsum(lengths_W) - lengths_W
        base = int(phones_N.max(initial=0)) + 1
        nodes_W = np.full_like(words_W, ROOT)
        parents, phones, num_nodes = [_row([ROOT])], [_row([0])], 1
        for depth in range(int(lengths_W.max(initial=0))):
            longer = np.flatnonzero(lengths_W > depth)
            keys_N = nodes_W[longer] * base + phones_N[begins_W[longer] + depth]
            new_C, first_C, which_N = np.unique(keys_N, return_index=True, return_inverse=True)
            order_C = np.lexsort((first_C, new_C // base))
            numbers_C = np.empty_like(order_C)
            numbers_C[order_C] = np.arange(num_nodes, num_nodes + len(new_C))
            nodes_W[longer] = numbers_C[which_N]
            parents.append(new_C[order_C] // base)
            phones.append(new_C[order_C] % base)
            num_nodes += len(new_C)
        self.child_starts_M = _starts(np.concatenate(parents)[1:], num_nodes)
        self.child_nodes_C = np.arange(1, num_nodes)
        self.child_phones_C = np.concatenate(phones)[1:]
        self.word_starts_M = _starts(nodes_W, num_nodes)
        self.words_W = words_W[np.argsort(nodes_W, kind="stable")]
        best_M = np.full(num_nodes, -np.inf)
        np.maximum.at(best_M, nodes_W, likelihoods_V[words_W])
        end = num_nodes
        for parents_C in reversed(parents[1:]):  # from the longest to the shortest
            np.maximum.at(best_M, parents_C, best_M[end - len(parents_C) : end])
            end -= len(parents_C)
        best_M[ROOT] = 0.0
        self.lookahead_M = best_M
        """Natural log of how likely the likeliest word below a node is; 0 at the root."""

    def __len__(self) -> int:
        return len(self.lookahead_M)


def _row(numbers: Iterable[int]) -> _Ints:
    return np.fromiter(numbers, np.int64)


def _starts(owners: _Ints, num_nodes: int) -> _Ints:
    """Where what belongs to each node begins, once it is sorted by node; one more than nodes."""
    return np.cumsum(np.bincount(owners + 1, minlength=num_nodes + 1))
