# SPDX-License-Identifier: Apache-2.0
"""Runs that differ by nothing but the weights.

Dimensions: B utterances, X numbers of an utterance.
"""

import inspect

import numpy as np
import pytest

from evenear.config import replace
from evenear.reproduction.reweighting.learning import (
    CONTROLS,
    LABELS,
    TRUTH,
    VARIANTS,
    LearningConfig,
    learn,
    learn_knowing,
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
        if control == "baseline" or name in ("pw-row", TRUTH):
            continue  # another mean weight; another share of rows; another's weights
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
    assert set(LABELS) == {*VARIANTS, TRUTH}
    assert set(CONTROLS) | set(CONTROLS.values()) == {*VARIANTS, TRUTH}


def test_the_adversary_can_be_asked_about_anyone():
    learned = learn(*people(), VARIANTS["pw"], QUICK, seed=0)
    scores_B = learned.adversary_scores(people()[0])
    assert scores_B.shape == (60,)
    assert ((scores_B > 0) & (scores_B < 1)).all()
    assert learned.weights is not None


def test_known_weights_lower_the_loss_of_those_who_weigh_more():
    numbers_BX, who_B = people()
    is_chosen_B = who_B < 3
    losses = {}
    for weight in (1.0, 20.0):
        known_B = np.where(is_chosen_B, weight, 1.0).astype(np.float32)
        settings = replace(QUICK, num_updates=60, hidden_dim=4, embedding_dim=3)
        learned = learn_knowing(numbers_BX, who_B, known_B, settings, seed=0)
        losses[weight] = np.nanmean(learned.losses_B[is_chosen_B])
    assert losses[20.0] < losses[1.0]


def test_a_weight_of_one_for_all_is_the_constant_control():
    numbers_BX, who_B = people()
    known_B = np.ones(len(who_B), np.float32)
    known = learn_knowing(numbers_BX, who_B, known_B, QUICK, seed=0)
    control = learn(numbers_BX, who_B, VARIANTS["constant"], QUICK, seed=0)
    np.testing.assert_array_equal(known.embed(numbers_BX), control.embed(numbers_BX))
