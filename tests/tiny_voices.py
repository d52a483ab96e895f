# SPDX-License-Identifier: Apache-2.0
"""Small networks of voices with statistics as after some training.

Dimensions: B utterances.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from evenear.encoders.voices.tdnn import TdnnConfig
from evenear.features import FeatureConfig
from evenear.models.speaker import SpeakerConfig, SpeakerModel
from evenear.seeding import torch_rng_for

__all__ = ["FEATURES", "TINY", "settled", "tiny_speaker"]

N = TypeVar("N", bound=nn.Module)

FEATURES = FeatureConfig(num_mel_bins=8, stack=2)
TINY = SpeakerConfig(
    encoder=TdnnConfig(feature_dim=16, stack=2, planes=(3, 4), dim=6, dilations=(1, 2)),
    attention_dim=5,
    pooled_dim=7,
    embedding_dim=9,
)


def settled(build: Callable[[], N], seed: int = 0) -> N:
    """The network in evaluation mode, with random batch statistics."""
    rng = torch_rng_for(seed, "settled")
    with torch.random.fork_rng(devices=[]):
        torch.random.set_rng_state(rng.get_state())
        network = build().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.uniform_(-0.2, 0.2, generator=rng)
            module.running_var.uniform_(0.5, 2.0, generator=rng)
    return network


def tiny_speaker(seed: int = 0) -> SpeakerModel:
    """A random embedding network of 8 mel bins."""
    return settled(lambda: SpeakerModel(TINY), seed)
