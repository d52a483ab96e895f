# SPDX-License-Identifier: Apache-2.0
"""From logits to the arcs of a transducer lattice and back, without a second copy of the logits.

Of all V logits of a lattice cell the loss needs two numbers: the log-probability of the blank and
that of the next token. They are read utterance by utterance, some frames at a time, so that what is
computed on the way stays in the processor's cache; padding is never read. The gradient has a closed
form,

    d loss / d logit(v) = softmax(v) * (blank occupancy + label occupancy)
                          - blank occupancy at the blank - label occupancy at the next token,

and is written piece by piece into the one tensor that is handed back. FastEmit (Yu et al. 2020,
arXiv 2010.11148, equations 9 to 11) multiplies the label occupancies by 1 + lambda there, and
leaves the value of the loss as it is. Follows the papers.

Dimensions: B utterances, T frames, U tokens (a lattice has U + 1 columns), R rows of logits per
frame (all columns of the lattice, or a window of them), V vocabulary.

Source: Graves 2012, arXiv 1211.3711, equation 20, chained with the log-softmax.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from evenear.losses.transducer.lattice import Backend, lattice_log_prob, lattice_occupancies

__all__ = ["Cells", "Settings", "arc_loss", "read_arcs", "write_gradient"]


class Cells(NamedTuple):
    """Where the lattice cells of each utterance lie in a tensor of logits, and what they emit."""

    num_frames: list[int]
    num_tokens: list[int]
    num_rows: list[int]
    """Rows of logits per frame."""
    targets: Sequence[Tensor]
    """Per utterance, the token that each row emits next, (1 or T, R); the blank where none."""
    columns: Sequence[Tensor] | None
    """Per utterance, the lattice column of each row, (T, R); None if row u is column u."""
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

    def next_tokens(self, utterance: int, frames: slice) -> Tensor:
        """The next token of each cell in some frames of an utterance, (T, R, 1)."""
        targets = self.targets[utterance]
        if len(targets) == 1:
            return targets[:, :, None].expand(frames.stop - frames.start, -1, -1)
        return targets[frames, :, None]

    def put(self, lattice_BTU: Tensor, utterance: int, frames: slice, rows_TR: Tensor) -> None:
        """Write rows to their lattice columns."""
        if self.columns is None:
            lattice_BTU[utterance, frames, : rows_TR.shape[1]] = rows_TR
        else:
            lattice_BTU[utterance, frames].scatter_(-1, self.columns[utterance][frames], rows_TR)

    def take(self, lattice_BTU: Tensor, utterance: int, frames: slice) -> Tensor:
        """Read rows, (T, R), from their lattice columns."""
        if self.columns is None:
            return lattice_BTU[utterance, frames, : self.num_rows[utterance]]
        return lattice_BTU[utterance, frames].gather(-1, self.columns[utterance][frames])


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
    dtype = _compute_dtype(logits)
    shape = (len(cells.num_frames), max(cells.num_frames), max(cells.num_tokens) + 1)
    blank_BTU = logits.new_full(shape, float("-inf"), dtype=dtype)
    label_BTU = torch.full_like(blank_BTU, float("-inf"))
    scratch = logits.new_empty(_most_values(logits, cells), dtype=dtype)
    for b, logits_TRV in enumerate(cells.views(logits)):
        for frames in _chunks(logits_TRV):
            log_probs_TRV = _shaped_like(logits_TRV[frames], scratch)
            torch.log_softmax(logits_TRV[frames], dim=-1, dtype=dtype, out=log_probs_TRV)
            label_TR1 = log_probs_TRV.gather(-1, cells.next_tokens(b, frames))
            cells.put(blank_BTU, b, frames, log_probs_TRV[..., cells.blank_id])
            cells.put(label_BTU, b, frames, label_TR1[..., 0])
    return blank_BTU, label_BTU


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
    dtype = _compute_dtype(logits)
    gradient = _empty_like(logits)
    if not cells.is_packed:
        _clear_padding(gradient, cells)
    needs_scratch = dtype != logits.dtype
    scratch = logits.new_empty(_most_values(logits, cells) if needs_scratch else 0, dtype=dtype)
    pairs = zip(cells.views(logits), cells.views(gradient), strict=True)
    for b, (logits_TRV, gradient_TRV) in enumerate(pairs):
        for frames in _chunks(logits_TRV):
            blank_TR = cells.take(blank_BTU, b, frames)
            label_TR = cells.take(label_BTU, b, frames)
            target_TRV = gradient_TRV[frames]
            values_TRV = _shaped_like(target_TRV, scratch) if needs_scratch else target_TRV
            torch.softmax(logits_TRV[frames], dim=-1, dtype=dtype, out=values_TRV)
            values_TRV *= (blank_TR + label_TR)[..., None]
            values_TRV[..., cells.blank_id] -= blank_TR
            values_TRV.scatter_add_(-1, cells.next_tokens(b, frames), -label_TR[..., None])
            if needs_scratch:
                target_TRV.copy_(values_TRV)
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
        lengths = (torch.tensor(cells.num_frames), torch.tensor(cells.num_tokens))
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


def _chunks(values_TRV: Tensor) -> Iterator[slice]:
    """Slices of frames that hold about `_chunk_values` values each."""
    num_frames, num_rows, vocabulary = values_TRV.shape
    step = max(1, _chunk_values(values_TRV.device) // (num_rows * vocabulary))
    return (slice(t, min(t + step, num_frames)) for t in range(0, num_frames, step))


def _chunk_values(device: torch.device) -> int:
    """A megabyte at a time fits a processor's cache; 64 suit a GPU."""
    return 2**18 if device.type == "cpu" else 2**24


def _most_values(logits: Tensor, cells: Cells) -> int:
    """An upper bound on the values of a chunk, for one scratch tensor that serves them all."""
    one_frame = max(cells.num_rows) * logits.shape[-1]
    return min(max(one_frame, _chunk_values(logits.device)), one_frame * max(cells.num_frames))


def _shaped_like(values_TRV: Tensor, scratch: Tensor) -> Tensor:
    """The beginning of the scratch tensor, in the shape of `values_TRV`."""
    return scratch[: values_TRV.numel()].view(values_TRV.shape)


def _clear_padding(gradient_BTRV: Tensor, cells: Cells) -> None:
    for b, (num_frames, num_rows) in enumerate(zip(cells.num_frames, cells.num_rows, strict=True)):
        gradient_BTRV[b, num_frames:].zero_()
        gradient_BTRV[b, :num_frames, num_rows:].zero_()
