# SPDX-License-Identifier: Apache-2.0
"""From logits to the arcs of a transducer lattice and back, without a second copy of the logits.

Of all V logits of a lattice cell the loss needs three numbers: their log-sum-exp, the blank's and
the next token's. They are read utterance by utterance, some frames at a time, so that what is
computed on the way stays in the processor's cache; padding is never read. The gradient has a closed
form,

    d loss / d logit(v) = softmax(v) * (blank occupancy + label occupancy)
                          - blank occupancy at the blank - label occupancy at the next token,

and is written piece by piece into the one tensor that is handed back. FastEmit (Yu et al. 2020,
arXiv 2010.11148, equations 9 to 11) multiplies the label occupancies by 1 + lambda there, and
leaves the value of the loss as it is. Follows the papers.

Dimensions: B utterances, T frames, R rows of logits per frame (all U + 1 columns of the lattice, or
a
window of them), V vocabulary, U tokens (a lattice has U + 1 columns).

Source: Graves 2012, arXiv 1211.3711, equation 20, chained with the log-softmax.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["ArcScores", "Cells", "read_arcs", "write_gradient"]

_CHUNK_VALUES = 2**18
"""Logits that are worked on at a time: one megabyte in float32."""


class Cells(NamedTuple):
    """Where the lattice cells of each utterance lie in a tensor of logits."""

    num_frames: Sequence[int]
    num_rows: Sequence[int]
    targets: Sequence[Tensor]
    """For each utterance, the token that each row emits next, (1 or T, R), the blank where none."""
    blank_id: int
    is_packed: bool
    """Whether logits are (N, V), utterance after utterance, or padded (B, T, R, V)."""

    def views(self, values: Tensor) -> list[Tensor]:
        """The part of `values` that belongs to each utterance, as (T, R, V), without copying."""
        sizes = list(zip(self.num_frames, self.num_rows, strict=True))
        if not self.is_packed:
            return [values[b, :t, :r] for b, (t, r) in enumerate(sizes)]
        parts = values.split([t * r for t, r in sizes])
        return [part.view(t, r, -1) for part, (t, r) in zip(parts, sizes, strict=True)]


class ArcScores(NamedTuple):
    """What a lattice needs to know of its logits, in float32 or float64."""

    blank_BTR: Tensor
    """Log-probability of the blank."""
    label_BTR: Tensor
    """Log-probability of the next token."""


def read_arcs(logits: Tensor, cells: Cells) -> ArcScores:
    """Normalize the logits and pick the blank and the next token of every cell.

    Args:
        logits: Padded or packed, as `cells` says, of any floating dtype.
        cells: Where they lie and what they emit.

    Returns:
        Padded scores; minus infinity outside the utterances.
    """
    dtype = _compute_dtype(logits)
    shape = (len(cells.num_frames), max(cells.num_frames), max(cells.num_rows))
    arcs = ArcScores(*(logits.new_full(shape, float("-inf"), dtype=dtype) for _ in range(2)))
    for b, logits_TRV in enumerate(cells.views(logits)):
        for frames in _chunks(logits_TRV):
            rows = (b, frames, slice(0, logits_TRV.shape[1]))
            log_probs_TRV = torch.log_softmax(logits_TRV[frames], dim=-1, dtype=dtype)
            arcs.blank_BTR[rows] = log_probs_TRV[..., cells.blank_id]
            arcs.label_BTR[rows] = log_probs_TRV.gather(-1, _targets(cells, b, frames))[..., 0]
    return arcs


def write_gradient(logits: Tensor, cells: Cells, blank_BTR: Tensor, label_BTR: Tensor) -> Tensor:
    """The gradient of the loss with respect to the logits, given how occupied each arc is.

    Args:
        logits: As given to `read_arcs`.
        cells: As given to `read_arcs`.
        blank_BTR: Occupancy of each blank arc, times whatever the loss was multiplied by.
        label_BTR: Occupancy of each label arc, likewise; 0 where there is no next token.

    Returns:
        A tensor like `logits`, 0 in the padding.
    """
    dtype = _compute_dtype(logits)
    gradient = torch.empty_like(logits, memory_format=torch.contiguous_format)
    if not cells.is_packed:
        _clear_padding(gradient, cells)
    pairs = zip(cells.views(logits), cells.views(gradient), strict=True)
    for b, (logits_TRV, gradient_TRV) in enumerate(pairs):
        for frames in _chunks(logits_TRV):
            rows = (b, frames, slice(0, logits_TRV.shape[1]))
            blank_TR1, label_TR1 = blank_BTR[rows][..., None], label_BTR[rows][..., None]
            values_TRV = torch.softmax(logits_TRV[frames], dim=-1, dtype=dtype)
            values_TRV *= blank_TR1 + label_TR1
            values_TRV[..., cells.blank_id] -= blank_TR1[..., 0]
            values_TRV.scatter_add_(-1, _targets(cells, b, frames), -label_TR1)
            gradient_TRV[frames] = values_TRV
    return gradient


def _compute_dtype(logits: Tensor) -> torch.dtype:
    return torch.float64 if logits.dtype == torch.float64 else torch.float32


def _chunks(values_TRV: Tensor) -> Iterator[slice]:
    """Slices of frames that hold about `_CHUNK_VALUES` values each."""
    num_frames, num_rows, vocabulary = values_TRV.shape
    step = max(1, _CHUNK_VALUES // (num_rows * vocabulary))
    return (slice(t, min(t + step, num_frames)) for t in range(0, num_frames, step))


def _targets(cells: Cells, utterance: int, frames: slice) -> Tensor:
    """The next token of each cell in some frames of an utterance, as an index of shape (T, R, 1)."""
    targets = cells.targets[utterance]
    if len(targets) == 1:
        return targets[:, :, None].expand(frames.stop - frames.start, -1, -1)
    return targets[frames, :, None]


def _clear_padding(gradient_BTRV: Tensor, cells: Cells) -> None:
    for b, (num_frames, num_rows) in enumerate(zip(cells.num_frames, cells.num_rows, strict=True)):
        gradient_BTRV[b, num_frames:].zero_()
        gradient_BTRV[b, :num_frames, num_rows:].zero_()
