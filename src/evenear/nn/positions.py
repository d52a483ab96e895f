# SPDX-License-Identifier: Apache-2.0
"""Where a frame stands: sinusoidal positions, to be added to what it says.

Source: Vaswani et al. 2017, arXiv:1706.03762; in the order of Radford et al. 2022 (Whisper),
arXiv:2212.04356.
"""

import torch
from torch import Tensor

__all__ = ["sinusoids"]


def sinusoids(length: int, dim: int) -> Tensor:
    """Whisper's positions, (length, dim): sines of falling frequencies, then their cosines."""
    half = dim // 2
    rates = 10_000.0 ** -(torch.arange(half, dtype=torch.float64) / max(half - 1, 1))
    angles = torch.arange(length, dtype=torch.float64)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()
