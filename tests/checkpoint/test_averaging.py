# SPDX-License-Identifier: Apache-2.0
"""The mean of weights, and what cannot be averaged."""

from dataclasses import replace

import pytest
import torch

from evenear.checkpoint import Bundle
from evenear.checkpoint.averaging import average_models
from evenear.config import set_path
from evenear.errors import CheckpointError, ConfigError
from evenear.features import FeatureConfig
from evenear.models.transducer import Transducer
from evenear.search import BeamConfig, LexiconConfig
from laws import FEATURES, tiny_tokenizer, tiny_transducer


def bundle(encoder: str = "convrnn", seed: int = 0) -> Bundle:
    return Bundle(
        words=None,
        word_search=LexiconConfig(),
        model=tiny_transducer(encoder, seed=seed),
        features=FEATURES,
        tokenizer=tiny_tokenizer(),
        card="",
        language_model=None,
        search=BeamConfig(width=1),
        name=f"{encoder}-{seed}",
    )


def test_each_weight_is_the_mean_of_the_models_that_stay_as_they_are():
    bundles = [bundle(seed=seed) for seed in range(3)]
    before = {name: t.clone() for name, t in bundles[0].model.state_dict().items()}
    mean = average_models(bundles).state_dict()
    for name, tensor in mean.items():
        stacked = torch.stack([b.model.state_dict()[name] for b in bundles])
        torch.testing.assert_close(tensor, stacked.mean(dim=0))
    assert all(torch.equal(t, before[name]) for name, t in bundles[0].model.state_dict().items())


def test_a_model_averaged_with_itself_is_itself():
    one = bundle()
    mean = average_models([one, one]).state_dict()
    assert all(torch.equal(t, mean[name]) for name, t in one.model.state_dict().items())


def test_stages_that_dropped_more_and_less_are_averaged():
    one = bundle()
    other = Transducer(set_path(one.model.config, "encoder.lstm.dropout=0.4"))
    other.load_state_dict(one.model.state_dict())
    mean = average_models([one, replace(one, model=other)]).state_dict()
    assert all(torch.equal(t, mean[name]) for name, t in one.model.state_dict().items())


def test_strangers_are_not_averaged():
    one = bundle()
    with pytest.raises(CheckpointError, match="convrnn-0 and lstm-0 differ in their shape"):
        average_models([one, bundle("lstm")])
    other = replace(one, features=FeatureConfig(num_mel_bins=20))
    with pytest.raises(CheckpointError, match="differ in their features"):
        average_models([one, other])
    with pytest.raises(ConfigError, match="two models or more, got 1"):
        average_models([one])
