# SPDX-License-Identifier: Apache-2.0
"""The transducer (RNN-T) loss: how improbable a model finds a sentence, whatever its timing.

The loss of an utterance is minus the natural logarithm of the probability of its tokens, summed
over all ways to spread them over the frames. Arcs are read from the logits, the lattice gives each
arc's occupancy, and the gradient follows from that in closed form: one new tensor of the logits'
size, made during the backward pass, and nothing else that grows with the vocabulary.

FastEmit makes models emit earlier by strengthening the gradient of label arcs; penalties make
chosen label arcs less probable, for instance an end of turn that comes late.

Dimensions: B utterances, T frames, U tokens (logits have U + 1 columns: tokens emitted so far),
V vocabulary, N lattice cells of all utterances.

Source: Graves 2012, Sequence Transduction with Recurrent Neural Networks, arXiv 1211.3711; Yu et
al.
2020, FastEmit, arXiv 2010.11148. Follows the papers.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from evenear.errors import ConfigError
from evenear.losses.emission import Cells, read_arcs, write_gradient
from evenear.losses.lattice import Backend, choose_backend, lattice_log_prob, lattice_occupancies

__all__ = ["packed_transducer_loss", "transducer_loss"]


def transducer_loss(
    logits_BTUV: Tensor,
    targets_BU: Tensor,
    frame_lengths_B: Tensor,
    target_lengths_B: Tensor,
    *,
    blank_id: int,
    fastemit: float = 0.0,
    label_penalty_BTU: Tensor | None = None,
    lattice: Backend = "auto",
) -> Tensor:
    """Transducer loss of padded logits.

    Args:
        logits_BTUV: Joiner outputs, (B, T, U + 1, V), not normalized, of any floating dtype.
            Computed in float32, or in float64 if they are float64. Padding is never read.
        targets_BU: Token ids, padded with anything.
        frame_lengths_B: Frames of each utterance, at least 1.
        target_lengths_B: Tokens of each utterance, 0 allowed.
        blank_id: Id of the blank, anywhere in the vocabulary.
        fastemit: Weight lambda of FastEmit. The gradient of label arcs is multiplied by 1 + lambda;
            the value of the loss does not change.
        label_penalty_BTU: Subtracted from the log-probability of emitting token u at frame t,
            without normalizing again. The gradient flows into it, too.
        lattice: "numba" or "torch"; "auto" takes the faster one that works here.

    Returns:
        loss_B: -log P(tokens | audio) of each utterance, in nats. Infinite, with gradient 0, where
            no
        alignment is possible.

    Raises:
        ConfigError: Shapes or lengths do not fit each other, or a token is not in the vocabulary.
    """
    _require(logits_BTUV.ndim == 4, "Logits must be (B, T, U + 1, V)", tuple(logits_BTUV.shape))
    batch = _check(logits_BTUV, targets_BU, frame_lengths_B, target_lengths_B, blank_id)
    num_frames, num_columns = max(batch.num_frames), max(batch.num_tokens) + 1
    _require(
        len(logits_BTUV) == len(batch.num_frames)
        and logits_BTUV.shape[1] >= num_frames
        and logits_BTUV.shape[2] >= num_columns,
        f"Logits must be at least ({len(batch.num_frames)}, {num_frames}, {num_columns}, V) to hold "
        "every frame and one column more than tokens of each utterance",
        tuple(logits_BTUV.shape),
    )
    cells = _cells(batch, targets_BU, blank_id, is_packed=False)
    options = _Options(batch.lengths_2B, fastemit, lattice)
    return _loss(logits_BTUV, label_penalty_BTU, cells, options)


def packed_transducer_loss(
    logits_NV: Tensor,
    targets_BU: Tensor,
    frame_lengths_B: Tensor,
    target_lengths_B: Tensor,
    *,
    blank_id: int,
    fastemit: float = 0.0,
    label_penalty: Tensor | None = None,
    lattice: Backend = "auto",
) -> Tensor:
    """Transducer loss of packed logits: no padding, so memory follows the real lengths.

    Utterances follow each other; within one, frame after frame, and within a frame its U + 1
    columns. So cell (t, u) of an utterance that starts at row n is row n + t * (U + 1) + u, and N
    is the sum of T * (U + 1) over utterances.

    Args:
        logits_NV: Joiner outputs, not normalized, of any floating dtype.
        targets_BU: As in `transducer_loss`.
        frame_lengths_B: As in `transducer_loss`.
        target_lengths_B: As in `transducer_loss`.
        blank_id: As in `transducer_loss`.
        fastemit: As in `transducer_loss`.
        label_penalty: (B, T, U), as in `transducer_loss`: padded, for it is small beside the
            logits.
        lattice: As in `transducer_loss`.

    Returns:
        loss_B, as `transducer_loss` does.

    Raises:
        ConfigError: As `transducer_loss` does, or N is not the number of cells.
    """
    _require(logits_NV.ndim == 2, "Packed logits must be (N, V)", tuple(logits_NV.shape))
    batch = _check(logits_NV, targets_BU, frame_lengths_B, target_lengths_B, blank_id)
    num_cells = sum(t * (u + 1) for t, u in zip(batch.num_frames, batch.num_tokens, strict=True))
    _require(
        len(logits_NV) == num_cells,
        f"Packed logits must have {num_cells} rows, the sum of T * (U + 1) over utterances",
        len(logits_NV),
    )
    cells = _cells(batch, targets_BU, blank_id, is_packed=True)
    options = _Options(batch.lengths_2B, fastemit, lattice)
    return _loss(logits_NV.contiguous(), label_penalty, cells, options)


class _Batch(NamedTuple):
    """Lengths of each utterance, checked."""

    num_frames: list[int]
    num_tokens: list[int]
    lengths_2B: Tensor


class _Options(NamedTuple):
    """What the differentiable function needs beside tensors that have gradients."""

    lengths_2B: Tensor
    fastemit: float
    lattice: Backend


def _require(holds: bool, requirement: str, got: object) -> None:
    if not holds:
        raise ConfigError(f"{requirement}, got {got}.")


def _check(
    logits: Tensor,
    targets_BU: Tensor,
    frame_lengths_B: Tensor,
    target_lengths_B: Tensor,
    blank_id: int,
) -> _Batch:
    """Refuse what cannot be a batch."""
    vocabulary = logits.shape[-1]
    _require(logits.is_floating_point(), "Logits must be floating-point", logits.dtype)
    _require(
        targets_BU.ndim == 2 and len(targets_BU) > 0, "Targets must be (B, U)", targets_BU.shape
    )
    _require(not targets_BU.is_floating_point(), "Targets must be integers", targets_BU.dtype)
    lengths_2B = torch.stack([frame_lengths_B.cpu().long(), target_lengths_B.cpu().long()])
    _require(
        lengths_2B.shape == (2, len(targets_BU)),
        f"Frame and target lengths must be one each for the {len(targets_BU)} utterances",
        tuple(lengths_2B.shape[1:]),
    )
    num_frames, num_tokens = lengths_2B.tolist()
    _require(min(num_frames) >= 1, "Each utterance must have at least 1 frame", min(num_frames))
    _require(min(num_tokens) >= 0, "Target lengths must not be negative", min(num_tokens))
    _require(
        max(num_tokens) <= targets_BU.shape[1],
        f"Target lengths must be at most {targets_BU.shape[1]}, the width of the targets",
        max(num_tokens),
    )
    _require(
        0 <= blank_id < vocabulary, f"The blank's id must be in 0 to {vocabulary - 1}", blank_id
    )
    columns_U = torch.arange(targets_BU.shape[1])
    tokens = targets_BU.cpu()[columns_U < lengths_2B[1][:, None]]
    outside = tokens[(tokens < 0) | (tokens >= vocabulary)]
    _require(len(outside) == 0, f"Tokens must be in 0 to {vocabulary - 1}", outside[:5].tolist())
    _require(
        not bool((tokens == blank_id).any()),
        "Tokens must not be blank",
        f"the blank's id {blank_id}",
    )
    return _Batch(num_frames, num_tokens, lengths_2B)


def _cells(batch: _Batch, targets_BU: Tensor, blank_id: int, *, is_packed: bool) -> Cells:
    """Lay out a whole lattice: each of the U + 1 columns has its row of logits."""
    padded_BU = torch.nn.functional.pad(targets_BU.long(), (0, 1), value=blank_id)
    for row_U, num_tokens in zip(padded_BU, batch.num_tokens, strict=True):
        row_U[num_tokens] = blank_id
    num_rows = [num_tokens + 1 for num_tokens in batch.num_tokens]
    targets = [padded_BU[b : b + 1, :rows] for b, rows in enumerate(num_rows)]
    return Cells(batch.num_frames, num_rows, targets, blank_id, is_packed)


def _loss(logits: Tensor, penalty_BTU: Tensor | None, cells: Cells, options: _Options) -> Tensor:
    choose_backend(options.lattice, logits.device)
    if penalty_BTU is not None:
        shape = (len(cells.num_rows), max(cells.num_frames), max(cells.num_rows) - 1)
        _require(
            penalty_BTU.ndim == 3
            and all(size >= least for size, least in zip(penalty_BTU.shape, shape, strict=True)),
            f"Label penalties must be at least {shape}: utterances, frames, tokens",
            tuple(penalty_BTU.shape),
        )
        penalty_BTU = penalty_BTU[:, : shape[1], : shape[2]]
    return _TransducerLoss.apply(logits, penalty_BTU, cells, options)


class _TransducerLoss(torch.autograd.Function):
    """Value by the lattice, gradient by occupancies."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, penalty_BTU: Tensor | None, cells: Cells, options: _Options
    ) -> Tensor:
        blank_BTU, label_BTU = read_arcs(logits, cells)
        if penalty_BTU is not None:
            label_BTU[:, :, :-1] -= penalty_BTU
        lengths = (options.lengths_2B[0], options.lengths_2B[1])
        if not any(ctx.needs_input_grad):
            return -lattice_log_prob(blank_BTU, label_BTU, *lengths, lattice=options.lattice)
        occupancies = lattice_occupancies(blank_BTU, label_BTU, *lengths, lattice=options.lattice)
        ctx.save_for_backward(logits, occupancies.blank_BTU, occupancies.label_BTU)
        ctx.cells, ctx.fastemit = cells, options.fastemit
        return -occupancies.log_prob_B

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_B: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        logits, blank_BTU, label_BTU = ctx.saved_tensors
        gradient_B11 = gradient_B[:, None, None]
        logits_gradient, penalty_gradient_BTU = None, None
        if ctx.needs_input_grad[0]:
            weighted = (blank_BTU * gradient_B11, label_BTU * (gradient_B11 * (1 + ctx.fastemit)))
            logits_gradient = write_gradient(logits, ctx.cells, *weighted)
        if ctx.needs_input_grad[1]:
            penalty_gradient_BTU = label_BTU[:, :, :-1] * gradient_B11
        return logits_gradient, penalty_gradient_BTU, None, None
