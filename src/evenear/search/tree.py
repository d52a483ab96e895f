# SPDX-License-Identifier: Apache-2.0
"""All words of a dictionary in one tree of phones, for a search.

Legend: M nodes of the tree, C children of all nodes, W words of all nodes, V vocabulary.

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

    Args:
        pronunciations: Words and how they are said, as phone ids from 1; a word may come again.
        likelihoods_V: Natural log of how likely each word id is anywhere.
    """

    def __init__(
        self, pronunciations: Iterable[tuple[int, Sequence[int]]], likelihoods_V: _Floats
    ) -> None:
        children: list[dict[int, int]] = [{}]
        words: list[list[int]] = [[]]
        for word, phones in pronunciations:
            node = ROOT
            for phone in phones:
                if phone not in children[node]:
                    children[node][phone] = len(children)
                    children.append({})
                    words.append([])
                node = children[node][phone]
            words[node].append(word)
        self.child_starts_M = np.cumsum([0, *map(len, children)])
        self.child_nodes_C = _row(node for each in children for node in each.values())
        self.child_phones_C = _row(phone for each in children for phone in each)
        self.word_starts_M = np.cumsum([0, *map(len, words)])
        self.words_W = _row(word for each in words for word in each)
        best_M = np.full(len(children), -np.inf)
        for node in reversed(range(len(children))):  # children come after their parents
            below = [best_M[child] for child in children[node].values()]
            own = [likelihoods_V[word] for word in words[node]]
            best_M[node] = max([*below, *own], default=-np.inf)
        best_M[ROOT] = 0.0
        self.lookahead_M = best_M
        """Natural log of how likely the likeliest word below a node is; 0 at the root."""

    def __len__(self) -> int:
        return len(self.lookahead_M)


def _row(numbers: Iterable[int]) -> _Ints:
    return np.fromiter(numbers, np.int64)
