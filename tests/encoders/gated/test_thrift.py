# SPDX-License-Identifier: Apache-2.0
"""Layers for those who ask for less: the same at first, and small to keep.

Legend: B streams, T frames, F feature width, L layers, N hidden units.
"""

import pytest
import torch

from evenear.encoders.gated import GateConfig, GatedTransformer
from evenear.encoders.gated.thrift import reorder_units
from evenear.encoders.transformer import TransformerEncoder
from evenear.seeding import torch_rng_for
from gating import make_undecided
from laws import ENCODERS, random_features


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


def around() -> tuple[TransformerEncoder, GatedTransformer]:
    dense = TransformerEncoder(ENCODERS["transformer"]).eval()
    gated = GatedTransformer.around(dense, GateConfig(ff_parts=4, adapter_rank=2)).eval()
    for arbitrator in gated.each_arbitrator():
        arbitrator.output.bias.fill_(50.0)
    return dense, gated


def test_with_everything_on_they_say_what_the_dense_layers_say():
    dense, gated = around()
    features_BTF, lengths_B = random_features(40, batch_size=2), torch.tensor([40, 29])
    thrifty = [gated.thrifty_layer(number) for number in range(len(gated.thrifty))]
    order_LN = torch.stack(
        [torch.randperm(dense.config.ff_dim, generator=torch_rng_for(n, "units")) for n in (0, 1)]
    )
    reorder_units(thrifty, order_LN)
    found = gated.encode_asked(features_BTF, lengths_B, torch.tensor([0.9, 0.9])).encoded
    expected_BTD = dense(features_BTF, lengths_B).encoded_BTD
    for found_TD, expected_TD, length in zip(
        found.encoded_BTD, expected_BTD, found.lengths_B.tolist(), strict=True
    ):
        torch.testing.assert_close(found_TD[:length], expected_TD[:length])


def test_they_own_no_matrix_of_the_dense_layers():
    dense, gated = around()
    own = sum(weight.numel() for weight in gated.thrifty.parameters())
    wide = sum(weight.numel() for weight in dense.layers.parameters() if weight.ndim > 1)
    narrow = sum(w.numel() for n, w in gated.thrifty.named_parameters() if n.endswith(("OR", "RI")))
    width, hidden = dense.config.dim, dense.config.ff_dim
    assert wide == 2 * (4 * width**2 + 2 * width * hidden)
    assert narrow == 2 * 2 * (4 * 2 * width + 2 * (width + hidden))
    assert own < narrow + 2 * 10 * (width + hidden)


def test_what_they_learn_moves_nothing_for_those_who_ask_for_all():
    dense, gated = around()
    for module in gated.thrifty.modules():
        make_undecided(module, torch_rng_for(0, "thrift"))
    features_BTF, lengths_B = random_features(40, batch_size=2), torch.tensor([40, 40])
    mixed = gated.encode_asked(features_BTF, lengths_B, torch.tensor([1.0, 0.9]))
    expected_BTD = dense(features_BTF, lengths_B).encoded_BTD
    torch.testing.assert_close(mixed.encoded.encoded_BTD[0], expected_BTD[0])
    assert (mixed.encoded.encoded_BTD[1] - expected_BTD[1]).abs().max() > 0.01


def test_once_settled_layers_are_plain_and_say_the_same():
    _, gated = around()
    for module in gated.thrifty.modules():
        make_undecided(module, torch_rng_for(0, "thrift"))
    features_BTF, lengths_B = random_features(40, batch_size=2), torch.tensor([40, 40])
    asked_B = torch.tensor([0.9, 0.6])
    before_BTD = gated.encode_asked(features_BTF, lengths_B, asked_B).encoded.encoded_BTD
    names = set(gated.state_dict())
    gated.settle()
    assert all(type(layer.widen) is torch.nn.Linear for layer in gated.settled)
    after_BTD = gated.encode_asked(features_BTF, lengths_B, asked_B).encoded.encoded_BTD
    torch.testing.assert_close(after_BTD, before_BTD)
    assert set(gated.state_dict()) == names
    learned = gated.thrifty_layer(0)
    assert gated.train().thrifty_layer(0) is not learned
