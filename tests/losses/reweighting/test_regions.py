# SPDX-License-Identifier: Apache-2.0
"""k-means against planted regions, its definition, and scikit-learn.

Dimensions: B points, D width, K regions.
"""

import pytest
import torch
from sklearn.cluster import KMeans

from evenear.errors import ConfigError
from evenear.losses.reweighting.regions import fit_regions, nearest_region
from evenear.seeding import torch_rng_for


def blobs(num_regions=4, num_each=30, dim=3, spread=0.05):
    rng = torch_rng_for(0, "blobs")
    centers_KD = torch.randn(num_regions, dim, generator=rng) * 3
    noise = torch.randn(num_regions, num_each, dim, generator=rng) * spread
    return (centers_KD[:, None] + noise).flatten(0, 1), centers_KD


def inertia(points_BD, centers_KD):
    return float(torch.cdist(points_BD, centers_KD).amin(dim=1).square().sum())


def test_planted_regions_are_found():
    points_BD, planted_KD = blobs()
    centers_KD = fit_regions(points_BD, 4, torch_rng_for(1, "fit"))
    apart_KK = torch.cdist(planted_KD, centers_KD)
    assert (apart_KK.amin(dim=1) < 0.05).all()
    assert sorted(apart_KK.argmin(dim=1).tolist()) == [0, 1, 2, 3]


def test_each_center_is_the_mean_of_its_points():
    points_BD = torch.randn(200, 4, generator=torch_rng_for(2, "points"))
    centers_KD = fit_regions(points_BD, 6, torch_rng_for(3, "fit"))
    regions_B = nearest_region(points_BD, centers_KD)
    for k in range(6):
        torch.testing.assert_close(centers_KD[k], points_BD[regions_B == k].mean(dim=0))


def test_the_best_of_ten_is_as_good_as_that_of_scikit_learn():
    points_BD = torch.randn(300, 3, generator=torch_rng_for(4, "points"))
    ours = min(
        inertia(points_BD, fit_regions(points_BD, 5, torch_rng_for(5, "fit", n))) for n in range(10)
    )
    theirs = KMeans(5, n_init=10, random_state=0).fit(points_BD.numpy()).inertia_
    assert ours <= 1.02 * theirs


def test_equal_points_do_no_harm():
    centers_KD = fit_regions(torch.ones(10, 2), 3, torch_rng_for(0, "fit"))
    assert torch.equal(centers_KD, torch.ones(3, 2))


def test_more_regions_than_points_are_refused():
    with pytest.raises(ConfigError, match="as many points"):
        fit_regions(torch.randn(3, 2), 4, torch_rng_for(0, "fit"))
