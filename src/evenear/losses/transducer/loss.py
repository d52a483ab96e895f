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

Source: Graves 2012, Sequence Transduction with Recurrent Neural Networks, arXiv 1211.3711, and Yu
et al. 2020, FastEmit, arXiv 2010.11148. Follows the papers.
"""

from torch import Tensor

from evenear.losses.transducer.arcs import Cells, Settings, arc_loss
from evenear.losses.transducer.checks import check_batch, check_penalty, require
from evenear.losses.transducer.lattice import Backend, choose_backend

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
        loss_B: -log P(tokens | audio) of each utterance, in nats. Infinite, with gradient 0, if no
            alignment is possible.

    Raises:
        ConfigError: Shapes or lengths do not fit each other, or a token is not in the vocabulary.
    """
    shape = tuple(logits_BTUV.shape)
    require(len(shape) == 4, "Logits must be (B, T, U + 1, V)", shape)
    batch = check_batch(
        logits_BTUV, targets_BU, frame_lengths_B, target_lengths_B, blank_id=blank_id
    )
    least = (len(batch.num_frames), max(batch.num_frames), max(batch.num_tokens) + 1)
    require(
        shape[0] == least[0] and shape[1] >= least[1] and shape[2] >= least[2],
        f"Logits must be at least {least} times the vocabulary, to hold the frames and one column "
        "more than the tokens of each utterance",
        shape,
    )
    penalty_BTU = check_penalty(label_penalty_BTU, batch)
    cells = Cells(batch, logits_BTUV)
    return arc_loss(logits_BTUV, penalty_BTU, cells, _settings(logits_BTUV, fastemit, lattice))


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
    require(logits_NV.ndim == 2, "Packed logits must be (N, V)", tuple(logits_NV.shape))
    batch = check_batch(logits_NV, targets_BU, frame_lengths_B, target_lengths_B, blank_id=blank_id)
    num_cells = sum(t * (u + 1) for t, u in zip(batch.num_frames, batch.num_tokens, strict=True))
    requirement = f"Packed logits must have {num_cells} rows, the sum of T * (U + 1)"
    require(len(logits_NV) == num_cells, requirement, len(logits_NV))
    penalty_BTU = check_penalty(label_penalty, batch)
    settings = _settings(logits_NV, fastemit, lattice)
    return arc_loss(logits_NV.contiguous(), penalty_BTU, Cells(batch, logits_NV), settings)


def _settings(logits: Tensor, fastemit: float, lattice: Backend) -> Settings:
    return Settings(fastemit=fastemit, lattice=choose_backend(lattice, logits.device))
