# SPDX-License-Identifier: Apache-2.0
"""Runs that differ by nothing but the weights.

Dimensions: B utterances, X numbers of an utterance.
"""

import inspect

import numpy as np
import pytest

from evenear.reproduction.reweighting.learning import (
    CONTROLS,
    LABELS,
    VARIANTS,
    LearningConfig,
    learn,
)
from evenear.seeding import rng_for

QUICK = LearningConfig(
    num_updates=24,
    warmup_updates=4,
    num_speakers=8,
    hidden_dim=16,
    embedding_dim=8,
    num_regions=4,
    epoch_updates=8,
)


def people(num_speakers=10, num_each=6, dim=12, seed=0):
    rng = rng_for(seed, "people")
    centers = rng.standard_normal((num_speakers, 1, dim))
    numbers = centers + 0.5 * rng.standard_normal((num_speakers, num_each, dim))
    who_B = np.repeat(np.arange(num_speakers), num_each)
    return numbers.reshape(-1, dim).astype(np.float32), who_B


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_learns_unit_vectors(name):
    numbers_BX, who_B = people()
    learned = learn(numbers_BX, who_B, VARIANTS[name], QUICK, seed=0)
    vectors = learned.embed(numbers_BX)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    same = who_B[:, None] == who_B[None]
    scores = vectors @ vectors.T
    assert scores[same].mean() > scores[~same].mean() + 0.2


def test_a_seed_decides_everything():
    one, same, other = (
        learn(*people(), VARIANTS["pl"], QUICK, seed=seed).embed(people()[0]) for seed in (0, 0, 1)
    )
    assert np.array_equal(one, same)
    assert not np.allclose(one, other)


def test_variants_agree_until_the_adversary_speaks():
    """Before the warm-up ends, a variant is its control to the bit."""
    still = LearningConfig(**{**QUICK.__dict__, "warmup_updates": 24})
    for name, control in CONTROLS.items():
        if control == "baseline" or name == "pw-row":
            continue  # another mean weight; another share of rows
        one, two = (
            learn(*people(), VARIANTS[which], still, seed=0).embed(people()[0])
            for which in (name, control)
        )
        assert np.array_equal(one, two)


def test_a_run_is_given_no_attribute_of_anybody():
    assert set(inspect.signature(learn).parameters) == {
        "numbers_BX",
        "speakers_B",
        "objective",
        "settings",
        "seed",
    }


def test_every_variant_has_a_name_and_every_control_is_one():
    assert set(LABELS) == set(VARIANTS)
    assert set(CONTROLS) | set(CONTROLS.values()) == set(VARIANTS)


def test_the_adversary_can_be_asked_about_anyone():
    learned = learn(*people(), VARIANTS["pw"], QUICK, seed=0)
    scores_B = learned.adversary_scores(people()[0])
    assert scores_B.shape == (60,)
    assert ((scores_B > 0) & (scores_B < 1)).all()
    assert learned.weights is not None
