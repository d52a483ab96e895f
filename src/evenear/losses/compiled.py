# SPDX-License-Identifier: Apache-2.0
"""The transducer lattice of one utterance, compiled for the CPU. Needs numba.

Plain loops over frames and tokens in float64, whatever the scores are stored in: a sum of ten
thousand log-probabilities loses its last digits in float32, and the lattice is small beside the
logits. The interpreter lock is released, so utterances run side by side in ordinary threads; numba's
own thread pool is not used, because it may not be entered by two threads at once.

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
def _log_add(first: float, second: float) -> float:
    if first == -np.inf:
        return second
    if second == -np.inf:
        return first
    return max(first, second) + np.log1p(np.exp(-abs(first - second)))


@_compile
def _forward_row(
    alpha_U: np.ndarray, label_U: np.ndarray, next_U: np.ndarray, num_tokens: int
) -> None:
    """Add to the scores that arrive from the frame before those that arrive within this frame."""
    next_U[0] = alpha_U[0]
    for u in range(1, num_tokens + 1):
        next_U[u] = _log_add(alpha_U[u], next_U[u - 1] + label_U[u - 1])


@_compile
def path_score(
    blank_TU: np.ndarray, label_TU: np.ndarray, num_frames: int, num_tokens: int
) -> float:
    """Log of the summed probability of all alignments of one utterance.

    Args:
        blank_TU: Log-probability of going to the next frame, at each cell.
        label_TU: Log-probability of emitting the next token, at each cell.
        num_frames: How many rows count.
        num_tokens: How many tokens there are; one more column than that counts.

    Returns:
        The log-probability, in nats.
    """
    alpha_U = np.full(num_tokens + 1, -np.inf)
    alpha_U[0] = 0.0
    for t in range(num_frames):
        _forward_row(alpha_U, label_TU[t], alpha_U, num_tokens)
        for u in range(num_tokens + 1):
            alpha_U[u] += blank_TU[t, u]
    return alpha_U[num_tokens]


@_compile
def replace_by_occupancies(
    blank_TU: np.ndarray, label_TU: np.ndarray, num_frames: int, num_tokens: int
) -> float:
    """Overwrite arc scores by the probability that an alignment takes the arc.

    Args:
        blank_TU: As in `path_score`; holds occupancies afterwards, 0 outside the lattice.
        label_TU: As in `path_score`; holds occupancies afterwards, 0 outside the lattice.
        num_frames: How many rows count.
        num_tokens: How many tokens there are.

    Returns:
        The log-probability of all alignments, in nats. If it is minus infinity (no alignment is
        possible), all occupancies are 0.
    """
    columns = num_tokens + 1
    alpha_TU = np.empty((num_frames, columns))
    arriving_U = np.full(columns, -np.inf)
    arriving_U[0] = 0.0
    for t in range(num_frames):
        _forward_row(arriving_U, label_TU[t], alpha_TU[t], num_tokens)
        for u in range(columns):
            arriving_U[u] = alpha_TU[t, u] + blank_TU[t, u]
    total = arriving_U[num_tokens]
    blank_TU[num_frames:] = 0.0
    label_TU[num_frames:] = 0.0
    blank_TU[:, columns:] = 0.0
    label_TU[:, columns:] = 0.0
    if total == -np.inf:
        blank_TU[:] = 0.0
        label_TU[:] = 0.0
        return total
    beta_U = np.full(columns, -np.inf)
    beta_U[num_tokens] = 0.0
    for t in range(num_frames - 1, -1, -1):
        above = -np.inf
        for u in range(num_tokens, -1, -1):
            stay = blank_TU[t, u] + beta_U[u]
            move = above + label_TU[t, u] if u < num_tokens else -np.inf
            blank_TU[t, u] = np.exp(alpha_TU[t, u] + stay - total)
            label_TU[t, u] = np.exp(alpha_TU[t, u] + move - total)
            above = _log_add(stay, move)
            beta_U[u] = above
    return total
