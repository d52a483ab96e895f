# SPDX-License-Identifier: Apache-2.0
"""All the ways to spread a sentence over the frames, summed: the lattice of a transducer.

Cell (t, u) means: t frames are done and u tokens are out. A blank arc goes to (t + 1, u), a label
arc to (t, u + 1); the last arc is the blank that leaves (T - 1, U). `alpha` sums the paths that
reach a cell, `beta` those that lead on from it; what a path scores through an arc, divided by the
total, is the arc's occupancy, and that is all the gradient there is:
    d(-log P) / d(log-probability of an arc) = -occupancy.

Two ways to compute it, equal to rounding: compiled loops (`evenear.losses.transducer.compiled`,
when numba is installed and the tensors are on the CPU), and pure torch, one anti-diagonal t + u at
a time, for all utterances at once. Both work in float64 (float32 where the device has no
float64).

Dimensions: B utterances, D anti-diagonals, T frames, U tokens (a lattice has U + 1 columns).

Source: Graves 2012, Sequence Transduction with Recurrent Neural Networks, arXiv 1211.3711,
equations 16 to 20. Follows the paper.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from evenear.errors import ConfigError, MissingDependencyError

__all__ = ["Backend", "Occupancies", "choose_backend", "lattice_log_prob", "lattice_occupancies"]

Backend = Literal["auto", "torch", "numba"]
"""How to compute the lattice; "auto" takes numba on the CPU when it is installed."""

_MINUS_INFINITY = float("-inf")


class Occupancies(NamedTuple):
    """How likely each arc of the lattice is on the way through a whole utterance."""

    log_prob_B: Tensor
    """Log-probability of the tokens, in nats."""
    blank_BTU: Tensor
    """Probability that an alignment leaves cell (t, u) by its blank; 0 outside the lattice."""
    label_BTU: Tensor
    """Probability that an alignment leaves cell (t, u) by its label; 0 outside the lattice."""


def choose_backend(wanted: Backend, device: torch.device) -> Literal["torch", "numba"]:
    """Say which implementation will run.

    Raises:
        ConfigError: The name is unknown, or numba is wanted for tensors that are not on the CPU.
        MissingDependencyError: Numba is wanted and not installed.
    """
    if wanted not in ("auto", "torch", "numba"):
        raise ConfigError(f'A lattice is "auto", "torch" or "numba", got {wanted!r}.')
    installed = wanted != "torch" and _numba_works()
    if wanted == "numba" and not installed:
        raise MissingDependencyError(
            "The numba lattice needs numba, which is not installed or does not load.",
            hint='Install it with `pip install numba`, or take lattice="torch".',
        )
    if wanted == "numba" and device.type != "cpu":
        raise ConfigError(
            f"The numba lattice needs tensors on the CPU, got {device}.",
            hint='Take lattice="torch".',
        )
    return "numba" if installed and device.type == "cpu" else "torch"


@cache
def _numba_works() -> bool:
    """Whether numba is here and gets along with the numpy that is here."""
    try:
        import_module("evenear.losses.transducer.compiled")
    except ImportError:
        return False
    return True


def lattice_log_prob(
    blank_BTU: Tensor,
    label_BTU: Tensor,
    frame_lengths_B: Tensor,
    target_lengths_B: Tensor,
    *,
    lattice: Backend = "auto",
) -> Tensor:
    """Log-probability of the tokens of each utterance, summed over alignments.

    Args:
        blank_BTU: Log-probability of the blank arc at each of the U + 1 columns.
        label_BTU: Log-probability of the label arc; the last column of an utterance does not count.
        frame_lengths_B: Frames of each utterance, at least 1.
        target_lengths_B: Tokens of each utterance.
        lattice: Which implementation to use.

    Returns:
        log_prob_B, in nats, of the scores' dtype.
    """
    if choose_backend(lattice, blank_BTU.device) == "numba":
        lengths = (frame_lengths_B, target_lengths_B)
        return _run_compiled("path_score", blank_BTU, label_BTU, *lengths)
    blank_DBU, label_DBU = _diagonals(blank_BTU, label_BTU, frame_lengths_B, target_lengths_B)
    beta_DBU = _backward(blank_DBU, label_DBU, frame_lengths_B, target_lengths_B)
    return beta_DBU[0, :, 0].to(blank_BTU.dtype)


def lattice_occupancies(
    blank_BTU: Tensor,
    label_BTU: Tensor,
    frame_lengths_B: Tensor,
    target_lengths_B: Tensor,
    *,
    lattice: Backend = "auto",
) -> Occupancies:
    """Log-probability of each utterance, and the occupancy of every arc.

    The score tensors may be overwritten: they are scratch space to this function.

    Args:
        blank_BTU: As in `lattice_log_prob`.
        label_BTU: As in `lattice_log_prob`.
        frame_lengths_B: Frames of each utterance, at least 1.
        target_lengths_B: Tokens of each utterance.
        lattice: Which implementation to use.

    Returns:
        Log-probabilities and occupancies. An utterance without any possible alignment has
        log-probability minus infinity and occupancies 0.
    """
    if choose_backend(lattice, blank_BTU.device) == "numba":
        scores = (blank_BTU, label_BTU)
        lengths = (frame_lengths_B, target_lengths_B)
        log_prob_B = _run_compiled("replace_by_occupancies", *scores, *lengths)
        return Occupancies(log_prob_B, *scores)
    num_frames = blank_BTU.shape[1]
    blank_DBU, label_DBU = _diagonals(blank_BTU, label_BTU, frame_lengths_B, target_lengths_B)
    beta_DBU = _backward(blank_DBU, label_DBU, frame_lengths_B, target_lengths_B)
    _replace_by_occupancies(blank_DBU, label_DBU, beta_DBU)
    log_prob_B = beta_DBU[0, :, 0]
    blank_BTU.copy_(_square(blank_DBU, num_frames))
    label_BTU.copy_(_square(label_DBU, num_frames))
    return Occupancies(log_prob_B.to(blank_BTU.dtype), blank_BTU, label_BTU)


def _run_compiled(
    kernel: str,
    blank_BTU: Tensor,
    label_BTU: Tensor,
    frame_lengths_B: Tensor,
    target_lengths_B: Tensor,
) -> Tensor:
    """Give each utterance to a compiled function, on as many threads as torch may use."""
    function = getattr(import_module("evenear.losses.transducer.compiled"), kernel)
    scores = (blank_BTU.detach().numpy(), label_BTU.detach().numpy())
    arguments = (*scores, frame_lengths_B.tolist(), target_lengths_B.tolist())
    num_threads = min(torch.get_num_threads(), len(blank_BTU))
    if num_threads <= 1:
        return blank_BTU.new_tensor(list(map(function, *arguments)))
    with ThreadPoolExecutor(num_threads) as pool:
        return blank_BTU.new_tensor(list(pool.map(function, *arguments)))


def _square(diagonal_DBU: Tensor, num_frames: int) -> Tensor:
    """The same numbers seen as (B, T, U + 1): cell (t, u) lies on anti-diagonal t + u."""
    _, num_utterances, columns = diagonal_DBU.shape
    row = num_utterances * columns
    return diagonal_DBU.as_strided((num_utterances, num_frames, columns), (columns, row, row + 1))


def _diagonals(
    blank_BTU: Tensor, label_BTU: Tensor, frame_lengths_B: Tensor, target_lengths_B: Tensor
) -> tuple[Tensor, Tensor]:
    """Lay the arc scores out by anti-diagonal, minus infinity outside each utterance's lattice."""
    num_utterances, num_frames, columns = blank_BTU.shape
    device = blank_BTU.device
    valid_BT = torch.arange(num_frames, device=device) < frame_lengths_B.to(device)[:, None]
    left_BU = target_lengths_B.to(device)[:, None] - torch.arange(columns, device=device)
    dtype = torch.float32 if device.type == "mps" else torch.float64
    shape = (num_frames + columns - 1, num_utterances, columns)
    blank_DBU = torch.full(shape, _MINUS_INFINITY, dtype=dtype, device=device)
    label_DBU = torch.full_like(blank_DBU, _MINUS_INFINITY)
    for diagonal_DBU, score_BTU, valid_BU in (
        (blank_DBU, blank_BTU, left_BU >= 0),
        (label_DBU, label_BTU, left_BU > 0),
    ):
        outside_BTU = ~(valid_BT[:, :, None] & valid_BU[:, None, :])
        _square(diagonal_DBU, num_frames).copy_(score_BTU).masked_fill_(
            outside_BTU, _MINUS_INFINITY
        )
    return blank_DBU, label_DBU


