# SPDX-License-Identifier: Apache-2.0
"""A pretrained encoder that hears whole utterances teaches one that hears them block by block.

    distance = mean over frames of  mean over width (student - teacher)^2 + (1 - cosine) / 2

The teacher is frozen and hears clean sound; the student hears the same sound with noise and masks,
in blocks of a length and from a position drawn at random. No transcript is needed. A mask of blocks
put on a pretrained encoder without this makes it deaf.

Legend: B utterances, T frames, F feature width, D width.

Source: the sum of both distances after QuentinFuxa/Qwen3-ASR-causal (its published log). The
teacher lifts quiet frames as Whisper does, arXiv:2212.04356: to 8 below the clip's maximum.
"""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from evenear.encoders.base import Encoded
from evenear.encoders.transformer import TransformerEncoder

__all__ = ["Teacher", "distances"]

_RANGE = 8.0 / 4.0
"""Whisper keeps 8 (base-10) below the maximum, and divides by 4."""


class Teacher:
    """An encoder that is not trained any more.

    Args:
        encoder: A pretrained encoder of the student's width.
    """

    def __init__(self, encoder: TransformerEncoder) -> None:
        self.encoder = encoder.eval().requires_grad_(False)

    @torch.no_grad()
    def encode(self, clean_BTF: Tensor, lengths_B: Tensor) -> Tensor:
        """What the teacher makes of whole utterances, (B, T, D)."""
        places_T = torch.arange(clean_BTF.shape[1], device=clean_BTF.device)
        valid_BT = places_T < lengths_B[:, None]
        loudest_B = clean_BTF.masked_fill(~valid_BT[:, :, None], -torch.inf).amax(dim=(1, 2))
        lifted_BTF = clean_BTF.maximum((loudest_B - _RANGE)[:, None, None])
        return self.encoder.encode_unbounded(lifted_BTF, valid_BT)

    def distances(self, student: Encoded, clean_BTF: Tensor, lengths_B: Tensor) -> Tensor:
        """How far a student's frames are from the teacher's, for each utterance (B,)."""
        return distances(student, self.encode(clean_BTF, lengths_B))


def distances(student: Encoded, teacher_BTD: Tensor) -> Tensor:
    """Mean squared error and half a cosine distance, meaned over the real frames (B,)."""
    encoded_BTD, wanted_BTD = student.encoded_BTD.float(), teacher_BTD.float()
    squared_BT = (encoded_BTD - wanted_BTD).square().mean(dim=2)
    turned_BT = 0.5 * (1.0 - F.cosine_similarity(encoded_BTD, wanted_BTD, dim=2))
    places_T = torch.arange(encoded_BTD.shape[1], device=encoded_BTD.device)
    valid_BT = places_T < student.lengths_B[:, None]
    total_B = (squared_BT + turned_BT).masked_fill(~valid_BT, 0.0).sum(dim=1)
    return total_B / student.lengths_B.clamp_min(1)
