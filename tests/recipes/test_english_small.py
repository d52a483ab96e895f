# SPDX-License-Identifier: Apache-2.0
"""Recipes build what their names promise, within the sizes that were agreed."""

import math

import pytest

from evenear.errors import ConfigError
from evenear.models.transducer import Transducer
from evenear.recipes import RECIPES, english_small, recipe
from evenear.training.settings import TrainingConfig


def parameters(settings: TrainingConfig) -> int:
    """Weights of the model at work; the CTC head serves training only."""
    transducer = settings.model.transducer(
        vocabulary_size=settings.data.vocabulary_size, blank_id=0, with_ctc=False
    )
    return sum(p.numel() for p in Transducer(transducer).parameters())


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_called_what_it_is_asked_for_by(name):
    assert recipe(name).name == name


def test_a_misspelled_recipe_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'evenear-en-small'"):
        recipe("evenear-small")


def test_the_shipped_model_stays_small():
    assert parameters(english_small.recipe()) <= 8e6


def test_rivals_are_of_equal_size():
    ratio = parameters(english_small.lstm()) / parameters(english_small.recipe())
    assert abs(math.log(ratio)) < math.log(1.15)


def test_the_tiny_recipe_is_as_small_as_it_says():
    assert parameters(english_small.tiny()) == pytest.approx(0.3e6, rel=0.2)


STORED = [name for name in RECIPES if hasattr(recipe(name), "data")]
"""Recipes that store frames; those of two talkers mix sound, and have tests of their own."""


LEARNED = [name for name in RECIPES if hasattr(recipe(name), "optimizer")]
"""Recipes that learn by updates; others are solved for at once."""


@pytest.mark.parametrize("name", STORED)
def test_no_recipe_reads_the_test_split(name):
    assert "test" in recipe(name).data.excluded_splits


@pytest.mark.parametrize("name", LEARNED)
def test_every_recipe_reaches_its_learning_rate_and_leaves_it_again(name):
    settings = recipe(name)
    schedule = settings.optimizer
    rates = [schedule.rate(u, settings.num_updates) for u in range(1, settings.num_updates + 1)]
    assert max(rates) == schedule.peak_rate
    assert rates[-1] < 0.1 * schedule.peak_rate


@pytest.mark.parametrize("name", LEARNED)
def test_every_recipe_evaluates_and_saves_before_it_ends(name):
    settings = recipe(name)
    assert settings.evaluate_every < settings.num_updates
    assert settings.snapshot_every < settings.num_updates


@pytest.mark.parametrize("name", STORED)
def test_the_encoder_listens_to_the_features_that_are_stored(name):
    settings = recipe(name)
    assert settings.model.encoder.feature_dim == settings.data.store.features.dim
