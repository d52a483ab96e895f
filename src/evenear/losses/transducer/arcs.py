# SPDX-License-Identifier: Apache-2.0
"""From logits to the arcs of a transducer lattice and back, without a second copy of the logits.

Of all V logits of a lattice cell the loss needs two numbers: the log-probability of the blank and
that of the next token. They are read some cells at a time, so that what is computed on the way
stays in the processor's cache, whichever utterances the cells belong to; padding is never read. The
gradient has a closed form,

    d loss / d logit(v) = softmax(v) * (blank occupancy + label occupancy)
                          - blank occupancy at the blank - label occupancy at the next token,

and is written piece by piece into the one tensor that is handed back. FastEmit (Yu et al. 2020,
arXiv 2010.11148, equations 9 to 11) multiplies the label occupancies by 1 + lambda there, and
leaves the value of the loss as it is. Follows the papers.

Dimensions: B utterances, T frames, U tokens (a lattice has U + 1 columns), N cells,
R frames of all utterances in a row, or rows of logits, L places of something flattened,
V vocabulary.

Source: Graves 2012, arXiv 1211.3711, equation 20, chained with the log-softmax.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from evenear.losses.transducer.checks import Batch
from evenear.losses.transducer.lattice import Backend, lattice_log_prob, lattice_occupancies
from evenear.nn.packing import CellLayout

__all__ = ["Cells", "Settings", "Some", "arc_loss", "read_arcs", "write_gradient"]


class Some(NamedTuple):
    """Some cells: their rows in the logits, their places in a lattice, and what they emit next."""

    rows: slice | Tensor
    """Of flattened logits (R, V); a slice where cell n is row n."""
    lattice_N: Tensor
    """Of a flattened lattice (B, T, U + 1)."""
    next_N1: Tensor
    """The token that each emits next; the blank where none."""


class Cells:
    """All lattice cells of a batch in packed logits (N, V), or in padded ones (B, T, U + 1, V).

    What is known of each is kept in four bytes: beside its logits that is next to nothing.
    """

    def __init__(self, batch: Batch, logits: Tensor) -> None:
        self.batch = batch
        columns = [num_tokens + 1 for num_tokens in batch.num_tokens]
        self.layout = CellLayout(batch.num_frames, columns, logits.device)
        self.shape = (len(columns), max(batch.num_frames), max(columns))
        """The shape of a lattice (B, T, U + 1)."""
        self.at_once = max(1, _chunk_values(logits.device) // logits.shape[-1])
        """So many cells have logits that fit the processor's cache."""
        self._lattice_N = self._places(self.shape[1:])
        targets_BU = batch.targets_BU
        target_R = (self.layout.utterance_R * targets_BU.shape[1]).int()
        self._next_N = targets_BU.int().flatten()[self.layout.places(target_R)]
        self.is_packed = logits.ndim == 2
        self._row_N = None if self.is_packed else self._places(tuple(logits.shape[1:3]))

    def chunks(self) -> Iterator[Some]:
        """All cells, some at a time."""
        total = self.layout.num_cells
        for first in range(0, total, self.at_once):
            cells = slice(first, min(first + self.at_once, total))
            rows = cells if self._row_N is None else self._row_N[cells].long()
            yield Some(rows, self._lattice_N[cells].long(), self._next_N[cells, None].long())

    def _places(self, shape: tuple[int, ...]) -> Tensor:
        """Place of each cell in a flattened (B, frames, columns)."""
        begin_R = (self.layout.utterance_R * shape[0] + self.layout.frame_R) * shape[1]
        return self.layout.places(begin_R.int())


class Settings(NamedTuple):
    """How to sum and weight the arcs."""

    fastemit: float = 0.0
    lattice: Backend = "auto"


def arc_loss(
    logits: Tensor, label_penalty_BTU: Tensor | None, cells: Cells, settings: Settings
) -> Tensor:
    """Minus the log-probability of each utterance's tokens, differentiable.

    Args:
        logits: Padded or packed, as `cells` says, of any floating dtype.
        label_penalty_BTU: Subtracted from the log-probability of label arcs, (B, T, U).
        cells: Where the logits lie and what they emit.
        settings: FastEmit and the lattice's implementation.

    Returns:
        loss_B, in nats, float64 for float64 logits and float32 for all others.
    """
    return _ArcLoss.apply(logits, label_penalty_BTU, cells, settings)


def read_arcs(logits: Tensor, cells: Cells) -> tuple[Tensor, Tensor]:
    """Normalize the logits, and pick the blank and the next token of every cell.

    Args:
        logits: Padded or packed, as `cells` says, of any floating dtype.
        cells: Where they lie and what they emit.

    Returns:
        Log-probabilities blank_BTU and label_BTU; minus infinity where there are no logits.
    """
    dtype, rows_RV = _compute_dtype(logits), logits.reshape(-1, logits.shape[-1])
    blank_L = logits.new_full(cells.shape, float("-inf"), dtype=dtype).view(-1)
    label_L = torch.full_like(blank_L, float("-inf"))
    scratch = logits.new_empty(_chunk(cells, rows_RV), dtype=dtype)
    for some in cells.chunks():
        logits_NV = rows_RV[some.rows]
        log_probs_NV = _shaped_like(logits_NV, scratch)
        torch.log_softmax(logits_NV, dim=-1, dtype=dtype, out=log_probs_NV)
        blank_L[some.lattice_N] = log_probs_NV[:, cells.batch.blank_id]
        label_L[some.lattice_N] = log_probs_NV.gather(-1, some.next_N1)[:, 0]
    return blank_L.view(cells.shape), label_L.view(cells.shape)


