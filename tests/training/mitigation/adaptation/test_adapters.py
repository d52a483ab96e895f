# SPDX-License-Identifier: Apache-2.0
"""Adapters begin as nothing, move nothing else, and vanish into the weights."""

import copy

import pytest
import torch
from torch import nn

from evenear.errors import ConfigError
from evenear.nn.batchnorm import MaskedBatchNorm
from evenear.seeding import torch_rng_for
from evenear.training.mitigation.adaptation.adapters import (
    add_adapters,
    freeze,
    hold_statistics,
    merged,
    optimizer_of,
)
from training.mitigation.tone_speakers import write_model


@pytest.fixture
def model(tmp_path):
    return copy.deepcopy(write_model(tmp_path / "model").model)


def encoded(model) -> torch.Tensor:
    rng = torch.Generator().manual_seed(3)
    features_BTF = torch.randn(2, 9, model.encoder.feature_dim, generator=rng)
    found = model.encode(features_BTF, torch.tensor([9, 7]))
    return model.joiner.encoder_proj(found.encoded_BTD).detach()


def test_adapters_change_nothing_at_first(model):
    before = encoded(model)
    add_adapters(model, 4, torch_rng_for(0, "adapters"))
    assert torch.equal(encoded(model), before)


def test_only_adapters_are_trained(model):
    add_adapters(model, 4, torch_rng_for(0, "adapters"))
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained
    assert all("parametrizations" in name for name in trained)


def test_merging_keeps_what_was_learned_in_an_ordinary_model(model):
    names = set(model.state_dict())
    add_adapters(model, 4, torch_rng_for(0, "adapters"))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("up_OR"):
                p.add_(0.1)
    plain = merged(model)
    assert set(plain.state_dict()) == names
    torch.testing.assert_close(encoded(plain), encoded(model))
    assert all(p.requires_grad for p in plain.parameters())


@pytest.mark.parametrize("part", ["encoder", "predictor"])
def test_a_frozen_part_is_not_given_to_the_optimizer(model, part):
    freeze(model, part)
    frozen = {id(p) for p in model.get_submodule(part).parameters()}
    given = {id(p) for group in optimizer_of(model).param_groups for p in group["params"]}
    assert given
    assert not frozen & given


def test_a_part_that_is_none_is_refused(model):
    with pytest.raises(ConfigError, match="encoder or predictor"):
        freeze(model, "joiner")


def test_statistics_are_held_and_the_rest_trains():
    net = nn.ModuleList([MaskedBatchNorm(3), nn.BatchNorm1d(3), nn.Dropout(0.5)]).train()
    hold_statistics(net)
    assert [module.training for module in net] == [False, False, True]
