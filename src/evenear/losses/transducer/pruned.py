# SPDX-License-Identifier: Apache-2.0
"""The transducer loss on a narrow band of the lattice, so that a large vocabulary fits in memory.

At each frame only few token positions are plausible. First a joiner that just adds encoder and
predictor outputs is trained with `simple_transducer_loss`: its normalizer is one matrix product, so
no (T, U + 1, V) tensor ever exists. Its occupancies tell `prune_ranges` which S positions matter at
each frame; only there the real joiner runs, on the predictor outputs of `window`, and
`pruned_transducer_loss` sums over the paths that stay inside.

Dimensions: B utterances, T frames, U tokens (a lattice has U + 1 columns), S columns of a window,
D width, V vocabulary, P places where a window may start, R rows of logits.

Source: Kuang et al. 2022, Pruned RNN-T for fast, memory-efficient ASR training, arXiv 2206.13236.
Departs from the paper: the windows are the best sequence that a path can follow, found by dynamic
programming, where the paper takes the best window of each frame and repairs the sequence
afterwards; and the average predictor of the smoothing is each utterance's own, so that a loss does
not depend on who else is in the batch.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from evenear.losses.transducer.arcs import Cells, Settings, arc_loss
from evenear.losses.transducer.checks import Batch, check_batch, check_penalty, require
from evenear.losses.transducer.lattice import (
    Backend,
    Occupancies,
    choose_backend,
    lattice_occupancies,
)

__all__ = [
    "SimpleLoss",
    "prune_ranges",
    "pruned_transducer_loss",
    "simple_transducer_loss",
    "window",
]


class SimpleLoss(NamedTuple):
    """The loss of the additive joiner, and where its paths go."""

    loss_B: Tensor
    """Minus the log-probability of each utterance's tokens, in nats; differentiable."""
    occupancies: Occupancies
    """How likely a path takes each arc; for `prune_ranges`, not differentiable."""


def simple_transducer_loss(
    encoded_BTV: Tensor,
    predicted_BUV: Tensor,
    targets_BU: Tensor,
    frame_lengths_B: Tensor,
    target_lengths_B: Tensor,
    *,
    blank_id: int,
    predictor_scale: float = 0.0,
    encoder_scale: float = 0.0,
    lattice: Backend = "auto",
) -> SimpleLoss:
    """Transducer loss of the joiner encoded + predicted, smoothed if wanted.

    Smoothing replaces each arc's log-probability by
        (1 - predictor_scale - encoder_scale) * joint + predictor_scale * of the predictor alone
        + encoder_scale * of the encoder and the utterance's average predictor.

    Args:
        encoded_BTV: Encoder outputs projected to the vocabulary.
        predicted_BUV: Predictor outputs projected to the vocabulary, U + 1 of them.
        targets_BU: As in `transducer_loss`.
        frame_lengths_B: As in `transducer_loss`.
        target_lengths_B: As in `transducer_loss`.
        blank_id: As in `transducer_loss`.
        predictor_scale: Weight of the predictor alone.
        encoder_scale: Weight of the encoder with an average predictor.
        lattice: As in `transducer_loss`.

    Returns:
        Losses and occupancies. With both scales 0, exactly the loss of the logits
        encoded_BTV[:, :, None] + predicted_BUV[:, None].

    Raises:
        ConfigError: Shapes, lengths or ids do not fit, or the scales are not in 0 to 1 together.
    """
    batch = check_batch(
        encoded_BTV, targets_BU, frame_lengths_B, target_lengths_B, blank_id=blank_id
    )
    num_frames, num_columns = max(batch.num_frames), max(batch.num_tokens) + 1
    _check_outputs("Encoder", encoded_BTV, batch, (num_frames, encoded_BTV.shape[-1]))
    _check_outputs("Predictor", predicted_BUV, batch, (num_columns, encoded_BTV.shape[-1]))
    scales = (predictor_scale, encoder_scale)
    requirement = "Smoothing scales must not be negative, nor more than 1 together"
    require(min(scales) >= 0 and sum(scales) <= 1, requirement, scales)
    dtype = torch.promote_types(encoded_BTV.dtype, torch.float32)
    encoded_BTV = encoded_BTV[:, :num_frames].to(dtype)
    predicted_BUV = predicted_BUV[:, :num_columns].to(dtype)
    joint_scale = 1 - predictor_scale - encoder_scale
    parts = [(joint_scale, _joint_arcs(encoded_BTV, predicted_BUV, batch))]
    if predictor_scale:
        parts.append((predictor_scale, _predictor_arcs(predicted_BUV, batch)))
    if encoder_scale:
        parts.append((encoder_scale, _encoder_arcs(encoded_BTV, predicted_BUV, batch)))
    blank_BTU = sum((scale * blank for scale, (blank, _) in parts), torch.zeros(()))
    label_BTU = sum((scale * label for scale, (_, label) in parts), torch.zeros(()))
    lengths = (torch.tensor(batch.num_frames), torch.tensor(batch.num_tokens))
    backend = choose_backend(lattice, encoded_BTV.device)
    loss_B, *occupied = _LatticeLoss.apply(blank_BTU, label_BTU, *lengths, backend)
    return SimpleLoss(loss_B, Occupancies(-loss_B.detach(), *occupied))


