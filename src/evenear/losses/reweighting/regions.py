# SPDX-License-Identifier: Apache-2.0
"""Regions of an embedding space: k-means with careful seeds.

The first center is drawn at random, each further one with a probability that grows with the square
of the distance to the nearest center so far. Then points go to their nearest center and centers to
the mean of their points, until nothing moves. A center without points stays where it is.

Legend: B points, D width, K regions.

Source: Arthur and Vassilvitskii 2007, k-means++; Lloyd 1982.
"""

import torch
from torch import Tensor

from evenear.errors import ConfigError

__all__ = ["fit_regions", "nearest_region"]

_MOST_ROUNDS = 50


def fit_regions(points_BD: Tensor, num_regions: int, rng: torch.Generator) -> Tensor:
    """Centers (K, D) of regions that points fall into.

    Raises:
        ConfigError: There are fewer points than regions.
    """
    if len(points_BD) < num_regions:
        raise ConfigError(
            f"{num_regions} regions need as many points, got {len(points_BD)}.",
            hint="Ask for fewer regions.",
        )
    points_BD = points_BD.detach()
    centers_KD = _seeds(points_BD, num_regions, rng)
    regions_B = nearest_region(points_BD, centers_KD)
    for _ in range(_MOST_ROUNDS):
        counts_K = torch.bincount(regions_B, minlength=num_regions)
        sums_KD = torch.zeros_like(centers_KD).index_add_(0, regions_B, points_BD)
        is_empty_K1 = (counts_K == 0)[:, None]
        means_KD = sums_KD / counts_K.clamp_min(1)[:, None]
        centers_KD = torch.where(is_empty_K1, centers_KD, means_KD)
        moved_B = nearest_region(points_BD, centers_KD)
        if torch.equal(moved_B, regions_B):
            break
        regions_B = moved_B
    return centers_KD


def nearest_region(points_BD: Tensor, centers_KD: Tensor) -> Tensor:
    """Number of the nearest center of each point, (B,)."""
    return torch.cdist(points_BD, centers_KD).argmin(dim=1)


def _seeds(points_BD: Tensor, num_regions: int, rng: torch.Generator) -> Tensor:
    first = int(torch.randint(len(points_BD), (), generator=rng))
    chosen = [points_BD[first]]
    squares_B = (points_BD - chosen[0]).square().sum(dim=1)
    for _ in range(num_regions - 1):
        # Where all points are on centers already, any will do.
        chances_B = squares_B if squares_B.sum() > 0 else torch.ones_like(squares_B)
        chosen.append(points_BD[int(torch.multinomial(chances_B, 1, generator=rng))])
        squares_B = torch.minimum(squares_B, (points_BD - chosen[-1]).square().sum(dim=1))
    return torch.stack(chosen)
