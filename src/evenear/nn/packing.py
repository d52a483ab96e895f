# SPDX-License-Identifier: Apache-2.0
"""Lattices of a batch in one row of cells, without padding: where each cell lies, and their sums.

An utterance of T frames and U tokens has T * (U + 1) cells. Utterances follow each other; within
one, frame after frame, and within a frame column after column.

Legend: B utterances, T frames, U columns of a lattice (one more than tokens), D width, N cells.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["CellLayout", "Places", "gathered_sums", "packed_sums"]


class Places(NamedTuple):
    """Where some cells lie, as int64 (N,)."""

    utterance_N: Tensor
    frame_N: Tensor
    column_N: Tensor


class CellLayout:
    """The places of all cells, found for as many at a time as are asked for.

    Args:
        num_frames: Frames of each utterance.
        num_columns: Columns of the lattice of each.
        device: Where places are to be computed.
    """

    def __init__(
        self, num_frames: Sequence[int], num_columns: Sequence[int], device: torch.device
    ) -> None:
        sizes = [t * u for t, u in zip(num_frames, num_columns, strict=True)]
        self.num_cells = sum(sizes)
        size_B, columns_B = torch.tensor([sizes, list(num_columns)]).to(device)
        self._end_B, self._columns_B = size_B.cumsum(0), columns_B
        self._start_B = self._end_B - size_B

    def places(self, cells: slice | None = None) -> Places:
        """The places of some cells (a slice without a step), or of all, whatever their number."""
        first, last, _ = (cells or slice(None)).indices(self.num_cells)
        cell_N = torch.arange(first, last, device=self._end_B.device)
        utterance_N = torch.searchsorted(self._end_B, cell_N, right=True)
        within_N = cell_N.sub_(self._start_B[utterance_N])
        columns_N = self._columns_B[utterance_N]
        frame_N = within_N.div(columns_N, rounding_mode="floor")
        return Places(utterance_N, frame_N, within_N.sub_(columns_N.mul_(frame_N)))


def packed_sums(
    left_BTD: Tensor,
    right_BUD: Tensor,
    num_frames: Sequence[int],
    num_columns: Sequence[int],
    *,
    padding: int = 0,
) -> Tensor:
    """`left_BTD[b, t] + right_BUD[b, u]` of every cell, as (N, D), and rows of zeros behind them.

    A processor adds utterance by utterance, with no copy of either side; elsewhere each step costs
    a launch, so all cells are gathered at once. The sums are the same to the bit.

    Args:
        left_BTD: A vector for each frame.
        right_BUD: A vector for each column.
        num_frames: Frames of each utterance.
        num_columns: Columns of the lattice of each.
        padding: How many rows of zeros.
    """
    if left_BTD.device.type == "cpu":
        lengths = zip(left_BTD, right_BUD, num_frames, num_columns, strict=True)
        sums = [(left[:t, None] + right[None, :u]).flatten(0, 1) for left, right, t, u in lengths]
    else:
        sums = [gathered_sums(left_BTD, right_BUD, num_frames, num_columns)]
    return torch.cat([*sums, left_BTD.new_zeros(padding, left_BTD.shape[2])])


def gathered_sums(
    left_BTD: Tensor, right_BUD: Tensor, num_frames: Sequence[int], num_columns: Sequence[int]
) -> Tensor:
    """What `packed_sums` gives, by two gathers, whatever the device."""
    at = CellLayout(num_frames, num_columns, left_BTD.device).places()
    frames_N = at.utterance_N * left_BTD.shape[1] + at.frame_N
    columns_N = at.utterance_N * right_BUD.shape[1] + at.column_N
    return left_BTD.flatten(0, 1)[frames_N] + right_BUD.flatten(0, 1)[columns_N]
