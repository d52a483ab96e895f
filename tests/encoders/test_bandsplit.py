# SPDX-License-Identifier: Apache-2.0
"""The band-split encoder: every law, and what its bands and masks are of.

Dimensions: B streams, T frames, F feature width, K bands, D width of a band, J frames joined.
"""

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.config import from_json, replace, to_json
from evenear.encoders.bandsplit import BandMasks, BandSplitConfig, BandSplitEncoder
from evenear.encoders.base import Encoder
from evenear.errors import ConfigError
from evenear.models.separator import SeparatorConfig
from laws import (
    chunkings,
    law_batching_strangers_changes_nothing,
    law_chunking_changes_nothing,
    law_padding_changes_nothing,
    law_state_size_is_constant,
    law_step_does_not_touch_its_input,
    law_the_future_is_invisible,
    random_features,
)

laws = settings(deadline=None, max_examples=8, derandomize=True)
TINY = BandSplitConfig(
    joined=3,
    num_bins=8,
    band_bins=2,
    margin_bins=1,
    band_dim=8,
    hidden_dim=6,
    num_layers=2,
    num_heads=2,
    ff_dim=12,
)


@functools.cache
def tiny() -> Encoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return BandSplitEncoder(TINY).eval()


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


@laws
@given(data=st.data(), length=st.integers(0, 30))
def test_chunking_changes_nothing(data, length):
    features_BTF = random_features(length, batch_size=2)
    law_chunking_changes_nothing(tiny(), features_BTF, data.draw(chunkings(length)))


@laws
@given(lengths=st.lists(st.integers(1, 30), min_size=1, max_size=3))
def test_padding_changes_nothing(lengths):
    law_padding_changes_nothing(
        tiny(), random_features(max(lengths), batch_size=len(lengths)), lengths
    )


@laws
@given(heard=st.lists(st.integers(0, 9), min_size=1, max_size=3), frame=st.integers(0, 20))
def test_strangers_and_the_future_change_nothing(heard, frame):
    law_batching_strangers_changes_nothing(
        tiny(), random_features(30, batch_size=len(heard)), heard
    )
    law_the_future_is_invisible(tiny(), random_features(30), frame)


def test_steps_and_states_keep_their_laws():
    law_step_does_not_touch_its_input(tiny(), random_features(30, batch_size=2), heard=12)
    law_state_size_is_constant(tiny(), random_features(30))


def test_a_band_hears_its_bins_and_its_neighbours_in_every_joined_frame():
    encoder = tiny()
    assert isinstance(encoder, BandSplitEncoder)
    features_BTF = torch.arange(3 * 8.0).view(1, 1, 24)  # joined frame j, bin m: 8 j + m
    bands_BTKW = encoder._bands(features_BTF)
    expected = [[8.0 * j + m for j in range(3) for m in range(1, 5)]]
    assert bands_BTKW[0, 0, 1].tolist() == expected[0]
    edge = bands_BTKW[0, 0, 0].view(3, 4)
    assert edge[:, 0].tolist() == [0.0, 0.0, 0.0], "beyond the lowest bin is nothing"
    assert edge[:, 1].tolist() == [0.0, 8.0, 16.0]


def test_bands_differ_in_nothing_but_their_place():
    config = replace(TINY, num_layers=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        encoder = BandSplitEncoder(config).eval()
    encoder.places_KD.zero_()
    same_BTF = torch.full((1, 4, 24), 0.7)
    frames_BTE, _ = encoder.step(same_BTF, encoder.initial_state(1))
    inner_BTKD = frames_BTE.unflatten(2, (4, 8))[:, :, 1:3]
    torch.testing.assert_close(inner_BTKD[:, :, 0], inner_BTKD[:, :, 1])


def test_masks_lie_where_the_encoder_heard_their_bins():
    masks = BandMasks(TINY)
    masks.each.weight.zero_()
    masks.each.bias.copy_(torch.arange(6.0))  # joined frame j, bin w of the band: 2 j + w
    masks.each.weight[:, 0] = 10.0
    bands_BTKD = torch.zeros(1, 1, 4, 8)
    bands_BTKD[0, 0, :, 0] = torch.arange(4.0)
    numbers_JM = masks(bands_BTKD.flatten(2)).view(3, 8)
    for j in range(3):
        for m in range(8):
            assert numbers_JM[j, m] == 10.0 * (m // 2) + 2 * j + m % 2


def test_settings_survive_json_among_other_encoders_and_are_checked():
    separator = SeparatorConfig(mixture=TINY, separation=None, output="gated", joined=3)
    assert from_json(SeparatorConfig, to_json(separator)) == separator
    assert separator.feature_dim == TINY.feature_dim == 24
    with pytest.raises(ConfigError, match="part the bins evenly"):
        replace(TINY, band_bins=3)
    with pytest.raises(ConfigError, match="part a band's width"):
        replace(TINY, num_heads=3)
