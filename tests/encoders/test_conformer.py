# SPDX-License-Identifier: Apache-2.0
"""The causal Conformer; the laws it shares with every encoder are in test_base."""

import torch

from evenear.encoders.conformer import ConformerConfig, ConformerEncoder
from laws import ENCODERS, encode_in_chunks, random_features


def test_the_papers_sizes_have_about_the_papers_parameters():
    """Table 1 says 29 M with its predictor and joiner (4.5 M) and convolutions for subsampling."""
    encoder = ConformerEncoder(ConformerConfig())
    assert 20e6 < sum(p.numel() for p in encoder.parameters()) < 25e6


@torch.no_grad()
def test_half_precision_streams_as_it_hears_whole_utterances_within_one_percent():
    torch.manual_seed(0)
    encoder = ConformerEncoder(ENCODERS["conformer-reduced-2"]).eval()
    features_BTF = random_features(80, batch_size=2)
    exact_BTD = encoder(features_BTF, torch.tensor([80, 80])).encoded_BTD
    with torch.autocast("cpu", dtype=torch.bfloat16):
        whole_BTD = encoder(features_BTF, torch.tensor([80, 80])).encoded_BTD.float()
        streamed_BTD = encode_in_chunks(encoder, features_BTF, [7] * 11 + [3]).float()
    size = exact_BTD.std()
    assert (whole_BTD - streamed_BTD).std() < 0.01 * size
    assert (whole_BTD - exact_BTD).std() < 0.01 * size


@torch.no_grad()
def test_dropout_is_drawn_in_training_only():
    encoder = ConformerEncoder(ENCODERS["conformer"])
    features_BTF, lengths_B = random_features(10), torch.tensor([10])
    first, second = (encoder.train()(features_BTF, lengths_B).encoded_BTD for _ in range(2))
    assert not torch.equal(first, second)
    first, second = (encoder.eval()(features_BTF, lengths_B).encoded_BTD for _ in range(2))
    assert torch.equal(first, second)
