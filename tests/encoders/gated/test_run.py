# SPDX-License-Identifier: Apache-2.0
"""What a pass through gated layers costs, counted frame by frame, and what it keeps.

Legend: B streams, T frames, L layers, P frames of the past, D width, H heads, E width of a head,
F feature width.
"""

import pytest
import torch

from evenear.encoders.gated.encoder import GatedTransformer
from laws import random_features, tiny_transducer


@pytest.mark.parametrize("name", ["gated-blocks", "gated-frames", "gated-thrifty"])
def test_the_count_is_what_was_computed_for_each_frame(name):
    encoder = tiny_transducer(name).encoder
    assert isinstance(encoder, GatedTransformer)
    settings = encoder.config.backbone
    lengths_B = torch.tensor([30, 17])
    with torch.no_grad():
        found = encoder.encode_asked(
            random_features(30, batch_size=2), lengths_B, torch.tensor([0.5, 0.5])
        )
    width, heads, block = settings.dim, settings.num_heads, encoder.block_frames // 2
    stem = 2 * 3 * settings.feature_dim * width + 3 * width * width
    narrow = 2 * width * encoder.config.gates.stand_in_dim
    hears = sum(each.macs_per_frame for each in encoder.each_arbitrator())
    for b in range(2):
        num_frames = int(encoder.output_lengths(lengths_B)[b]) * settings.reduction
        for t in range(found.spent_BT.shape[1]):
            if t >= num_frames:
                assert found.spent_BT[b, t] == found.dense_BT[b, t] == 0
                continue
            start = t // block * block
            seen = range(max(0, start - settings.left_frames), min(num_frames, start + block))
            spent, dense = stem + hears, stem
            for toggles in found.toggles:
                dense += 4 * width**2 + 2 * width * settings.ff_dim + 2 * width * len(seen)
                spent += 2 * width * settings.ff_dim * float(toggles.ff_share[b, t])
                spent += narrow * int(not toggles.ff_BTG[b, t, 0])
                spent += narrow * int(not toggles.query_BTH[b, t].all())
                for h in range(heads):
                    switch = h % toggles.query_BTH.shape[2]  # one for all heads, or one for each
                    asks = int(toggles.query_BTH[b, t, switch])
                    spent += 2 * width * width // heads * asks
                    spent += 2 * width * width // heads * int(toggles.key_BTH[b, t, switch])
                    heard = sum(int(toggles.key_BTH[b, s, switch]) for s in seen)
                    spent += 2 * width // heads * asks * heard
            assert found.spent_BT[b, t] == spent
            assert found.dense_BT[b, t] == dense


def test_all_of_the_computation_costs_what_the_transformer_costs():
    encoder = tiny_transducer("gated-blocks").encoder
    assert isinstance(encoder, GatedTransformer)
    features_BTF = random_features(30)
    with torch.no_grad():
        _, state = encoder.step(features_BTF, encoder.ask(encoder.initial_state(1), 1.0))
    assert torch.equal(state.spent_B, state.dense_B)
    assert state.present_BLPH.all()


def test_keys_are_remembered_as_absent_where_they_were_not_computed():
    encoder = tiny_transducer("gated-frames").encoder
    assert isinstance(encoder, GatedTransformer)
    size = encoder.config.backbone.dim // encoder.config.backbone.num_heads
    with torch.no_grad():
        _, state = encoder.step(random_features(24), encoder.initial_state(1))
    assert state.present_BLPH.any()
    assert not state.present_BLPH.all()
    keys_BLPHE = state.backbone.keys_BLPD.unflatten(3, (-1, size))
    assert (keys_BLPHE[~state.present_BLPH] == 0).all()
