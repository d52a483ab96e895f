# SPDX-License-Identifier: Apache-2.0
"""When a recognizer would emit the tokens of a text that is known.

Legend: B one utterance, T frames, U tokens or columns of a lattice, D width, V vocabulary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from evenear.losses.transducer.alignment import best_alignment
from evenear.models.transducer import Transducer

__all__ = ["emission_frames"]


@torch.inference_mode()
def emission_frames(
    model: Transducer, projected_TD: Tensor, tokens: Sequence[int]
) -> tuple[int, ...]:
    """The encoder frame of each token on the most probable path of one utterance.

    Args:
        model: The recognizer, in evaluation mode.
        projected_TD: The utterance's encoder frames, projected for the joiner.
        tokens: What was said.
    """
    targets_BU, logits_TUV = _lattice(model, projected_TD, tokens)
    log_probs_TUV = logits_TUV.log_softmax(dim=2).double()
    label_TU = log_probs_TUV[:, torch.arange(len(tokens)), targets_BU[0]]
    blank_TU = log_probs_TUV[:, :, model.blank_id]
    return best_alignment(blank_TU.numpy(), label_TU.numpy()).frames


def _lattice(
    model: Transducer, projected_TD: Tensor, tokens: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """The tokens as targets of a batch of one, and the logits of each frame after each of them."""
    targets_BU = torch.tensor([tokens], dtype=torch.int64).reshape(1, len(tokens))
    predicted_BUD = model.predict(targets_BU)
    return targets_BU, model.joiner(projected_TD[:, None], predicted_BUD[0, None])
