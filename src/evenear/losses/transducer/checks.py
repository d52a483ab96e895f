# SPDX-License-Identifier: Apache-2.0
"""Refusing batches that no transducer loss can mean anything for.

A wrong length would not crash: the loss would read padding, or leave words out, and training would
go on. So each loss checks its batch once, at its edge.

Dimensions: B utterances, T frames, U tokens, V vocabulary.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from evenear.errors import ConfigError

__all__ = ["Batch", "check_batch", "check_penalty", "require"]


class Batch(NamedTuple):
    """What to recognize and how long it is, checked."""

    targets_BU: Tensor
    """Token ids, one column wider than the longest utterance; the blank in the padding."""
    num_frames: list[int]
    num_tokens: list[int]
    blank_id: int


def require(holds: bool, requirement: str, got: object, *, hint: str | None = None) -> None:
    """Raise a `ConfigError` that says what was required and what came, unless it holds."""
    if not holds:
        raise ConfigError(f"{requirement}, got {got}.", hint=hint)


def check_batch(
    logits: Tensor,
    targets_BU: Tensor,
    frame_lengths_B: Tensor,
    target_lengths_B: Tensor,
    *,
    blank_id: int,
) -> Batch:
    """Check targets and lengths against each other, and tokens against the vocabulary.

    Args:
        logits: Any tensor whose last dimension is the vocabulary.
        targets_BU: Token ids, padded with anything.
        frame_lengths_B: Frames of each utterance.
        target_lengths_B: Tokens of each utterance.
        blank_id: Id of the blank.

    Returns:
        The batch, its padding replaced by the blank.

    Raises:
        ConfigError: Shapes, lengths or ids do not fit.
    """
    vocabulary = logits.shape[-1]
    require(logits.is_floating_point(), "Logits must be floating-point", logits.dtype)
    shape = tuple(targets_BU.shape)
    require(len(shape) == 2 and shape[0] > 0, "Targets must be (utterances, tokens)", shape)
    require(not targets_BU.is_floating_point(), "Targets must be integers", targets_BU.dtype)
    for name, lengths_B in (("Frame", frame_lengths_B), ("Target", target_lengths_B)):
        got = tuple(lengths_B.shape)
        require(got == shape[:1], f"{name} lengths must be one for each of {shape[0]} targets", got)
        require(not lengths_B.is_floating_point(), f"{name} lengths must be integers", lengths_B)
    num_frames, num_tokens = frame_lengths_B.tolist(), target_lengths_B.tolist()
    require(
        min(num_frames) >= 1,
        "Each utterance must have at least 1 frame",
        min(num_frames),
        hint="Leave out utterances shorter than the encoder's stride.",
    )
    require(min(num_tokens) >= 0, "Target lengths must not be negative", min(num_tokens))
    fits = max(num_tokens) <= shape[1]
    require(fits, f"Target lengths must be at most {shape[1]}, as targets go", max(num_tokens))
    require(0 <= blank_id < vocabulary, f"The blank's id must be below {vocabulary}", blank_id)
    targets_BU = _clean(targets_BU, target_lengths_B, blank_id)
    _check_tokens(targets_BU, sum(num_tokens), blank_id, vocabulary)
    return Batch(targets_BU, num_frames, num_tokens, blank_id)


def check_penalty(label_penalty_BTU: Tensor | None, batch: Batch) -> Tensor | None:
    """Check penalties against a batch, and cut them to it.

    Args:
        label_penalty_BTU: A penalty for each frame and token, or None.
        batch: What to fit it to.

    Returns:
        The penalty, exactly (B, T, U).

    Raises:
        ConfigError: There are too few penalties.
    """
    if label_penalty_BTU is None:
        return None
    least = (len(batch.num_frames), max(batch.num_frames), max(batch.num_tokens))
    got = tuple(label_penalty_BTU.shape)
    fits = len(got) == 3 and got[0] == least[0] and got[1] >= least[1] and got[2] >= least[2]
    require(fits, f"Label penalties must be at least {least}: utterances, frames, tokens", got)
    return label_penalty_BTU[:, : least[1], : least[2]]


def _clean(targets_BU: Tensor, target_lengths_B: Tensor, blank_id: int) -> Tensor:
    """Put the blank wherever there is no token, and in one more column."""
    lengths_B1 = target_lengths_B.to(targets_BU.device)[:, None]
    targets_BU = torch.nn.functional.pad(targets_BU.long(), (0, 1))[:, : int(lengths_B1.max()) + 1]
    columns_U = torch.arange(targets_BU.shape[1], device=targets_BU.device)
    return targets_BU.masked_fill(columns_U >= lengths_B1, blank_id)


def _check_tokens(targets_BU: Tensor, num_tokens: int, blank_id: int, vocabulary: int) -> None:
    """Refuse ids that are not tokens. In clean targets, the padding is blank and nothing else."""
    outside = targets_BU[(targets_BU < 0) | (targets_BU >= vocabulary)]
    require(len(outside) == 0, f"Tokens must be in 0 to {vocabulary - 1}", outside[:5].tolist())
    num_blanks = num_tokens - int((targets_BU != blank_id).sum())
    require(num_blanks == 0, f"Targets must not hold the blank's id {blank_id}", f"{num_blanks}")
