# SPDX-License-Identifier: Apache-2.0
"""When tokens come, and what is heard while nobody speaks on a channel.

A late end of turn is punished by making its arc less probable, frame by frame:

    log P(end of turn | frame t)  -=  clamp(alpha * (t - buffer - true end), 0, most)

and the result goes to the transducer loss as its label penalty. A channel on which nobody speaks
is to hand on nothing: its encoder frames are drawn to zero,

    masking loss of an utterance = mean over silent frames and dimensions of (h_t,d) ** 2

Legend: B utterances, T frames, U tokens, D width.

Source: Sklyar, Piunova, Osendorfer 2022, Separator-Transducer-Segmenter, arXiv:2205.05199,
sections 2.3 and 2.4; the penalty after Li et al. 2020, arXiv:2004.11544.
Departs from the paper: the penalty is clamped at `most` nats. Without a limit a token that was
missed has no probability left in any later frame, and the loss of such an alignment has no end:
the authors could not use the penalty with FastEmit for that reason.
Our reading: sum or mean is not said of the masking loss; we take the mean.
"""

import torch
from torch import Tensor

from evenear.errors import ConfigError
from evenear.units import Frames

__all__ = ["late_end_penalty", "masking_loss"]


def late_end_penalty(
    targets_BU: Tensor,
    true_ends_BU: Tensor,
    num_frames: Frames,
    *,
    eot_id: int,
    alpha: float = 1.0,
    buffer_frames: int = 5,
    most: float = 20.0,
) -> Tensor:
    """What to subtract from label arcs: (B, T, U), 0 except for late ends of turns.

    Args:
        targets_BU: Tokens.
        true_ends_BU: For each end of turn, the frame in which its speech ends; else anything.
        num_frames: Frames T of the lattice.
        eot_id: The token that ends turns.
        alpha: Nats for each frame that it is late.
        buffer_frames: Frames after the true end that cost nothing.
        most: Greatest penalty.

    Raises:
        ConfigError: A weight or a limit is below 0.
    """
    for name, value in (("alpha", alpha), ("buffer_frames", buffer_frames), ("most", most)):
        if value < 0:
            raise ConfigError(f"{name} must be at least 0, got {value}.")
    frames_T = torch.arange(num_frames, device=targets_BU.device)
    late_BTU = frames_T[None, :, None] - buffer_frames - true_ends_BU[:, None, :]
    penalty_BTU = (alpha * late_BTU).clamp(min=0.0, max=most).float()
    return penalty_BTU * (targets_BU == eot_id)[:, None, :]


def masking_loss(encoded_BTD: Tensor, silent_BT: Tensor) -> Tensor:
    """Mean square (B,) of the frames in which nobody speaks; 0 where there are none.

    Args:
        encoded_BTD: Frames of one channel of each utterance.
        silent_BT: True on real frames without speech on that channel.
    """
    squares_BT = encoded_BTD.float().square().mean(dim=2)
    count_B = silent_BT.sum(dim=1).clamp(min=1)
    return (squares_BT * silent_BT).sum(dim=1) / count_B
