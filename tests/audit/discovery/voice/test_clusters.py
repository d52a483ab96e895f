# SPDX-License-Identifier: Apache-2.0
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.audit.discovery.voice.clusters import cluster, nearest, plane, scaled
from evenear.errors import MissingDependencyError


def points(number=300, kinds=5, spread=0.3, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.integers(kinds, size=number)
    middles = rng.normal(size=(kinds, 8))
    raw = middles[rows] + spread * rng.normal(size=(number, 8))
    return scaled(raw, raw.mean(axis=0), 1.0 / raw.std(axis=0)), rows


def test_scaled_vectors_have_length_one_and_zeros_stay():
    vectors = np.array([[1.0, 2.0], [5.0, -4.0], [3.0, 3.0]])
    found = scaled(vectors, np.array([3.0, 3.0]), np.array([1.0, 0.5]))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1.0, 1.0, 0.0])


def test_nearest_is_nearest():
    rng = np.random.default_rng(0)
    points_SD, centers_KD = rng.normal(size=(50, 4)), rng.normal(size=(6, 4))
    apart = np.linalg.norm(points_SD[:, None] - centers_KD, axis=2)
    np.testing.assert_array_equal(nearest(points_SD, centers_KD), apart.argmin(axis=1))


def test_clear_clusters_are_found():
    points_SD, rows = points()
    found = nearest(points_SD, cluster(points_SD, 5, 10, np.random.default_rng(0)))
    for kind in range(5):
        assert len(set(found[rows == kind])) == 1


@settings(max_examples=15)
@given(st.integers(2, 80), st.integers(2, 12), st.integers(1, 25), st.integers(0, 99))
def test_nobody_is_in_a_crowd_of_too_few(number, wanted, least, seed):
    points_SD, _ = points(number, kinds=4, spread=1.0, seed=seed)
    centers_KD = cluster(points_SD, wanted, least, np.random.default_rng(seed))
    sizes = np.bincount(nearest(points_SD, centers_KD), minlength=len(centers_KD))
    assert 1 <= len(centers_KD) <= wanted
    assert sizes.min() >= least or len(centers_KD) == 1


def test_fewer_places_than_clusters_are_no_trouble():
    points_SD = np.repeat(np.eye(3), 10, axis=0)
    assert len(cluster(points_SD, 8, 2, np.random.default_rng(0))) == 3


def test_the_same_generator_gives_the_same_centers():
    points_SD, _ = points(spread=1.0)
    one, other = (cluster(points_SD, 7, 5, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_the_plane_shows_most_of_the_variance():
    points_SD, _ = points(spread=1.0)
    axes = np.array(plane(points_SD))
    np.testing.assert_allclose(axes @ axes.T, np.eye(2), atol=1e-9)
    shown = (points_SD @ axes.T).var(axis=0)
    most = np.linalg.eigvalsh(np.cov(points_SD.T, ddof=0))[::-1][:2]
    np.testing.assert_allclose(shown, most, rtol=1e-9)


def test_a_line_has_a_plane_too():
    assert np.array(plane(np.linspace(-1, 1, 20)[:, None])).shape == (2, 1)


def test_without_scikit_learn_the_error_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(MissingDependencyError, match=r"evenear\[audit\]"):
        cluster(np.eye(4), 2, 1, np.random.default_rng(0))
