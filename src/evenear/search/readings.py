# SPDX-License-Identifier: Apache-2.0
"""A few readings of the same frames as one tree of tokens: what is alike is computed once.

Legend: R readings, M nodes of the tree.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["ReadingTree"]


class ReadingTree(NamedTuple):
    """Readings as a tree of tokens; node 0 is the empty reading, and parents come first."""

    parents_M: NDArray[np.int64]
    tokens_M: NDArray[np.int64]
    depths_M: NDArray[np.int64]
    owners_M: NDArray[np.int64]
    """A reading that passes through the node."""
    last_R: list[int]
    """The node at which each reading ends."""

    @classmethod
    def of(cls, readings: Sequence[Sequence[int]], *, max_nodes: int) -> "ReadingTree":
        """The tree of the first readings that fit; the very first does.

        Args:
            readings: The tokens of each, best first.
            max_nodes: Nodes of a tree of more than one reading.
        """
        places: dict[tuple[int, int], int] = {}
        columns: list[tuple[int, int, int, int]] = [(0, 0, 0, 0)]
        last_R: list[int] = []
        for reading, tokens in enumerate(readings):
            node, num_before = 0, len(columns)
            for depth, token in enumerate(tokens, start=1):
                place = places.setdefault((node, token), len(columns))
                if place == len(columns):
                    columns.append((node, token, depth, reading))
                node = place
            if last_R and len(columns) > max_nodes:
                del columns[num_before:]
                break
            last_R.append(node)
        parents_M, tokens_M, depths_M, owners_M = np.array(columns, np.int64).T
        return cls(parents_M, tokens_M, depths_M, owners_M, last_R)

    def seen_from(self) -> NDArray[np.bool_]:
        """Which nodes lie on the way to each, itself included: (M, M), rows see columns."""
        many = len(self.parents_M)
        seen_MM = np.eye(many, dtype=bool)
        for node in range(1, many):
            seen_MM[node] |= seen_MM[self.parents_M[node]]
        return seen_MM