def _replace_by_occupancies(blank_DBU: Tensor, label_DBU: Tensor, beta_DBU: Tensor) -> None:
    """Turn arc scores into chances to take the arc from its cell, then into occupancies."""
    reference_DBU = beta_DBU[:-1].masked_fill(beta_DBU[:-1] == _MINUS_INFINITY, 0.0)
    blank_DBU.add_(beta_DBU[1:]).sub_(reference_DBU).exp_()
    label_DBU[:, :, :-1] += beta_DBU[1:, :, 1:]
    label_DBU.sub_(reference_DBU).exp_()
    occupancy_BU = torch.zeros_like(blank_DBU[0])
    occupancy_BU[:, 0] = 1.0
    for blank_BU, label_BU in zip(blank_DBU, label_DBU, strict=True):
        blank_BU *= occupancy_BU
        label_BU *= occupancy_BU
        occupancy_BU = blank_BU.clone()
        occupancy_BU[:, 1:] += label_BU[:, :-1]


def _backward(
    blank_DBU: Tensor, label_DBU: Tensor, frame_lengths_B: Tensor, target_lengths_B: Tensor
) -> Tensor:
    """Scores of all paths from each cell to the end, by anti-diagonal, one longer than the arcs.

    The end of an utterance is the cell (T, U), just outside its lattice, where the last blank
    leads.
    """
    num_diagonals, num_utterances, columns = blank_DBU.shape
    beta_DBU = blank_DBU.new_full((num_diagonals + 1, num_utterances, columns), _MINUS_INFINITY)
    index_B = torch.arange(num_utterances, device=beta_DBU.device)
    tokens_B = target_lengths_B.to(beta_DBU.device)
    beta_DBU[frame_lengths_B.to(beta_DBU.device) + tokens_B, index_B, tokens_B] = 0.0
    for d in range(num_diagonals - 1, -1, -1):
        score_BU = beta_DBU[d + 1] + blank_DBU[d]
        moved_BU = beta_DBU[d + 1, :, 1:] + label_DBU[d, :, :-1]
        score_BU[:, :-1] = torch.logaddexp(score_BU[:, :-1], moved_BU)
        torch.maximum(beta_DBU[d], score_BU, out=beta_DBU[d])
    return beta_DBU