def prune_ranges(
    occupancies: Occupancies,
    frame_lengths_B: Tensor,
    target_lengths_B: Tensor,
    *,
    num_columns: int,
) -> Tensor:
    """Choose, for each frame, the window of columns that keeps the most paths.

    A window's worth is the chance to leave the frame from inside, less the chance to have come in
    across its lower edge. Windows begin at column 0, never go down, overlap from frame to frame,
    and end with the last column; of all such sequences, the one of the largest total worth is
    taken.

    Args:
        occupancies: As `simple_transducer_loss` returns them.
        frame_lengths_B: Frames of each utterance.
        target_lengths_B: Tokens of each utterance.
        num_columns: Columns of a window, S. An utterance with fewer columns gets them all.

    Returns:
        starts_BT: The first column of each window, int64; in the padding, that of the last frame.

    Raises:
        ConfigError: The windows are too narrow to climb through all tokens within the frames.
    """
    _check_climb(frame_lengths_B.tolist(), target_lengths_B.tolist(), num_columns)
    device = occupancies.blank_BTU.device
    frame_lengths_B = frame_lengths_B.to(device)
    last_B = (target_lengths_B.to(device) + 1 - num_columns).clamp(min=0)
    worth_BTP = _window_worth(occupancies, num_columns)
    num_starts = worth_BTP.shape[-1]
    starts_P = torch.arange(num_starts, device=device)
    best_BP = worth_BTP[:, 0].masked_fill(starts_P > 0, float("-inf"))
    came_from = []
    for t in range(1, worth_BTP.shape[1]):
        padded_BP = torch.nn.functional.pad(best_BP, (num_columns - 1, 0), value=float("-inf"))
        reached_BP, offset_BP = padded_BP.unfold(-1, num_columns, 1).max(-1)
        came_from.append((offset_BP + starts_P - (num_columns - 1)).clamp(min=0))
        best_BP = reached_BP + worth_BTP[:, t]
    chosen = [last_B]
    for t in range(len(came_from), 0, -1):
        earlier_B = came_from[t - 1].gather(-1, chosen[-1][:, None])[:, 0]
        chosen.append(torch.where(frame_lengths_B > t, earlier_B, chosen[-1]))
    return torch.stack(chosen[::-1], dim=1)


def window(predicted_BUD: Tensor, starts_BT: Tensor, *, num_columns: int) -> Tensor:
    """The predictor outputs of each frame's window, for the joiner.

    Args:
        predicted_BUD: Predictor outputs, U + 1 of them.
        starts_BT: As `prune_ranges` returns them.
        num_columns: As given to `prune_ranges`.

    Returns:
        predicted_BTSD. A window that reaches beyond the last column repeats it; the loss does not
        read these rows.
    """
    columns_BTS = starts_BT[:, :, None] + torch.arange(num_columns, device=starts_BT.device)
    columns_BTS = columns_BTS.clamp(max=predicted_BUD.shape[1] - 1)
    utterances_B11 = torch.arange(len(starts_BT), device=starts_BT.device)[:, None, None]
    return predicted_BUD[utterances_B11, columns_BTS]