def write_gradient(logits: Tensor, cells: Cells, blank_BTU: Tensor, label_BTU: Tensor) -> Tensor:
    """The gradient of the loss with respect to the logits, given how occupied each arc is.

    Args:
        logits: As given to `read_arcs`.
        cells: As given to `read_arcs`.
        blank_BTU: Occupancy of each blank arc, times whatever the loss was multiplied by.
        label_BTU: Occupancy of each label arc, likewise; 0 where there is no next token.

    Returns:
        A tensor like `logits`, 0 in the padding.
    """
    dtype, rows_RV = _compute_dtype(logits), logits.reshape(-1, logits.shape[-1])
    gradient = _empty_like(logits)
    if not cells.is_packed:
        gradient.zero_()
    gradient_RV = gradient.view(rows_RV.shape)
    blank_L, label_L = blank_BTU.reshape(-1), label_BTU.reshape(-1)
    in_place = dtype == logits.dtype and cells.is_packed
    scratch = logits.new_empty(0 if in_place else _chunk(cells, rows_RV), dtype=dtype)
    for some in cells.chunks():
        blank_N, label_N = blank_L[some.lattice_N], label_L[some.lattice_N]
        logits_NV = rows_RV[some.rows]
        values_NV = gradient_RV[some.rows] if in_place else _shaped_like(logits_NV, scratch)
        torch.softmax(logits_NV, dim=-1, dtype=dtype, out=values_NV)
        values_NV *= (blank_N + label_N)[:, None]
        values_NV[:, cells.batch.blank_id] -= blank_N
        values_NV.scatter_add_(-1, some.next_N1, -label_N[:, None])
        if not in_place:
            gradient_RV[some.rows] = values_NV.to(logits.dtype)
    return gradient


class _ArcLoss(torch.autograd.Function):
    """Value by the lattice, gradient by occupancies."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, penalty_BTU: Tensor | None, cells: Cells, settings: Settings
    ) -> Tensor:
        blank_BTU, label_BTU = read_arcs(logits, cells)
        if penalty_BTU is not None:
            label_BTU[:, :, :-1] -= penalty_BTU
        lengths = (torch.tensor(cells.batch.num_frames), torch.tensor(cells.batch.num_tokens))
        if not any(ctx.needs_input_grad):
            return -lattice_log_prob(blank_BTU, label_BTU, *lengths, lattice=settings.lattice)
        occupancies = lattice_occupancies(blank_BTU, label_BTU, *lengths, lattice=settings.lattice)
        ctx.save_for_backward(logits, occupancies.blank_BTU, occupancies.label_BTU)
        ctx.cells, ctx.fastemit = cells, settings.fastemit
        return -occupancies.log_prob_B

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        logits, blank_BTU, label_BTU = ctx.saved_tensors
        gradient_B11 = gradients[0][:, None, None]
        logits_gradient, penalty_gradient_BTU = None, None
        if ctx.needs_input_grad[0]:
            weighted = (blank_BTU * gradient_B11, label_BTU * (gradient_B11 * (1 + ctx.fastemit)))
            logits_gradient = write_gradient(logits, ctx.cells, *weighted)
        if ctx.needs_input_grad[1]:
            penalty_gradient_BTU = label_BTU[:, :, :-1] * gradient_B11
        return logits_gradient, penalty_gradient_BTU, None, None


def _empty_like(logits: Tensor) -> Tensor:
    """A contiguous tensor of the same shape, dtype and device, holding anything.

    On the CPU the memory comes from numpy, which asks the system for huge pages. Torch does not,
    and then the first touch of each small page takes as long as all the arithmetic.
    """
    if logits.device.type != "cpu":
        return torch.empty_like(logits, memory_format=torch.contiguous_format)
    values = torch.from_numpy(np.empty(logits.nbytes, dtype=np.uint8))
    return values.view(logits.dtype).view(logits.shape)


def _compute_dtype(logits: Tensor) -> torch.dtype:
    return torch.float64 if logits.dtype == torch.float64 else torch.float32


def _chunk_values(device: torch.device) -> int:
    """A megabyte at a time fits a processor's cache; 64 suit a GPU."""
    return 2**18 if device.type == "cpu" else 2**24


def _chunk(cells: Cells, rows_RV: Tensor) -> int:
    """The values of a chunk, for one scratch tensor that serves them all."""
    return min(cells.at_once, cells.layout.num_cells) * rows_RV.shape[1]


def _shaped_like(values_NV: Tensor, scratch: Tensor) -> Tensor:
    """The beginning of the scratch tensor, in the shape of `values_NV`."""
    return scratch[: values_NV.numel()].view(values_NV.shape)
