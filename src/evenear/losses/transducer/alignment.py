# SPDX-License-Identifier: Apache-2.0
"""The most probable way to spread a sentence over the frames: at which frame is each token out?

The loss sums over all paths through the lattice; here the best one is kept instead of the sum
(Viterbi). Within a frame, the best way to have u tokens out is to have entered the frame with some
v <= u of them and to emit the rest there:

    best[t, u] = max_v  best[t - 1, v] + blank[t - 1, v] + sum of label[t, v … u - 1]

which is a running maximum, so a frame costs one pass over its columns.

Legend: T frames, U columns (tokens emitted so far, one more than there are tokens).

Source: Viterbi 1967 on the lattice of Graves 2012, arXiv:1211.3711.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Alignment", "best_alignment"]


class Alignment(NamedTuple):
    """One path through a lattice."""

    frames: tuple[int, ...]
    """Frame at which each token is emitted, never falling."""
    log_prob: float
    """Natural log of the path's probability, its last blank included."""


def best_alignment(blank_TU: NDArray[np.float64], label_TU: NDArray[np.float64]) -> Alignment:
    """The most probable path of one utterance.

    Args:
        blank_TU: Log-probability of the blank arc at each frame and column; finite, as what a
            softmax gives is.
        label_TU: Log-probability of the label arc; its last column, if there, does not count.

    Returns:
        Tokens on the latest of equally good paths.
    """
    num_frames, num_columns = blank_TU.shape
    assert num_frames >= 1
    emitted_TU = np.zeros((num_frames, num_columns))
    np.cumsum(label_TU[:, : num_columns - 1], axis=1, out=emitted_TU[:, 1:])
    entered_TU = np.zeros((num_frames, num_columns), np.int64)
    columns_U = np.arange(num_columns)
    best_U = emitted_TU[0]
    for t in range(1, num_frames):
        gain_U = best_U + blank_TU[t - 1] - emitted_TU[t]
        running_U = np.maximum.accumulate(gain_U)
        entered_TU[t] = np.maximum.accumulate(np.where(gain_U == running_U, columns_U, 0))
        best_U = emitted_TU[t] + running_U
    frames, column = [], num_columns - 1
    for t in range(num_frames - 1, -1, -1):
        entered = int(entered_TU[t, column])
        frames += [t] * (column - entered)
        column = entered
    log_prob = float(best_U[-1] + blank_TU[-1, -1])
    return Alignment(tuple(reversed(frames)), log_prob)
