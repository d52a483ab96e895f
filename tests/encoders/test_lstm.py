# SPDX-License-Identifier: Apache-2.0
"""The LSTM encoder; the laws it shares with every encoder are in test_base."""

import torch

from evenear.config import replace
from evenear.encoders.lstm import LstmEncoder, LstmEncoderConfig
from evenear.nn.recurrent import LstmStackConfig
from laws import ENCODERS, FEATURES, random_features, tiny_transducer


@torch.no_grad()
def test_reduction_joins_frames_before_the_first_layer():
    """A reducing encoder is one of full rate on frames that were stacked beforehand."""
    config = ENCODERS["lstm-reduced-2"]
    stacked = replace(config, feature_dim=2 * config.feature_dim, reduction=1)
    reducing, plain = LstmEncoder(config).eval(), LstmEncoder(stacked).eval()
    plain.load_state_dict(reducing.state_dict())
    features_BTF = random_features(8, batch_size=2)
    first = reducing(features_BTF, torch.tensor([8, 8]))
    second = plain(features_BTF.reshape(2, 4, -1), torch.tensor([4, 4]))
    torch.testing.assert_close(first.encoded_BTD, second.encoded_BTD)


@torch.no_grad()
def test_an_incomplete_last_group_is_filled_with_zeros():
    encoder = tiny_transducer("lstm-reduced-3").encoder
    features_BTF = random_features(5)
    filled_BTF = torch.cat([features_BTF, torch.zeros(1, 1, FEATURES.dim)], dim=1)
    first = encoder(features_BTF, torch.tensor([5]))
    second = encoder(filled_BTF, torch.tensor([6]))
    torch.testing.assert_close(first.encoded_BTD, second.encoded_BTD)
    assert first.lengths_B.tolist() == second.lengths_B.tolist() == [2]


def test_contract_attributes_follow_from_the_config():
    encoder = LstmEncoder(
        LstmEncoderConfig(
            feature_dim=6, lstm=LstmStackConfig(num_layers=1, hidden_dim=4, dim=5), reduction=3
        )
    )
    assert (encoder.feature_dim, encoder.dim) == (6, 5)
    assert (encoder.stride, encoder.lookahead_frames) == (3, 2)
    assert encoder.output_lengths(torch.tensor([0, 1, 3, 4])).tolist() == [0, 1, 1, 2]


def test_the_papers_sizes_have_the_papers_parameters():
    """Six layers of 640 with projections to 512: 18.86 M, as table 3 counts them."""
    lstm = LstmStackConfig(num_layers=6)
    encoder = LstmEncoder(LstmEncoderConfig(lstm=lstm))
    second_biases = 6 * 4 * 640  # torch keeps two biases where the paper counts one
    assert sum(p.numel() for p in encoder.parameters()) - second_biases == 18_860_032
