# SPDX-License-Identifier: Apache-2.0
"""Clusters of points in which nobody is in a crowd of too few.

k-means on vectors of length 1 (so that the nearest center is the one most alike in direction), many
starts, best kept. A cluster below the minimum size is dissolved: its center goes, its members join
the nearest that is left, the smallest cluster first. What is left are centers; a point belongs to
the nearest.

Legend: S points, D numbers of each, K clusters.

Source: S. Lloyd, "Least squares quantization in PCM", 1982; D. Arthur and S. Vassilvitskii,
"k-means++: the advantages of careful seeding", 2007; scikit-learn.
"""

import numpy as np

from evenear.errors import MissingDependencyError

__all__ = ["cluster", "nearest", "plane", "scaled"]

_NUM_STARTS = 4


def scaled(vectors_SD: np.ndarray, shift_D: np.ndarray, scale_D: np.ndarray) -> np.ndarray:
    """Shift and scale vectors, then bring each to length 1."""
    moved_SD = (vectors_SD - shift_D) * scale_D
    lengths_S1 = np.linalg.norm(moved_SD, axis=1, keepdims=True)
    return moved_SD / np.maximum(lengths_S1, 1e-12)


def nearest(points_SD: np.ndarray, centers_KD: np.ndarray) -> np.ndarray:
    """Row of the nearest center of each point."""
    return np.argmin((centers_KD**2).sum(axis=1) - 2.0 * points_SD @ centers_KD.T, axis=1)


def plane(points_SD: np.ndarray) -> tuple[tuple[float, ...], ...]:
    """The two directions in which points differ most; each points to its larger numbers."""
    centered_SD = points_SD - points_SD.mean(axis=0)
    _, _, axes = np.linalg.svd(centered_SD.T @ centered_SD, hermitian=True)
    axes_2D = np.zeros((2, points_SD.shape[1]))
    axes_2D[: min(2, len(axes))] = axes[:2]
    largest = np.abs(axes_2D).argmax(axis=1)
    signs = np.where(axes_2D[np.arange(2), largest] < 0, -1.0, 1.0)
    return tuple(tuple(axis.tolist()) for axis in axes_2D * signs[:, None])


def cluster(
    points_SD: np.ndarray, num_clusters: int, min_points: int, rng: np.random.Generator
) -> np.ndarray:
    """Centers (K, D) of at most `num_clusters` clusters, each nearest to enough points.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    try:
        from sklearn.cluster import KMeans
    except ImportError:
        raise MissingDependencyError(
            "Clustering voices needs scikit-learn, which is not installed.",
            hint="pip install 'evenear[audit]'",
        ) from None
    distinct = len(np.unique(points_SD, axis=0))
    found = KMeans(
        n_clusters=min(num_clusters, distinct),
        n_init=_NUM_STARTS,  # pyright: ignore[reportArgumentType]
        random_state=int(rng.integers(2**31)),
    ).fit(points_SD)
    centers_KD = np.asarray(found.cluster_centers_, dtype=np.float64)
    while len(centers_KD) > 1:
        sizes_K = np.bincount(nearest(points_SD, centers_KD), minlength=len(centers_KD))
        smallest = int(sizes_K.argmin())
        if sizes_K[smallest] >= min_points:
            break
        centers_KD = np.delete(centers_KD, smallest, axis=0)
    return centers_KD
