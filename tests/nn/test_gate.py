# SPDX-License-Identifier: Apache-2.0
"""Arbitrators, the noise they are trained with, and blocks that decide as one.

Legend: B streams, T frames, N toggles, D width.
"""

import pytest
import torch

from evenear.nn.gate import (
    Arbitrator,
    ArbitratorConfig,
    GateSchedule,
    Sampling,
    StandIn,
    by_block,
    gumbel_sigmoid,
    logistic_noise,
)
from evenear.seeding import torch_rng_for


def arbitrator(num_toggles: int = 3, **settings) -> Arbitrator:
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(1)
        return Arbitrator(ArbitratorConfig(hidden_dim=5, **settings), 8, num_toggles)


def frames(num_frames: int) -> torch.Tensor:
    return torch.randn(2, num_frames, 8, generator=torch_rng_for(0, "frames"))


@pytest.mark.parametrize(("kind", "parameters"), [("feed-forward", 80_108), ("lstm", 476_780)])
def test_at_the_papers_width_they_are_as_large_as_the_paper_says(kind, parameters):
    """108 toggles: 0.08 and 0.5 million, Xie et al. 2022, table 2."""
    built = Arbitrator(ArbitratorConfig(kind=kind, asked=False), 516, 12 + 48 + 48)
    assert sum(p.numel() for p in built.parameters()) == parameters


@pytest.mark.parametrize("kind", ["feed-forward", "lstm"])
def test_chunks_change_nothing(kind):
    built, x_BTD, asked_B = arbitrator(kind=kind), frames(9), torch.tensor([0.3, 0.7])
    whole_BTN, _ = built.step(x_BTD, asked_B, built.initial_state(2))
    state, parts = built.initial_state(2), []
    for chunk_BTD in x_BTD.split([1, 5, 3], dim=1):
        logits_BTN, state = built.step(chunk_BTD, asked_B, state)
        parts.append(logits_BTN)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole_BTN)


@pytest.mark.parametrize("kind", ["feed-forward", "lstm"])
@pytest.mark.parametrize("settings", [{}, {"asked": False}, {"together": True}])
def test_a_block_by_itself_gives_the_means_of_its_logits(kind, settings):
    built = arbitrator(kind=kind, bias=0.3, slope=2.0, **settings)
    with torch.no_grad():
        built.output.weight.normal_(generator=torch_rng_for(0, "output"))
        x_1TD, state = frames(5)[:1], built.initial_state(1)
        logits_1TN, after = built.step(x_1TD, torch.tensor([0.7]), state)
        found, own = built.of_block(x_1TD, 0.7, state)
    assert found == pytest.approx(logits_1TN.mean(dim=1)[0].tolist(), abs=1e-5)
    assert torch.equal(own.hidden_BLH, after.hidden_BLH)


def test_together_toggles_go_on_in_one_order_whatever_is_heard():
    built = arbitrator(together=True)
    built.set_biases(torch.tensor([1.0, 0.0, -1.0]))
    with torch.no_grad():
        built.output.weight.normal_(std=3.0, generator=torch_rng_for(0, "output"))
        logits_BTN, _ = built.step(frames(50), torch.tensor([0.2, 0.8]), built.initial_state(2))
    on_BTN = (logits_BTN > 0).int()
    assert (on_BTN.diff(dim=2) <= 0).all()
    assert 0 < on_BTN.float().mean() < 1


def test_what_is_asked_for_is_heard():
    built = arbitrator()
    state = built.initial_state(2)
    few_BTN, _ = built.step(frames(4), torch.tensor([0.2, 0.2]), state)
    much_BTN, _ = built.step(frames(4), torch.tensor([0.9, 0.2]), state)
    assert (few_BTN[0] - much_BTN[0]).abs().min() > 0
    assert torch.equal(few_BTN[1], much_BTN[1])


@pytest.mark.parametrize("kind", ["feed-forward", "lstm"])
def test_before_anything_is_learned_more_is_on_where_more_is_asked_for(kind):
    built = arbitrator(kind=kind, bias=0.0, slope=50.0)
    logits_BTN, _ = built.step(frames(4), torch.tensor([0.1, 0.9]), built.initial_state(2))
    assert (logits_BTN[0] < 0).all()
    assert (logits_BTN[1] > 0).all()


def test_every_toggle_begins_switched_on():
    built = arbitrator(bias=3.0)
    logits_BTN, _ = built.step(frames(50), torch.full((2,), 0.5), built.initial_state(2))
    assert (logits_BTN > 0).all()


def test_the_multiply_accumulates_of_a_frame_are_its_matrices():
    assert arbitrator().macs_per_frame == 9 * 5 + 5 * 3
    assert arbitrator(kind="lstm").macs_per_frame == 20 * (9 + 5) + 20 * (5 + 5) + 5 * 3


def test_without_contribution_a_toggle_is_its_probability():
    logits, noise = torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([9.0, -9.0, 9.0])
    assert torch.equal(gumbel_sigmoid(logits, noise, Sampling(0.1, 0.0)), logits.sigmoid())


def test_the_noise_flips_a_toggle_as_often_as_its_probability_says():
    """Hard Gumbel samples are Bernoulli samples; 4 standard deviations of 20,000 draws."""
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(0)
        logits = torch.full((20_000,), 0.8)
        drawn = gumbel_sigmoid(logits, logistic_noise(logits), Sampling(1e-5, 1.0))
    chance = float(torch.tensor(0.8).sigmoid())
    assert ((drawn < 1e-3) | (drawn > 1 - 1e-3)).float().mean() > 0.999
    assert abs(float(drawn.mean()) - chance) < 4 * (chance * (1 - chance) / 20_000) ** 0.5


def test_straight_through_decides_forward_and_is_soft_backward():
    logits = torch.tensor([-0.5, 0.7], requires_grad=True)
    toggles = gumbel_sigmoid(logits, torch.zeros(2), Sampling(0.5, 1.0, is_hard=True))
    assert toggles.tolist() == [0.0, 1.0]
    toggles.sum().backward()
    soft = (logits.detach() / 0.5).sigmoid()
    torch.testing.assert_close(logits.grad, soft * (1 - soft) / 0.5)


def test_a_schedule_goes_from_soft_probabilities_to_hard_samples():
    schedule = GateSchedule()
    assert schedule.at(0.0) == Sampling(1.0, 0.0)
    assert schedule.at(2.0) == Sampling(1e-5, 1.0)
    assert schedule.at(0.5).contribution == 0.5


def test_a_block_decides_by_the_mean_of_its_real_frames():
    logits_BTN = torch.tensor([[1.0, 3.0, -5.0, 7.0, 2.0]])[:, :, None]
    assert by_block(logits_BTN, 2, None)[0, :, 0].tolist() == [2.0, 2.0, 1.0, 1.0, 2.0]
    some = by_block(logits_BTN, 2, torch.tensor([3]))[0, :, 0].tolist()
    assert some[:4] == [2.0, 2.0, -5.0, -5.0]
    assert by_block(logits_BTN[:, :0], 2, None).shape == (1, 0, 1)


def test_a_stand_in_begins_at_zero_and_costs_two_narrow_matrices():
    stand_in = StandIn(8, 3)
    assert (stand_in(frames(4)) == 0).all()
    assert stand_in.macs_per_frame == 2 * 8 * 3
