# SPDX-License-Identifier: Apache-2.0
"""The residual network of voices obeys the laws of encoders.

Dimensions: B streams, T frames, F feature width, D width.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import laws
from evenear.encoders.voices.resnet import ResNet, ResNetConfig
from evenear.errors import ConfigError
from evenear.seeding import torch_rng_for
from tiny_voices import settled

TINY = {
    "time strides": ResNetConfig(feature_dim=32, stack=4, planes=(2, 3, 4), blocks=(1, 2, 1)),
    "no time strides": ResNetConfig(feature_dim=12, stack=1, planes=(3, 4), blocks=(2, 1)),
}


def encoder(name: str) -> ResNet:
    return settled(lambda: ResNet(TINY[name]))


def features(name, num_frames=14, batch_size=3):
    rng = torch_rng_for(1, "voices")
    return torch.randn(batch_size, num_frames, TINY[name].feature_dim, generator=rng)


@pytest.mark.parametrize("name", TINY)
@given(chunks=laws.chunkings(14))
@torch.no_grad()
def test_chunking_changes_nothing(name, chunks):
    laws.law_chunking_changes_nothing(encoder(name), features(name), chunks)


@pytest.mark.parametrize("name", TINY)
@torch.no_grad()
def test_padding_and_strangers_change_nothing(name):
    laws.law_padding_changes_nothing(encoder(name), features(name), [14, 6, 1])
    laws.law_batching_strangers_changes_nothing(encoder(name), features(name), [4, 0, 7])


@pytest.mark.parametrize("name", TINY)
@given(frame=st.integers(0, 13))
@torch.no_grad()
def test_the_future_is_invisible(name, frame):
    laws.law_the_future_is_invisible(encoder(name), features(name), frame)


@pytest.mark.parametrize("name", TINY)
@torch.no_grad()
def test_a_step_does_not_touch_its_state_and_the_state_does_not_grow(name):
    laws.law_step_does_not_touch_its_input(encoder(name), features(name), 9)
    laws.law_state_size_is_constant(encoder(name), features(name, num_frames=8))


@pytest.mark.parametrize(
    "wrong", [{"stack": 3}, {"stack": 16}, {"blocks": (1, 2)}, {"feature_dim": 30, "stack": 4}]
)
def test_strides_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ConfigError):
        ResNetConfig(**wrong)
