# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from evenear.nn.dropout import SharedDropout


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def test_a_channel_is_dropped_for_a_whole_utterance_and_others_are_scaled_up():
    y_BTD = SharedDropout(0.25)(torch.ones(64, 5, 100))
    assert torch.equal(y_BTD, y_BTD[:, :1].expand_as(y_BTD))
    assert y_BTD.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert (y_BTD[:, 0] == 0).float().mean() == pytest.approx(0.25, abs=0.02)
    assert not torch.equal(y_BTD[0], y_BTD[1])


def test_nothing_is_dropped_after_training():
    x_BTD = torch.randn(2, 3, 4)
    assert SharedDropout(0.5).eval()(x_BTD) is x_BTD
    assert SharedDropout(0.0)(x_BTD) is x_BTD
