# SPDX-License-Identifier: Apache-2.0
"""The small network of voices obeys the laws of encoders.

Dimensions: B streams, T frames, F feature width, D width.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import laws
from evenear.encoders.voices.tdnn import Tdnn, TdnnConfig
from evenear.errors import ConfigError
from evenear.seeding import torch_rng_for
from tiny_voices import settled

TINY = TdnnConfig(feature_dim=16, stack=2, planes=(3, 4), dim=6, dilations=(1, 2))
HEARD = 12
"""Frames that a frame depends on, itself included: 1 + 2 (planes) + 2 + 4, rounded up."""


def encoder() -> Tdnn:
    return settled(lambda: Tdnn(TINY))


def features(num_frames=30, batch_size=3):
    rng = torch_rng_for(1, "voices")
    return torch.randn(batch_size, num_frames, 16, generator=rng)


@given(laws.chunkings(30))
@torch.no_grad()
def test_chunking_changes_nothing(chunks):
    laws.law_chunking_changes_nothing(encoder(), features(), chunks)


@torch.no_grad()
def test_padding_and_strangers_change_nothing():
    laws.law_padding_changes_nothing(encoder(), features(), [30, 17, 1])
    laws.law_batching_strangers_changes_nothing(encoder(), features(), [4, 0, 11])


@given(st.integers(0, 29))
@torch.no_grad()
def test_the_future_is_invisible(frame):
    laws.law_the_future_is_invisible(encoder(), features(), frame)


@torch.no_grad()
def test_a_step_does_not_touch_its_state_and_the_state_does_not_grow():
    laws.law_step_does_not_touch_its_input(encoder(), features(), 9)
    laws.law_state_size_is_constant(encoder(), features(num_frames=8))


@torch.no_grad()
def test_frames_far_in_the_past_are_forgotten():
    """Only the pooling remembers more than the convolutions hear."""
    first_BTD, _ = encoder().step(features(), encoder().initial_state(3))
    changed = features()
    changed[:, :10] += 1.0
    second_BTD, _ = encoder().step(changed, encoder().initial_state(3))
    torch.testing.assert_close(first_BTD[:, 10 + HEARD :], second_BTD[:, 10 + HEARD :])


def test_the_width_is_that_of_all_blocks_together():
    assert encoder().dim == 12
    assert encoder().output_lengths(torch.tensor([5])).tolist() == [5]


def test_features_that_cannot_be_parted_are_refused():
    with pytest.raises(ConfigError, match="stacked"):
        TdnnConfig(feature_dim=15, stack=2)
