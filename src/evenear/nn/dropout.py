# SPDX-License-Identifier: Apache-2.0
"""Dropout that hits a channel for the whole of an utterance.

One mask serves all frames, so drawing it costs next to nothing; with a mask for each frame, drawing
took a quarter of the training time of a small Conformer on a CPU.

Legend: B utterances, T frames, D width.

Source: masks shared over time, Gal and Ghahramani 2016, arXiv:1512.05287.
"""

from torch import Tensor, nn

__all__ = ["SharedDropout"]


class SharedDropout(nn.Module):
    """Dropout with one mask for all frames of an utterance.

    Args:
        chance: Chance that a channel is dropped while training; those kept are scaled up.
    """

    def __init__(self, chance: float) -> None:
        super().__init__()
        self.chance = chance

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Drop channels while training; afterwards return what came."""
        if not self.training or self.chance == 0.0:
            return x_BTD
        keep = 1.0 - self.chance
        mask_B1D = x_BTD.new_empty(x_BTD.shape[0], 1, x_BTD.shape[2]).bernoulli_(keep)
        return x_BTD * (mask_B1D / keep)
