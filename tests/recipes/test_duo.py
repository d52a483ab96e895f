# SPDX-License-Identifier: Apache-2.0
"""Recipes of two talkers build models that go on from one another."""

import pytest
import torch

from evenear.config import from_json, to_json
from evenear.models.separator import Separator
from evenear.recipes import duo
from evenear.training.tasks.separator import TwoTalkerConfig


@pytest.mark.parametrize("name", ["recipe", "turns", "tiny"])
def test_recipes_survive_json(name):
    config = getattr(duo, name)()
    assert from_json(TwoTalkerConfig, to_json(config)) == config


def test_the_separator_is_small_and_both_stages_have_the_same():
    assert duo.turns().separator == duo.recipe().separator
    with torch.device("meta"):
        separator = Separator(duo.recipe().separator, 192)
    assert sum(p.numel() for p in separator.parameters()) < 1_500_000
