# SPDX-License-Identifier: Apache-2.0
"""The recipes of `evenear-en` fit each other and the encoder that they begin with."""

import pytest

from evenear.config import from_json, to_json
from evenear.encoders.transformer import TransformerConfig, TransformerEncoder
from evenear.recipes import recipe
from evenear.recipes.english import heads, tuned
from evenear.training.settings import TrainingConfig


def test_the_encoder_has_the_shape_of_whisper_tiny():
    encoder = recipe("evenear-en").model.encoder
    assert isinstance(encoder, TransformerConfig)
    assert sum(p.numel() for p in TransformerEncoder(encoder).parameters()) == 7_632_384
    assert encoder.feature_dim == recipe("evenear-en").data.store.features.dim


@pytest.mark.parametrize("later", [heads, tuned])
def test_later_stages_train_the_same_model_on_the_same_frames(later):
    first, second = recipe("evenear-en"), later()
    assert first.model == second.model
    assert first.data.store == second.data.store
    assert second.objective.distillation_weight == 0.0


def test_recipes_survive_json():
    for name in ("evenear-en", "evenear-en-heads", "evenear-en-tuned"):
        assert from_json(TrainingConfig, to_json(recipe(name))) == recipe(name)
