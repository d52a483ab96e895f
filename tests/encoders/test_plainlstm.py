# SPDX-License-Identifier: Apache-2.0
"""The encoder of textbook LSTM layers; its laws are held with the models that it is part of."""

import torch

from evenear.encoders.plainlstm import PlainLstmEncoder, PlainLstmEncoderConfig
from evenear.nn.plainlstm import PlainLstmConfig
from laws import encode_in_chunks, random_features


def test_contract_attributes_follow_from_the_config():
    plain = PlainLstmConfig(num_layers=1, hidden_dim=6, output_dim=5)
    encoder = PlainLstmEncoder(PlainLstmEncoderConfig(feature_dim=24, plain=plain))
    assert (encoder.feature_dim, encoder.dim) == (24, 5)
    assert (encoder.stride, encoder.lookahead_frames) == (1, 0)
    assert encoder.output_lengths(torch.tensor([3])).tolist() == [3]


@torch.no_grad()
def test_a_stream_hears_what_an_utterance_does():
    plain = PlainLstmConfig(num_layers=2, hidden_dim=6, layer_norm=True)
    encoder = PlainLstmEncoder(PlainLstmEncoderConfig(feature_dim=24, plain=plain)).eval()
    features_BTF = random_features(20)
    whole = encoder(features_BTF, torch.tensor([20]))
    streamed_BTD = encode_in_chunks(encoder, features_BTF, [3, 0, 9, 8])
    torch.testing.assert_close(streamed_BTD, whole.encoded_BTD, atol=1e-5, rtol=1e-5)
