# SPDX-License-Identifier: Apache-2.0
"""Lattices of a batch in one row of cells, without padding: where each cell lies, and their sums.

An utterance of T frames and U tokens has T * (U + 1) cells. Utterances follow each other; within
one, frame after frame, and within a frame column after column. What is the same for all cells of a
frame is computed once for each frame, and then spread.

Legend: B utterances, T frames, U columns of a lattice (one more than tokens), D width, R frames of
all utterances in a row, N cells.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["CellLayout", "gathered_sums", "packed_sums"]


class CellLayout:
    """Where the cells of a batch lie, found for all utterances at once.

    Args:
        num_frames: Frames of each utterance.
        num_columns: Columns of the lattice of each.
        device: Where places are to be computed.
    """

    def __init__(
        self, num_frames: Sequence[int], num_columns: Sequence[int], device: torch.device
    ) -> None:
        frames_B, columns_B = np.asarray(num_frames), np.asarray(num_columns)
        utterance_R = np.repeat(np.arange(len(frames_B)), frames_B)
        before_B = frames_B.cumsum() - frames_B
        count_R = columns_B[utterance_R]
        self.num_cells = int(count_R.sum())
        frame_R = np.arange(len(utterance_R)) - before_B[utterance_R]
        rows = np.stack([utterance_R, frame_R, count_R, count_R.cumsum() - count_R])
        self.utterance_R, self.frame_R, self._count_R, self._start_R = torch.from_numpy(rows).to(
            device
        )

    def places(self, begin_R: Tensor) -> Tensor:
        """Place of each cell (N,), where frame r has its first at `begin_R[r]`; of its type."""
        offset_R = begin_R - self._start_R.to(begin_R.dtype)
        cells_N = torch.arange(self.num_cells, dtype=begin_R.dtype, device=begin_R.device)
        return self.spread(offset_R).add_(cells_N)

    def spread(self, values_R: Tensor) -> Tensor:
        """What each frame has, for each of its cells: (N,)."""
        return torch.repeat_interleave(values_R, self._count_R, output_size=self.num_cells)


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
    layout = CellLayout(num_frames, num_columns, left_BTD.device)
    frames_R = layout.utterance_R * left_BTD.shape[1] + layout.frame_R
    columns_R = layout.utterance_R * right_BUD.shape[1]
    left_ND = left_BTD.flatten(0, 1)[layout.spread(frames_R)]
    return left_ND + right_BUD.flatten(0, 1)[layout.places(columns_R)]
