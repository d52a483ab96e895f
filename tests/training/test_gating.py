# SPDX-License-Identifier: Apache-2.0
"""What gates cost, and a table that turns the dial by it.

Legend: B utterances, T frames, F feature width.
"""

import pytest
import torch

from evenear.encoders.gated import GateConfig, GatedTransformer
from evenear.models.gating import with_gates
from evenear.nn.gate import ArbitratorConfig
from evenear.seeding import torch_rng_for
from evenear.training.gating import calibrate, measured_shares
from gating import make_undecided
from laws import random_features, tiny_transducer

LENGTHS_B = torch.tensor([60, 41])


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)  # weights are the same, whatever tests ran before
        yield


def test_about_as_much_is_spent_as_is_asked_for():
    arbitrators = ArbitratorConfig(hidden_dim=8, bias=0.0, asked=False)
    gated = with_gates(tiny_transducer("transformer"), GateConfig(arbitrators=arbitrators))
    encoder = gated.encoder
    assert isinstance(encoder, GatedTransformer)
    for module in encoder.arbitrators:
        make_undecided(module, torch_rng_for(0, "undecided"))
    heard = [(random_features(60, batch_size=2), LENGTHS_B)]
    spent = calibrate(gated, heard)
    least, most = min(spent), max(spent)
    assert most > least + 0.1
    middle = [least + part * (most - least) for part in (0.25, 0.5, 0.75)]
    found = measured_shares(gated, heard, [least, *middle, most])
    # Gates that leave nothing out cost their arbitrators, too; who asks for all has none.
    assert found[:-1] == sorted(found[:-1])
    assert found[-1] >= min(1.0, found[-2])
    assert measured_shares(gated, heard, [1.0]) == [1.0]


def test_what_is_asked_for_is_told_once_it_is_calibrated():
    gated = with_gates(tiny_transducer("transformer"), GateConfig())
    spent = calibrate(gated, [(random_features(30, batch_size=2), torch.tensor([30, 12]))])
    encoder = gated.encoder
    assert isinstance(encoder, GatedTransformer)
    assert len(spent) == 18
    assert (encoder.told_G.diff() >= 0).all()
