# SPDX-License-Identifier: Apache-2.0
"""What a two-channel model says of itself; its laws are held in `test_separator`.

Dimensions: B streams, T frames.
"""

import pytest
import torch

from evenear.config import replace
from evenear.errors import ConfigError
from evenear.models.twotalkers import SeparatorTransducer
from laws import ENCODERS, FEATURES, random_features
from models.test_separator import MODELS


@pytest.mark.parametrize("name", MODELS)
def test_blocks_strides_and_what_is_ahead_follow_from_the_parts(name):
    model = SeparatorTransducer(MODELS[name])
    separator, encoder = model.separator, model.transducer.encoder
    assert model.stride == separator.stride * encoder.stride
    assert model.block_frames % separator.block_frames == 0
    assert model.block_frames % (separator.stride * encoder.block_frames) == 0
    ahead = separator.lookahead_frames + separator.stride * encoder.lookahead_frames
    assert model.lookahead_frames == ahead
    assert model.feature_dim == (FEATURES.dim if separator.gates is not None else model.feature_dim)


@torch.no_grad()
def test_features_are_normalized_before_anything_hears_them():
    model = SeparatorTransducer(MODELS["gated, before a whole transducer"]).eval()
    features_BTF = random_features(12)
    plain = model(features_BTF, torch.tensor([12])).encoded_BTD
    model.mean_F.fill_(2.0)
    model.scale_F.fill_(4.0)
    moved_BTF = features_BTF / 4.0 + 2.0
    torch.testing.assert_close(
        model(moved_BTF, torch.tensor([12])).encoded_BTD, plain, atol=1e-4, rtol=1e-4
    )


def test_a_recognizer_of_other_frames_is_refused():
    gated = MODELS["as in the papers"]
    wide = replace(gated.transducer, encoder=ENCODERS["lstm"])
    with pytest.raises(ConfigError, match="recognition encoder must be as wide"):
        SeparatorTransducer(replace(gated, transducer=wide))
