# SPDX-License-Identifier: Apache-2.0
"""Attention decoders of a few weights, whose every weight matters.

Dimensions: T frames, F width of a frame.
"""

import torch
from torch import Tensor

from evenear.config import replace
from evenear.models.rescorer import Rescorer, RescorerConfig
from evenear.seeding import torch_rng_for

__all__ = ["SETTINGS", "random_frames", "tiny_rescorer"]

SETTINGS = RescorerConfig(
    frame_dim=7,
    dim=12,
    num_heads=3,
    num_layers=2,
    ff_dim=20,
    vocabulary_size=15,
    start=(1, 2),
    end_id=0,
    max_pieces=24,
)


@torch.no_grad()
def tiny_rescorer(*, seed: int = 0, **changes) -> Rescorer:
    """One in evaluation mode, from `SETTINGS` and these changes."""
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(seed)
        model = Rescorer(replace(SETTINGS, **changes)).eval()
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.mul_(50.0 if name == "positions_UD" else 1.5)
            else:
                weight.add_(0.2 * torch.randn_like(weight))
    return model


def random_frames(num_frames: int, *, width: int = SETTINGS.frame_dim, seed: int = 0) -> Tensor:
    """Projected frames (T, F) that no speech made."""
    return torch.randn(num_frames, width, generator=torch_rng_for(seed, "projected frames"))
