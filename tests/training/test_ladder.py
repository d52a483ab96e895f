# SPDX-License-Identifier: Apache-2.0
"""What is left out first, and where gates begin.

Legend: B utterances, T feature frames, F feature width, N units.
"""

import pytest
import torch

from evenear.encoders.gated import GateConfig, GatedTransformer
from evenear.models.gating import with_gates
from evenear.models.transducer import Transducer
from evenear.nn.gate import ArbitratorConfig
from evenear.training.gating import measured_shares
from evenear.training.ladder import Rung, begin_on, climb_down, order_units
from laws import random_features, tiny_transducer

GATES = GateConfig(arbitrators=ArbitratorConfig(hidden_dim=4, count=2), ff_parts=4, adapter_rank=2)
HEARD = [(random_features(60, batch_size=2), torch.tensor([60, 41]))]


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


def model() -> tuple[Transducer, GatedTransformer]:
    gated = with_gates(tiny_transducer("transformer"), GATES)
    assert isinstance(gated.encoder, GatedTransformer)
    return gated, gated.encoder


def test_every_module_is_left_out_once_and_parts_from_behind():
    rungs = climb_down(model()[0], HEARD)
    expected = {(layer, part) for layer in (0, 1) for part in (-1, 0, 1, 2, 3)}
    assert {(rung.layer, rung.part) for rung in rungs} == expected
    assert len(rungs) == len(expected)
    for layer in (0, 1):
        assert [r.part for r in rungs if r.layer == layer and r.part >= 0] == [3, 2, 1, 0]
    shares = [rung.share for rung in rungs]
    assert shares == sorted(shares, reverse=True)


def test_a_module_that_says_nothing_goes_first():
    gated, encoder = model()
    layer = encoder.backbone.layers[1]
    layer.attention.out.weight.zero_()
    first = climb_down(gated, HEARD)[0]
    assert (first.layer, first.part) == (1, -1)
    assert first.distance == pytest.approx(0.0, abs=1e-6)


def test_units_stand_by_how_much_they_say():
    gated, encoder = model()
    layer = encoder.backbone.layers[0]
    loud, quiet = 5, 2
    layer.narrow.weight[:, loud] *= 100.0
    layer.narrow.weight[:, quiet] = 0.0
    order_units(gated, HEARD)
    order_N = encoder.thrifty_layer(0).narrow.order_N
    assert (order_N[0], order_N[-1]) == (loud, quiet)
    assert torch.equal(order_N, encoder.thrifty_layer(0).widen.order_N)
    assert sorted(order_N.tolist()) == list(range(len(order_N)))


def test_gates_begin_with_the_thresholds_of_their_rungs():
    gated, encoder = model()
    rungs = [Rung(1, 3, 0.8, 0.1), Rung(0, -1, 0.4, 0.5)]
    begin_on(encoder, rungs, slope=10.0)
    for arbitrator in encoder.each_arbitrator():
        arbitrator.output.weight.zero_()
    first, second = encoder.each_arbitrator()
    assert second.output.bias.tolist()[3] == pytest.approx(10 * (0.5 - 0.9))
    assert first.output.bias.tolist()[4:] == pytest.approx([10 * (0.5 - 0.6)] * 2)
    begin_on(encoder, climb_down(gated, HEARD))
    spent = measured_shares(gated, HEARD, [0.1, 0.3, 0.5, 0.7, 0.9])
    assert spent == sorted(spent)
    assert spent[-1] > spent[0] + 0.3
