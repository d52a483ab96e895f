# SPDX-License-Identifier: Apache-2.0
"""Discriminants against another implementation, and by what they are defined by.

Dimensions: B examples, X numbers, C classes, D directions.
"""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from evenear.errors import ConfigError
from evenear.seeding import rng_for
from evenear.training.discriminants import discriminants


def examples(num_classes=6, each=30, width=5):
    """Classes of one shape, at random places."""
    rng = rng_for(0, "classes")
    mixing_XX = rng.standard_normal((width, width))
    means_CX = 2.0 * rng.standard_normal((num_classes, width))
    classes_B = np.repeat(np.arange(num_classes), each)
    noise_BX = rng.standard_normal((len(classes_B), width)) @ mixing_XX
    return means_CX[classes_B] + noise_BX, classes_B


def test_without_shrinkage_they_span_what_scikit_learn_finds():
    numbers_BX, classes_B = examples()
    found_DX = discriminants(numbers_BX, classes_B, 3, shrinkage=0.0)
    known = LinearDiscriminantAnalysis(solver="eigen").fit(numbers_BX, classes_B)
    for found_X, known_X in zip(found_DX, known.scalings_.T, strict=False):
        cosine = found_X @ known_X / np.linalg.norm(found_X) / np.linalg.norm(known_X)
        assert abs(cosine) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("shrinkage", [0.0, 0.5, 1.0])
def test_classes_vary_by_one_and_directions_do_not_repeat_each_other(shrinkage):
    numbers_BX, classes_B = examples()
    found_DX = discriminants(numbers_BX, classes_B, 3, shrinkage=shrinkage)
    means_CX = np.stack([numbers_BX[classes_B == c].mean(axis=0) for c in range(6)])
    apart_BX = numbers_BX - means_CX[classes_B]
    within_XX = apart_BX.T @ apart_BX / len(apart_BX)
    shrunk_XX = (1 - shrinkage) * within_XX + shrinkage * np.diag(np.diag(within_XX))
    np.testing.assert_allclose(found_DX @ shrunk_XX @ found_DX.T, np.eye(3), atol=1e-4)
    between = np.diag(found_DX @ np.cov(means_CX.T) @ found_DX.T)
    assert (np.diff(between) < 0).all()


def test_a_weight_of_two_is_an_example_twice():
    numbers_BX, classes_B = examples()
    weights_B = np.where(np.arange(len(classes_B)) % 3 == 0, 2.0, 1.0)
    counts_B = weights_B.astype(int)
    twice_DX = discriminants(np.repeat(numbers_BX, counts_B, 0), np.repeat(classes_B, counts_B), 3)
    found_DX = discriminants(numbers_BX, classes_B, 3, weights_B=weights_B)
    signs_D1 = np.sign((found_DX * twice_DX).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found_DX, signs_D1 * twice_DX, atol=1e-6)


def test_fewer_examples_than_numbers_are_enough_with_shrinkage():
    numbers_BX, classes_B = examples(num_classes=4, each=3, width=40)
    assert np.isfinite(discriminants(numbers_BX, classes_B, 3)).all()


def test_too_many_directions_are_refused():
    numbers_BX, classes_B = examples(num_classes=4)
    with pytest.raises(ConfigError, match="more classes"):
        discriminants(numbers_BX, classes_B, 4)
