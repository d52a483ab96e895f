# SPDX-License-Identifier: Apache-2.0
"""What each encoder computes, against the same encoder written out in NumPy.

The laws say that an encoder agrees with itself however it is fed; these say with what.
"""

import numpy as np
import pytest
import torch
from torch import nn

from encoders import references
from evenear.encoders.conformer import ConformerConfig
from evenear.encoders.contextnet import ContextNetConfig
from evenear.encoders.convrnn import ConvRnnConfig
from evenear.encoders.lstm import LstmEncoderConfig
from evenear.encoders.transformer import TransformerConfig
from evenear.seeding import torch_rng_for
from laws import ENCODERS, random_features

REFERENCES = {
    LstmEncoderConfig: references.lstm,
    ConvRnnConfig: references.convrnn,
    ConformerConfig: references.conformer,
    ContextNetConfig: references.contextnet,
    TransformerConfig: references.transformer,
}
LENGTHS = (41, 30)
"""Frames of two utterances: more than the widest dilation or attention reaches back."""


@torch.no_grad()
def randomize(module: nn.Module) -> None:
    """Weights under which every term of a formula matters, and no activation is almost linear."""
    for name, tensor in module.state_dict().items():
        noise = torch.randn(tensor.shape, generator=torch_rng_for(0, "reference", name))
        if name.endswith("variance_D"):
            tensor.copy_(0.5 + noise.abs())
        elif tensor.ndim > 1:
            tensor.copy_(1.5 * noise / tensor[0].numel() ** 0.5)
        else:
            tensor.copy_(0.5 * noise + float(name.endswith("weight")))


WRITTEN_OUT = [name for name in ENCODERS if not name.startswith("gated")]
"""Gated encoders are held to formulas of their own, in `test_gated.py`."""


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_an_encoder_computes_what_its_papers_formulas_say(name):
    config = ENCODERS[name]
    reference = REFERENCES[type(config)]
    encoder = config.build().eval()
    randomize(encoder)
    features_BTF = random_features(max(LENGTHS), batch_size=len(LENGTHS))
    with torch.no_grad():
        encoded = encoder(features_BTF, torch.tensor(LENGTHS))
    weights = {n: t.double().numpy() for n, t in encoder.state_dict().items()}
    for b, length in enumerate(LENGTHS):
        expected_TD = reference(config, weights, features_BTF[b, :length].double().numpy())
        got_TD = encoded.encoded_BTD[b, : int(encoded.lengths_B[b])].numpy()
        assert got_TD.shape == expected_TD.shape
        assert expected_TD.std() > 0.1
        np.testing.assert_allclose(got_TD, expected_TD, atol=2e-4, rtol=2e-4)
