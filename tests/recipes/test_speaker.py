# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from evenear.config import from_json, to_json
from evenear.models.moments import MomentsModel
from evenear.models.speaker import SpeakerModel
from evenear.recipes import speaker

RECIPES = (
    speaker.recipe,
    speaker.frames,
    speaker.continued,
    speaker.resnet,
    speaker.tiny,
)


@pytest.mark.parametrize("recipe", RECIPES)
def test_networks_fit_the_features_that_are_stored(recipe):
    config = recipe()
    features = config.data.store.features
    assert config.model.encoder.feature_dim == features.dim
    assert config.model.encoder.stack == features.stack


@pytest.mark.parametrize("recipe", RECIPES)
def test_settings_survive_json(recipe):
    config = recipe()
    assert from_json(type(config), to_json(config)) == config


def test_the_shipped_size_is_about_a_million_parameters():
    with torch.device("meta"):
        model = MomentsModel(speaker.recipe().model)
        frames = SpeakerModel(speaker.frames().model)
    assert 0.6e6 < sum(p.numel() for p in model.parameters()) < 0.7e6
    assert 0.9e6 < sum(p.numel() for p in frames.parameters()) < 1.1e6
