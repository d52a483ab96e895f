# SPDX-License-Identifier: Apache-2.0
"""The causal ContextNet; the laws it shares with every encoder are in test_base."""

import pytest
import torch

from evenear.config import from_dict, replace, to_dict
from evenear.encoders.contextnet import ContextNetConfig, ContextNetEncoder
from evenear.encoders.convrnn import ConvRnnConfig
from evenear.encoders.lstm import LstmEncoderConfig
from evenear.errors import ConfigError
from evenear.seeding import torch_rng_for
from laws import FEATURES, random_features

TINY = ContextNetConfig(
    feature_dim=FEATURES.dim, channels=(8, 8, 10), layers_per_block=2, kernel=3, se_reduction=2
)


def built(config: ContextNetConfig) -> ContextNetEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.random.set_rng_state(torch_rng_for(0, "contextnet test").get_state())
        return ContextNetEncoder(config).eval()


def test_the_papers_sizes_have_the_papers_parameters():
    """28 M with the paper's predictor and joiner (0.64 + 2.62 + 1.28 M): 23.1 M is left."""
    encoder = ContextNetEncoder(ContextNetConfig())
    num_parameters = sum(p.numel() for p in encoder.parameters())
    assert num_parameters == 23_089_536
    assert round((num_parameters + 640_000 + 2_624_512 + 1_282_500) / 1e6) == 28


def test_blocks_are_those_of_the_paper():
    encoder = ContextNetEncoder(ContextNetConfig())
    blocks = [len(block.convs) for block in encoder.blocks]
    assert blocks == [1, *[5] * 21, 1]
    widths = [block.convs[-1].out_dim for block in encoder.blocks]
    assert widths == [256] * 15 + [512] * 8


@torch.no_grad()
def test_without_a_gate_the_past_ends_and_with_it_never():
    """Six convolutions of three taps hear 2 (1 + 2 + 1) = 8 frames back; the mean hears all."""
    features_BTF = random_features(40)
    other_BTF = features_BTF.clone()
    other_BTF[:, 0] += 5.0
    reach = {}
    for kind in ("running-mean", "off"):
        encoder = built(replace(TINY, squeeze_excite=kind))
        first, second = (
            encoder(frames_BTF, torch.tensor([40])).encoded_BTD
            for frames_BTF in (features_BTF, other_BTF)
        )
        differs_T = (first - second).abs().amax(dim=(0, 2)) > 0
        reach[kind] = int(differs_T.nonzero().max())
    assert reach == {"running-mean": 39, "off": 8}


def test_padding_does_not_shift_the_statistics_of_training():
    """Running statistics after a padded batch are those of its real groups."""
    config = replace(TINY, reduction=2, dropout=0.0)
    features_BTF = random_features(13)
    padded_BTF = torch.cat([features_BTF, random_features(30, seed=5) * 9.0], dim=1)
    buffers = []
    for frames_BTF in (features_BTF, padded_BTF):
        encoder = built(config).train()
        encoder(frames_BTF, torch.tensor([13]))
        buffers.append(dict(encoder.named_buffers()))
    for name, buffer in buffers[0].items():
        torch.testing.assert_close(buffer, buffers[1][name])


@torch.no_grad()
def test_an_incomplete_last_group_is_filled_with_zeros():
    encoder = built(replace(TINY, reduction=3))
    features_BTF = random_features(5)
    filled_BTF = torch.cat([features_BTF, torch.zeros(1, 1, FEATURES.dim)], dim=1)
    first = encoder(features_BTF, torch.tensor([5]))
    second = encoder(filled_BTF, torch.tensor([6]))
    torch.testing.assert_close(first.encoded_BTD, second.encoded_BTD)
    assert first.lengths_B.tolist() == second.lengths_B.tolist() == [2]


def test_every_weight_learns():
    encoder = built(TINY).train()
    encoder(random_features(20, batch_size=2), torch.tensor([20, 11])).encoded_BTD.sum().backward()
    idle = [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    # A bias in front of a normalization is taken out again by it, up to rounding.
    assert all(name.endswith("bias") for name in idle)


@torch.no_grad()
def test_bfloat16_stays_near_float32():
    encoder = built(TINY)
    features_BTF = random_features(60)
    whole = encoder(features_BTF, torch.tensor([60])).encoded_BTD
    with torch.autocast("cpu", dtype=torch.bfloat16):
        narrow = encoder(features_BTF, torch.tensor([60])).encoded_BTD
    assert (narrow.float() - whole).abs().max() < 0.05 * whole.abs().max()


@pytest.mark.parametrize("other", [LstmEncoderConfig(), ConvRnnConfig()])
def test_its_settings_are_never_taken_for_those_of_another(other):
    with pytest.raises(ConfigError):
        from_dict(type(other), to_dict(TINY))
    with pytest.raises(ConfigError):
        from_dict(ContextNetConfig, to_dict(other))


def test_it_needs_a_block():
    with pytest.raises(ConfigError, match="channels"):
        from_dict(ContextNetConfig, {"channels": []})
