# SPDX-License-Identifier: Apache-2.0
"""The transducer lattice of one utterance, compiled for the CPU. Needs numba.

Plain loops over frames and tokens in float64, whatever the scores are stored in: a sum of ten
thousand log-probabilities loses its last digits in float32, and the lattice is small beside the
logits. The interpreter lock is released, so utterances run side by side in ordinary threads;
numba's own thread pool is not used, because it may not be entered by two threads at once.

Dimensions: T frames, U tokens (a lattice has U + 1 columns: tokens emitted so far).

Source: Graves 2012, Sequence Transduction with Recurrent Neural Networks, arXiv 1211.3711,
equations 16 to 18.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

__all__ = ["path_score", "replace_by_occupancies"]


def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on first call, and keep the machine code between runs where a folder allows it."""
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder to cache in
        return numba.njit(nogil=True)(function)


@_compile
def _sum_paths(
    blank_TU: np.ndarray, label_TU: np.ndarray, num_tokens: int, moving_TU: np.ndarray
) -> float:
    """Score all paths from each cell to the end, and how many of them go on by the label."""
    beta_U = np.full(num_tokens + 1, -np.inf)
    beta_U[num_tokens] = 0.0
    for t in range(len(moving_TU) - 1, -1, -1):
        beta_U[num_tokens] += blank_TU[t, num_tokens]
        moving_TU[t, num_tokens] = 0.0
        for u in range(num_tokens - 1, -1, -1):
            stay, move = beta_U[u] + blank_TU[t, u], beta_U[u + 1] + label_TU[t, u]
            if move == -np.inf:
                beta_U[u], moving_TU[t, u] = stay, 0.0
            elif stay > move:
                ratio = np.exp(move - stay)
                beta_U[u], moving_TU[t, u] = stay + np.log1p(ratio), ratio / (1.0 + ratio)
            else:
                ratio = np.exp(stay - move)
                beta_U[u], moving_TU[t, u] = move + np.log1p(ratio), 1.0 / (1.0 + ratio)
    return beta_U[0]


@_compile
def replace_by_occupancies(
    blank_TU: np.ndarray, label_TU: np.ndarray, num_frames: int, num_tokens: int
) -> float:
    """Overwrite the arc scores of one utterance by the probability that an alignment takes the arc.

    Args:
        blank_TU: Log-probability of going to the next frame, at each cell. Holds occupancies
            afterwards, 0 outside the lattice.
        label_TU: Log-probability of emitting the next token, at each cell. Likewise.
        num_frames: How many rows count.
        num_tokens: How many tokens there are; one more column than that counts.

    Returns:
        The log-probability of all alignments, in nats. If it is minus infinity (no alignment is
        possible), all occupancies are 0.
    """
    moving_TU = np.empty((num_frames, num_tokens + 1))
    total = _sum_paths(blank_TU, label_TU, num_tokens, moving_TU)
    blank_TU[:] = 0.0
    label_TU[:] = 0.0
    if total == -np.inf:
        return total
    entering_U = np.zeros(num_tokens + 1)
    entering_U[0] = 1.0
    for t in range(num_frames):
        moved = 0.0
        for u in range(num_tokens + 1):
            occupancy = entering_U[u] + moved
            moved = occupancy * moving_TU[t, u]
            entering_U[u] = occupancy - moved
            label_TU[t, u] = moved
            blank_TU[t, u] = entering_U[u]
    return total


@_compile
def path_score(
    blank_TU: np.ndarray, label_TU: np.ndarray, num_frames: int, num_tokens: int
) -> float:
    """Log of the summed probability of all alignments of one utterance.

    Args:
        blank_TU: As given to `replace_by_occupancies`.
        label_TU: As given to `replace_by_occupancies`.
        num_frames: How many rows count.
        num_tokens: How many tokens there are.

    Returns:
        The log-probability, in nats.
    """
    return _sum_paths(blank_TU, label_TU, num_tokens, np.empty((num_frames, num_tokens + 1)))
