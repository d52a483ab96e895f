# SPDX-License-Identifier: Apache-2.0
"""Fisher's linear discriminants: directions in which classes lie far apart and are narrow.

    maximize  (a' Between a) / (a' Within a),   Within = (1 - s) W + s diag(W)

W is the mean covariance within classes, Between that of the classes' means, each class counting
once; examples may weigh differently in W and in the means. Directions are scaled so that within
classes all of them vary alike.

Legend: B examples, X their numbers, C classes, D directions.

Source: Fisher 1936; Rao 1948. Our reading: shrinkage towards the diagonal, since there may be fewer
examples than numbers.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from evenear.errors import ConfigError

__all__ = ["discriminants"]


def discriminants(
    numbers_BX: NDArray[np.floating],
    classes_B: NDArray[np.integer],
    dim: int,
    *,
    weights_B: NDArray[np.floating] | None = None,
    shrinkage: float = 0.5,
) -> NDArray[np.float64]:
    """The best directions (D, X), best first.

    Args:
        numbers_BX: Examples.
        classes_B: Their classes, as numbers from 0, none of them empty.
        dim: How many directions D.
        weights_B: How much each example counts, above 0; None: all alike.
        shrinkage: How far the covariance within classes is moved towards its diagonal, 0 to 1.

    Raises:
        ConfigError: There are not more classes than directions, or fewer numbers.
    """
    numbers_BX = np.asarray(numbers_BX, np.float64)
    weights_B = np.ones(len(numbers_BX)) if weights_B is None else weights_B
    totals_C = np.bincount(classes_B, weights_B)
    num_classes, width = len(totals_C), numbers_BX.shape[1]
    if dim >= num_classes or dim > width:
        raise ConfigError(
            f"{dim} directions need more classes (speakers) and as many numbers, got "
            f"{num_classes} and {width}.",
            hint="Give more speakers, or --set model.embedding_dim=…",
        )
    means_CX = np.zeros((num_classes, width))
    np.add.at(means_CX, classes_B, weights_B[:, None] * numbers_BX)
    means_CX /= totals_C[:, None]
    within_BX = numbers_BX - means_CX[classes_B]
    within_XX = within_BX.T @ (weights_B[:, None] * within_BX) / weights_B.sum()
    diagonal_X = np.diag(within_XX)
    within_XX = (1 - shrinkage) * within_XX + np.diag(
        shrinkage * diagonal_X + 1e-6 * diagonal_X.mean()
    )
    apart_CX = means_CX - means_CX.mean(axis=0)
    between_XX = apart_CX.T @ apart_CX / num_classes
    _, vectors_XD = linalg.eigh(between_XX, within_XX, subset_by_index=[width - dim, width - 1])
    return np.ascontiguousarray(vectors_XD[:, ::-1].T)
