# SPDX-License-Identifier: Apache-2.0
"""What ran, block by block."""

import numpy as np
import pytest
import torch

from evenear.errors import ConfigError
from evenear.features import extract
from evenear.streaming import Recognizer
from evenear.streaming.ear import Ear
from evenear.streaming.explain import PARTS, Explained, explain, off_rates
from laws import random_sound, tiny_bundle

SOUND = random_sound(2.0)


@pytest.mark.parametrize("name", ["gated-blocks", "gated-thrifty"])
def test_it_tells_what_a_stream_spends(name):
    recognizer = Recognizer(tiny_bundle(name))
    encoder, bundle = recognizer.model.encoder, recognizer.bundle
    seen = explain(recognizer, SOUND, 0.5)
    num_frames = len(seen.spent_K) * encoder.block_frames
    features_TF = torch.from_numpy(extract(SOUND, bundle.features)[:num_frames])
    with torch.no_grad():
        normed_1TF = recognizer.model.normalize(features_TF[None])
        _, state = encoder.step(normed_1TF, encoder.ask(encoder.initial_state(1), 0.5))
    assert seen.compute == pytest.approx(float(encoder.spent(state)))
    assert seen.on_LKP.shape == (2, len(seen.spent_K), len(PARTS))
    assert 0.02 < seen.on_LKP.mean() < 0.98
    assert seen.asked == 0.5


@pytest.mark.parametrize("share", [0.3, 0.75])
def test_it_tells_what_a_stream_that_hears_sparingly_spends(share):
    recognizer = Recognizer(tiny_bundle("gated-sparing"))
    encoder, bundle = recognizer.model.encoder, recognizer.bundle
    seen = explain(recognizer, SOUND, share)
    block = encoder.block_frames
    features_TF = torch.from_numpy(extract(SOUND, bundle.features)[: len(seen.spent_K) * block])
    hearing = Ear(recognizer.model).sparing
    with torch.no_grad():
        state = hearing.initial_state(share)
        for block_1TF in recognizer.model.normalize(features_TF[None]).split(block, dim=1):
            _, state = hearing.step(block_1TF, state)
        _, state = hearing.finish(block_1TF[:, :0], state)
    assert seen.compute == pytest.approx(float(state.spent_B / state.full_B))
    assert seen.on_LKP.shape == (2, len(seen.spent_K), len(PARTS))
    is_skipped_K = (seen.on_LKP == 0).all(axis=(0, 2)) & (seen.spent_K < 0.05)
    assert 0 < is_skipped_K.sum() < len(seen.spent_K)
    assert (seen.on_LKP[:, ~is_skipped_K].mean() == 1.0) == (share == 0.75)


def test_everything_runs_where_all_is_asked_for():
    seen = explain(Recognizer(tiny_bundle("gated-thrifty")), SOUND)
    assert (seen.on_LKP == 1).all()
    assert (seen.spent_K == 1).all()
    assert seen.compute == 1.0


def test_what_has_no_dial_or_no_block_is_refused():
    with pytest.raises(ConfigError, match="no compute dial"):
        explain(Recognizer(tiny_bundle("transformer")), SOUND)
    with pytest.raises(ConfigError, match="less than one block"):
        explain(Recognizer(tiny_bundle("gated-thrifty")), SOUND[:200])


def made_up() -> Explained:
    on_LKP = np.zeros((1, 4, 3), np.float32)
    on_LKP[0, :2, 0] = 1.0  # attention asks in the first two blocks
    on_LKP[0, :, 2] = (1.0, 0.5, 0.0, 0.0)
    return Explained(
        features_TF=np.arange(16, dtype=np.float32).reshape(8, 2),
        block_seconds=0.5,
        on_LKP=on_LKP,
        spent_K=np.array([0.9, 0.6, 0.2, 0.2]),
        is_loud_K=np.array([True, True, False, False]),
        asked=0.4,
        compute=0.475,
    )


def test_off_rates_are_told_apart_by_loudness():
    (layer,) = off_rates(made_up())
    assert layer["attention"] == {"silence": 1.0, "speech": 0.0}
    assert layer["keys"] == {"silence": 1.0, "speech": 1.0}
    assert layer["feed-forward"] == {"silence": 1.0, "speech": 0.25}