def pruned_transducer_loss(
    logits_BTSV: Tensor,
    starts_BT: Tensor,
    targets_BU: Tensor,
    frame_lengths_B: Tensor,
    target_lengths_B: Tensor,
    *,
    blank_id: int,
    fastemit: float = 0.0,
    label_penalty_BTU: Tensor | None = None,
    lattice: Backend = "auto",
) -> Tensor:
    """Transducer loss over the paths that stay inside the windows.

    Never below `transducer_loss` of the whole lattice, and equal to it if S is U + 1.

    Args:
        logits_BTSV: Joiner outputs in the windows, not normalized, of any floating dtype.
        starts_BT: First column of each window, as `prune_ranges` returns them.
        targets_BU: As in `transducer_loss`.
        frame_lengths_B: As in `transducer_loss`.
        target_lengths_B: As in `transducer_loss`.
        blank_id: As in `transducer_loss`.
        fastemit: As in `transducer_loss`.
        label_penalty_BTU: As in `transducer_loss`; u counts columns of the lattice.
        lattice: As in `transducer_loss`.

    Returns:
        loss_B, as `transducer_loss` does.

    Raises:
        ConfigError: Shapes, lengths or ids do not fit, or no path fits through the windows.
    """
    shape = tuple(logits_BTSV.shape)
    require(len(shape) == 4, "Logits must be (B, T, S, V)", shape)
    batch = check_batch(
        logits_BTSV, targets_BU, frame_lengths_B, target_lengths_B, blank_id=blank_id
    )
    least = (len(batch.num_frames), max(batch.num_frames))
    fits = shape[0] == least[0] and shape[1] >= least[1]
    require(fits, f"Logits must be at least {least} times window and vocabulary", shape)
    got = tuple(starts_BT.shape)
    fits = len(got) == 2 and got[0] == least[0] and got[1] >= least[1]
    require(fits, f"Window starts must be at least {least}", got)
    cells = _windowed_lattice(batch, starts_BT, shape[2])
    settings = Settings(fastemit=fastemit, lattice=choose_backend(lattice, logits_BTSV.device))
    return arc_loss(logits_BTSV, check_penalty(label_penalty_BTU, batch), cells, settings)


