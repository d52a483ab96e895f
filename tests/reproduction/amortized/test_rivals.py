# SPDX-License-Identifier: Apache-2.0
"""Rivals of learned gates: what each leaves out, and that nothing is charged for deciding.

Legend: B utterances, T frames.
"""

import pytest
import torch

from evenear.config import replace
from evenear.encoders.gated import GateConfig, GatedTransformer
from evenear.models.gating import with_gates
from evenear.models.transducer import Transducer
from evenear.nn.gate import ArbitratorConfig
from evenear.reproduction.amortized.rivals import (
    blank_rule,
    encode_by,
    exit_rule,
    random_rule,
    with_window,
)
from evenear.seeding import torch_rng_for
from laws import random_features, tiny_transducer

LENGTHS_B = torch.tensor([60, 41])
FEATURES_BTF = random_features(60, batch_size=2)


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def model() -> Transducer:
    dense = tiny_transducer("transformer")
    with_ctc = Transducer(replace(dense.config, ctc=True)).eval()
    with_ctc.load_state_dict(dense.state_dict(), strict=False)
    return with_gates(with_ctc, GateConfig(arbitrators=ArbitratorConfig(count=2, hidden_dim=4)))


def gates_of(model: Transducer) -> GatedTransformer:
    assert isinstance(model.encoder, GatedTransformer)
    return model.encoder


def test_a_window_hears_less_and_costs_less(model):
    encoder = gates_of(model)
    dense = encode_by(encoder, FEATURES_BTF, LENGTHS_B, 1.0)
    same = encode_by(with_window(encoder, 5), FEATURES_BTF, LENGTHS_B, 1.0)
    none = encode_by(with_window(encoder, 0), FEATURES_BTF, LENGTHS_B, 1.0)
    assert torch.equal(same.encoded.encoded_BTD, dense.encoded.encoded_BTD)
    assert none.spent_BT.sum() < dense.spent_BT.sum()


def test_toggles_by_lot_are_on_as_often_as_asked(model):
    rule = random_rule(gates_of(model), 0.3, torch_rng_for(0, "lots"))
    features_BTF = random_features(600, batch_size=8)
    found = encode_by(gates_of(model), features_BTF, torch.full((8,), 600), 0.5, rule)
    share = torch.stack([each.ff_BTG.float().mean() for each in found.toggles]).mean()
    assert abs(float(share) - 0.3) < 4 * (0.3 * 0.7 / (2 * 8 * 75)) ** 0.5


def test_an_exit_runs_the_first_layers_and_pays_no_arbitrator(model):
    encoder = gates_of(model)
    found = encode_by(encoder, FEATURES_BTF, LENGTHS_B, 0.5, exit_rule(encoder, 1))
    assert [bool(each.ff_BTG.any()) for each in found.toggles] == [True, False]
    every = encode_by(encoder, FEATURES_BTF, LENGTHS_B, 0.5, exit_rule(encoder, 2))
    assert torch.equal(every.spent_BT, every.dense_BT)


@pytest.mark.parametrize(("threshold", "runs"), [(0.0, False), (1.1, True)])
def test_blanks_decide_about_the_last_layers(model, threshold, runs):
    found = encode_by(
        gates_of(model), FEATURES_BTF, LENGTHS_B, 0.5, blank_rule(model, 1, threshold)
    )
    assert found.toggles[0].ff_BTG.all()
    frames_T = torch.arange(found.toggles[1].ff_BTG.shape[1])
    real_BT = frames_T < 2 * found.encoded.lengths_B[:, None]
    assert found.toggles[1].ff_BTG[real_BT].all() == runs
    assert found.toggles[1].ff_BTG[real_BT].any() == runs
