# SPDX-License-Identifier: Apache-2.0
"""Recipes of two talkers build models that go on from one another."""

import pytest
import torch

from evenear.checkpoint.folders import shipped_models
from evenear.config import from_json, replace, to_json
from evenear.models.separator import Separator
from evenear.recipes import duo
from evenear.training.runs.twotalkers import begin_with
from evenear.training.tasks.separator import TwoTalkerConfig


@pytest.mark.parametrize("name", ["recipe", "hearing", "turns", "tiny"])
def test_recipes_survive_json(name):
    config = getattr(duo, name)()
    assert from_json(TwoTalkerConfig, to_json(config)) == config


def test_the_separator_is_small_and_all_stages_have_the_same_weights():
    first, later = duo.recipe().separator, duo.turns().separator
    assert duo.hearing().separator == later
    assert later.activity == replace(first.activity, where_both="gated")
    assert replace(later, activity=first.activity) == first
    with torch.device("meta"):
        separator = Separator(duo.recipe().separator, 80)
    assert sum(p.numel() for p in separator.parameters()) < 1_000_000


@pytest.mark.skipif("evenear-en" not in shipped_models(), reason="not shipped")
@pytest.mark.parametrize("name", ["recipe", "tiny"])
def test_a_recipe_fits_the_recognizer_that_it_begins_with(name):
    config = getattr(duo, name)()
    settings, model, _ = begin_with(config, config.begins_with)
    assert settings.transducer_of == "evenear-en"
    block = model.transducer.encoder.block_frames
    assert model.block_frames == block, "gates never wait longer than the recognizer does"