class _LatticeLoss(torch.autograd.Function):
    """The loss as a function of arc scores."""

    @staticmethod
    def forward(
        ctx: Any,
        blank_BTU: Tensor,
        label_BTU: Tensor,
        frame_lengths_B: Tensor,
        target_lengths_B: Tensor,
        lattice: Backend,
    ) -> tuple[Tensor, Tensor, Tensor]:
        scratch = (blank_BTU.clone(), label_BTU.clone())
        lengths = (frame_lengths_B, target_lengths_B)
        log_prob_B, *occupied = lattice_occupancies(*scratch, *lengths, lattice=lattice)
        ctx.save_for_backward(*occupied)
        ctx.mark_non_differentiable(*occupied)
        return -log_prob_B, occupied[0], occupied[1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        blank_BTU, label_BTU = ctx.saved_tensors
        gradient_B11 = gradients[0][:, None, None]
        return -blank_BTU * gradient_B11, -label_BTU * gradient_B11, None, None, None


_Arcs = tuple[Tensor, Tensor]


def _joint_arcs(encoded_BTV: Tensor, predicted_BUV: Tensor, batch: Batch) -> _Arcs:
    """Log-probabilities of the sum of encoder and predictor outputs."""
    total_BTU = _log_matmul_exp(encoded_BTV, predicted_BUV)
    blank_BTU = encoded_BTV[:, :, None, batch.blank_id] + predicted_BUV[:, None, :, batch.blank_id]
    label_BTU = _next_by_frame(encoded_BTV, batch) + _next_by_column(predicted_BUV, batch)
    return blank_BTU - total_BTU, label_BTU - total_BTU


def _predictor_arcs(predicted_BUV: Tensor, batch: Batch) -> _Arcs:
    """Log-probabilities of the predictor alone, the same at each frame."""
    log_probs_BUV = predicted_BUV.log_softmax(-1)
    return log_probs_BUV[:, None, :, batch.blank_id], _next_by_column(log_probs_BUV, batch)


def _encoder_arcs(encoded_BTV: Tensor, predicted_BUV: Tensor, batch: Batch) -> _Arcs:
    """Log-probabilities of the encoder and an average predictor, the same at each column."""
    lengths_B1 = torch.tensor(batch.num_tokens, device=predicted_BUV.device)[:, None] + 1
    columns_U = torch.arange(predicted_BUV.shape[1], device=predicted_BUV.device)
    log_probs_BUV = predicted_BUV.log_softmax(-1)
    log_probs_BUV = log_probs_BUV.masked_fill((columns_U >= lengths_B1)[:, :, None], float("-inf"))
    average_BV = log_probs_BUV.logsumexp(1)
    log_probs_BTV = (encoded_BTV + average_BV[:, None]).log_softmax(-1)
    return log_probs_BTV[:, :, None, batch.blank_id], _next_by_frame(log_probs_BTV, batch)


def _next_by_frame(values_BTV: Tensor, batch: Batch) -> Tensor:
    """What each frame says of the token that each column emits next, (B, T, U + 1)."""
    index_BTU = batch.targets_BU[:, None].expand(-1, values_BTV.shape[1], -1)
    return values_BTV.gather(-1, index_BTU)


def _next_by_column(values_BUV: Tensor, batch: Batch) -> Tensor:
    """What each column says of the token that it emits next, (B, 1, U + 1)."""
    return values_BUV.gather(-1, batch.targets_BU[:, :, None])[:, None, :, 0]


def _log_matmul_exp(encoded_BTV: Tensor, predicted_BUV: Tensor) -> Tensor:
    """Log of the summed exponentials of encoded + predicted, as a product of matrices.

    In float64, where terms must be 700 nats below the sum of the two maxima to be lost.
    """
    dtype = torch.float32 if encoded_BTV.device.type == "mps" else torch.float64
    encoded_max_BT1 = encoded_BTV.detach().amax(-1, keepdim=True)
    predicted_max_BU1 = predicted_BUV.detach().amax(-1, keepdim=True)
    encoded_BTV = (encoded_BTV - encoded_max_BT1).to(dtype).exp()
    predicted_BUV = (predicted_BUV - predicted_max_BU1).to(dtype).exp()
    total_BTU = (encoded_BTV @ predicted_BUV.mT).log() + encoded_max_BT1 + predicted_max_BU1.mT
    return total_BTU.to(encoded_max_BT1.dtype)


def _check_outputs(part: str, values: Tensor, batch: Batch, least: tuple[int, int]) -> None:
    got = tuple(values.shape)
    fits = len(got) == 3 and got[0] == len(batch.num_frames) and got[1] >= least[0]
    requirement = f"{part} outputs must be at least {(len(batch.num_frames), *least)}"
    require(fits and got[2] == least[1], requirement, got)


def _check_climb(num_frames: list[int], num_tokens: list[int], num_columns: int) -> None:
    require(num_columns >= 1, "A window must have at least 1 column", num_columns)
    for frames, tokens in zip(num_frames, num_tokens, strict=True):
        require(
            frames * (num_columns - 1) >= tokens,
            f"{frames} windows of {num_columns} columns, each overlapping the next, must reach "
            f"column {tokens}",
            frames * (num_columns - 1),
            hint="Widen the windows, or leave out utterances with so many tokens.",
        )


def _window_worth(occupancies: Occupancies, num_columns: int) -> Tensor:
    """The worth of a window at each frame by its first column, (B, T, number of first columns)."""
    columns = occupancies.blank_BTU.shape[-1]
    num_starts = max(columns - num_columns, 0) + 1
    summed_BTU = torch.nn.functional.pad(occupancies.blank_BTU.double().cumsum(-1), (1, 0))
    width = min(num_columns, columns)
    inside_BTP = summed_BTU[..., width:] - summed_BTU[..., : columns + 1 - width]
    entered_BTU = torch.nn.functional.pad(occupancies.label_BTU.double(), (1, 0))
    return inside_BTP - entered_BTU[..., :num_starts]


def _windowed_lattice(batch: Batch, starts_BT: Tensor, num_columns: int) -> Cells:
    """Each frame has logits for some consecutive columns of the lattice."""
    num_rows, columns, targets = [], [], []
    for b, (frames, tokens) in enumerate(zip(batch.num_frames, batch.num_tokens, strict=True)):
        rows = min(num_columns, tokens + 1)
        starts_T = starts_BT[b, :frames].long()
        _check_starts(starts_T, rows, tokens + 1 - rows)
        columns_TR = starts_T[:, None] + torch.arange(rows, device=starts_T.device)
        num_rows.append(rows)
        columns.append(columns_TR)
        targets.append(batch.targets_BU[b][columns_TR])
    return Cells(
        num_frames=batch.num_frames,
        num_tokens=batch.num_tokens,
        num_rows=num_rows,
        targets=targets,
        columns=columns,
        blank_id=batch.blank_id,
        is_packed=False,
    )


def _check_starts(starts_T: Tensor, num_rows: int, last: int) -> None:
    """Refuse windows that no path fits through."""
    steps_T = starts_T.diff()
    follows = bool(((steps_T >= 0) & (steps_T < num_rows)).all())
    require(
        follows and int(starts_T[0]) == 0 and int(starts_T[-1]) == last,
        f"Windows of {num_rows} columns must begin at 0, never go down, overlap, and end at {last}",
        f"starts {starts_T.tolist()}",
        hint="Take them from `prune_ranges`.",
    )
