# SPDX-License-Identifier: Apache-2.0
"""Group DRO and CTC-DRO against their formulas by hand, and against where they must end."""

import math

import pytest
import torch
from torch import Tensor

from evenear.errors import ConfigError
from evenear.losses.reweighting.groups import CtcDro, GroupDro, GroupWeights


def heard(weights: GroupWeights, losses: list[float], groups: list[int], seconds=1.0) -> Tensor:
    losses_B = torch.tensor(losses)
    return weights.weigh(losses_B, torch.tensor(groups), torch.full_like(losses_B, seconds))


def test_group_dro_follows_its_formula():
    dro = GroupDro([0.5, 0.5], step=0.1)
    weights_B = heard(dro, [2.0, 4.0, 1.0], [0, 0, 1])
    raw = [0.5 * math.exp(0.3), 0.5 * math.exp(0.1)]
    q = [one / sum(raw) for one in raw]
    assert dro.q_G.tolist() == pytest.approx(q)
    assert weights_B.tolist() == pytest.approx([q[0] / 0.5, q[0] / 0.5, q[1] / 0.5])


def test_ctc_dro_follows_its_formula():
    dro = CtcDro([0.25, 0.75], step=0.1, smoothing=0.5, seconds=10.0)
    dro.q_G = torch.tensor([0.2, 0.8], dtype=torch.float64)
    weights_B = heard(dro, [6.0, 3.0, 5.0], [0, 0, 1], seconds=2.0)
    per_ten = [10 * 9.0 / 4.0, 10 * 5.0 / 2.0]
    raw = [
        q * math.exp(0.1 * loss / (q + 0.5)) for q, loss in zip([0.2, 0.8], per_ten, strict=True)
    ]
    q = [one / sum(raw) for one in raw]
    assert dro.q_G.tolist() == pytest.approx(q)
    assert weights_B.tolist() == pytest.approx([q[0] / 0.25, q[0] / 0.25, q[1] / 0.75])


def test_a_group_that_a_batch_lacks_keeps_its_share_in_proportion():
    dro = GroupDro([0.3, 0.3, 0.4], step=1.0)
    heard(dro, [0.0, 0.0], [0, 0])  # a loss of 0 moves nothing, and neither does no loss
    assert dro.q_G.tolist() == pytest.approx([1 / 3] * 3)
    heard(dro, [1.0], [0])
    assert dro.q_G[1].item() == pytest.approx(dro.q_G[2].item())


def test_ctc_dro_waits_until_every_group_was_heard():
    dro = CtcDro([0.5, 0.5], step=0.1, smoothing=0.1)
    heard(dro, [3.0], [0])
    assert dro.q_G.tolist() == [0.5, 0.5]
    heard(dro, [9.0], [1])
    assert dro.q_G[1] > 0.5
    moved = dro.q_G.tolist()
    heard(dro, [9.0], [1])
    assert dro.q_G.tolist() == moved


def test_long_utterances_look_hard_to_group_dro_but_not_to_ctc_dro():
    """Both groups have one nat a second; those of group 1 are three times as long."""
    plain, matched = GroupDro([0.5, 0.5], step=0.1), CtcDro([0.5, 0.5], step=0.1)
    losses_B, groups_B = torch.tensor([2.0, 6.0]), torch.tensor([0, 1])
    for dro in (plain, matched):
        dro.weigh(losses_B, groups_B, losses_B)
    assert plain.q_G[1] > 0.59
    assert matched.q_G.tolist() == pytest.approx([0.5, 0.5])


def test_a_hopeless_group_takes_all_of_group_dro_but_not_of_ctc_dro():
    plain, smooth = GroupDro([0.5, 0.5], step=0.1), CtcDro([0.5, 0.5], step=0.1, seconds=1.0)
    for _ in range(200):
        heard(plain, [1.0, 2.0], [0, 1])
        heard(smooth, [1.0, 2.0], [0, 1])
    assert plain.q_G[1] > 0.999
    assert smooth.q_G[1] < 0.75


def test_weights_make_the_weighted_sum_of_group_means_on_average():
    """Over a stream with the given shares, mean(weight * loss) is sum_g q_g * mean loss of g."""
    dro = GroupDro([0.25, 0.75], step=1e-9)
    dro.q_G = torch.tensor([0.6, 0.4], dtype=torch.float64)
    losses, groups = [4.0, 1.0, 2.0, 3.0], [0, 1, 1, 1]
    weights_B = heard(dro, losses, groups)
    assert float((weights_B * torch.tensor(losses)).mean()) == pytest.approx(0.6 * 4.0 + 0.4 * 2.0)


@pytest.mark.parametrize("kind", [GroupDro, CtcDro])
def test_a_restored_state_goes_on_alike(kind):
    one, other = kind([0.5, 0.5], step=0.1), kind([0.5, 0.5], step=0.1)
    heard(one, [3.0], [1])
    other.load_state_dict(one.state_dict())
    for dro in (one, other):
        heard(dro, [1.0, 2.0], [0, 1])
    assert torch.equal(one.q_G, other.q_G)


def test_an_infinite_loss_moves_nothing():
    dro = GroupDro([0.5, 0.5], step=0.1)
    heard(dro, [math.inf, 0.0], [0, 1])
    assert dro.q_G.tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("shares", [[1.0], [0.5, 0.4], [1.0, 0.0]])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(ConfigError, match="two shares"):
        GroupDro(shares)


def test_steps_and_smoothing_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="step"):
        GroupDro([0.5, 0.5], step=0.0)
    with pytest.raises(ConfigError, match="smoothing"):
        CtcDro([0.5, 0.5], smoothing=-1.0)
