# SPDX-License-Identifier: Apache-2.0
"""How likely an attention decoder finds each of a few readings of the same frames.

Readings that begin alike share what is alike: the decoder reads one tree of pieces, in which each
piece sees those on its own way from the root. The work is bounded by the tree's nodes and by the
frames, which a search bounds.

Legend: R readings, M nodes of the tree, P pieces before all readings, T encoder frames, F width of
a frame, D width, V pieces in the vocabulary, S pieces that may be attended to.

Source: rescoring by attention as in Zhang et al. 2020 (U2), arXiv:2012.05481.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evenear.models.rescorer import Rescorer
from evenear.search.readings import ReadingTree

__all__ = ["MAX_NODES", "Rescoring"]

MAX_NODES = 160
"""Pieces that the decoder reads at once, beyond those before all readings."""


@dataclass(frozen=True)
class Rescoring:
    """A decoder and how it writes words."""

    model: Rescorer
    """In evaluation mode."""
    spellings: Sequence[Sequence[int]]
    """The pieces of each word id of a search; id 0 is no word."""

    def pieces(self, words: Sequence[int]) -> tuple[int, ...]:
        """Words as pieces."""
        return tuple(piece for word in words for piece in self.spellings[word])

    @torch.inference_mode()
    def log_probs(
        self,
        frames_TF: Tensor,
        readings: Sequence[Sequence[int]],
        said: Sequence[int] = (),
        *,
        is_over: bool = True,
        max_nodes: int = MAX_NODES,
    ) -> list[float]:
        """Natural log of the probability of each reading, given the frames and what was said.

        Args:
            frames_TF: Encoder frames, projected for the joiner; one at least. They hold what was
                said, too.
            readings: The words of each reading, best first.
            said: Words before all readings.
            is_over: Nothing follows the readings; else they may go on.
            max_nodes: Pieces that are read at once.

        Returns:
            One for each of the first readings; less than there are where all are too many, or too
            long.
        """
        config = self.model.config
        before_P = [*config.start, *self.pieces(said)]
        most = config.max_pieces - len(before_P)
        spelled = [self.pieces(words) for words in readings]
        fitting = next((k for k, one in enumerate(spelled) if len(one) >= most), len(spelled))
        if not fitting:
            return []
        tree = ReadingTree.of(spelled[:fitting], max_nodes=max_nodes)
        # The root of the tree is the last piece before the readings.
        root, num_nodes = len(before_P) - 1, len(tree.tokens_M)
        pieces_M = torch.tensor([*before_P, *tree.tokens_M[1:].tolist()])
        depths_M = torch.tensor([*range(root), *(root + tree.depths_M).tolist()])
        seen_MM = torch.zeros(root + num_nodes, root + num_nodes, dtype=torch.bool)
        seen_MM[:, :root] = torch.ones(root + num_nodes, root, dtype=torch.bool).tril()
        seen_MM[root:, root:] = torch.from_numpy(tree.seen_from())
        hidden_MD = self._read(pieces_M, depths_M, seen_MM, frames_TF)[root:]
        log_probs_MV = self.model.scores(hidden_MD).float().log_softmax(dim=1)
        parents_M, tokens_M = torch.from_numpy(tree.parents_M), torch.from_numpy(tree.tokens_M)
        own_M = log_probs_MV[parents_M, tokens_M].double().numpy()
        own_M[0] = 0.0
        sums_M = np.empty_like(own_M)
        for node, parent in enumerate(tree.parents_M.tolist()):
            sums_M[node] = own_M[node] + (sums_M[parent] if node else 0.0)
        ends = np.array(tree.last_R)
        if is_over:
            sums_M = sums_M + log_probs_MV[:, config.end_id].double().numpy()
        return sums_M[ends].tolist()

    def _read(
        self, pieces_M: Tensor, depths_M: Tensor, seen_MM: Tensor, frames_TF: Tensor
    ) -> Tensor:
        """What the decoder knows after each piece, (M, D)."""
        heard_11T = torch.ones(1, 1, len(frames_TF), dtype=torch.bool)
        memory = self.model.remember(frames_TF[None])
        return self.model.read(pieces_M[None], depths_M, seen_MM[None], memory, heard_11T)[0]
