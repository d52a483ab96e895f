# SPDX-License-Identifier: Apache-2.0
"""Costs written out, and a weight that finds its target.

Legend: B utterances, T frames.
"""

import pytest
import torch

from evenear.losses.compute import (
    ControllerConfig,
    PricesConfig,
    PriceTable,
    WeightController,
    backlog,
    excess,
    share,
)
from evenear.seeding import torch_rng_for

DENSE_BT = torch.tensor([[10.0, 12.0, 14.0], [10.0, 12.0, 0.0]])
SPENT_BT = torch.tensor([[10.0, 0.0, 8.0], [3.0, 8.0, 0.0]])


def test_the_share_is_of_the_whole_utterance_and_padding_does_not_count():
    assert share(SPENT_BT, DENSE_BT).tolist() == pytest.approx([18 / 36, 11 / 22])
    assert share(DENSE_BT, DENSE_BT).tolist() == [1.0, 1.0]


def test_the_share_has_no_unit():
    torch.testing.assert_close(share(SPENT_BT, DENSE_BT), share(SPENT_BT * 7, DENSE_BT * 7))


def test_the_gradient_of_the_share_is_the_work_of_a_frame_over_all():
    spent_BT = SPENT_BT.clone().requires_grad_()
    share(spent_BT, DENSE_BT)[0].backward()
    assert spent_BT.grad is not None
    torch.testing.assert_close(spent_BT.grad[0], torch.full((3,), 1 / 36))


def test_only_what_is_above_the_asked_share_counts_and_a_part_of_what_is_below():
    found_B = excess(torch.tensor([0.6, 0.3]), torch.tensor([0.5, 0.5]), slack=0.1)
    assert found_B.tolist() == pytest.approx([0.1, 0.02])


def test_a_lull_works_off_a_burst():
    """At a budget of half a dense frame: 12 - 6, then 6 - 6, ..."""
    dense_BT = torch.full((1, 4), 12.0)
    burst_first = torch.tensor([[12.0, 0.0, 0.0, 6.0]])
    burst_last = torch.tensor([[0.0, 0.0, 6.0, 12.0]])
    assert backlog(burst_first, dense_BT, 0.5).tolist() == [0.0]
    assert backlog(burst_last, dense_BT, 0.5).tolist() == [0.5]


def test_padding_does_not_work_off_a_backlog():
    spent_BT, dense_BT = torch.tensor([[8.0, 8.0, 0.0, 0.0]]), torch.tensor([[8.0, 8.0, 0.0, 0.0]])
    assert backlog(spent_BT, dense_BT, 0.25).tolist() == [1.5]


def test_a_controller_leads_what_is_spent_to_its_target():
    """Of a model that spends 1 / (1 + weight): the weight must come to 1.5."""
    controller = WeightController(ControllerConfig(target=0.4))
    weight = controller.weight
    for _ in range(500):
        weight = controller.observe(1 / (1 + weight))
    assert 1 / (1 + weight) == pytest.approx(0.4, abs=0.01)


def test_a_controller_goes_on_where_it_was():
    one = WeightController(ControllerConfig(target=0.4))
    one.observe(0.9)
    other = WeightController(ControllerConfig(target=0.4))
    other.load_state_dict(one.state_dict())
    assert one.observe(0.7) == other.observe(0.7)


def test_a_price_rises_where_too_much_is_spent_and_nowhere_else():
    table = PriceTable(PricesConfig(count=5, first_least=1.0, first_most=1.0, gain=0.1))
    asked_B = torch.tensor([0.25, 0.25, 1.0])
    table.observe(asked_B, torch.tensor([0.65, 0.45, 0.8]))
    grown = 0.1 * 5 * (0.4 + 0.2) / 3
    expected_G = torch.tensor([0.0, grown, 0.0, 0.0, -0.1 * 5 * 0.2 / 3], dtype=torch.float64)
    torch.testing.assert_close(table.log_prices_G, expected_G)
    prices_B = table.prices(torch.tensor([0.25, 0.125, 1.0]))
    expected_B = torch.tensor([grown, grown / 2, -0.1 * 5 * 0.2 / 3]).exp()
    torch.testing.assert_close(prices_B, expected_B)


def test_prices_lead_what_is_spent_to_what_is_asked_for():
    """A buyer with falling returns: spends until what more would bring is worth its price."""
    table, rng = PriceTable(PricesConfig(count=9)), torch_rng_for(0, "buyers")
    for _ in range(400):
        asked_B = torch.rand(16, generator=rng)
        table.observe(asked_B, (0.1 / table.prices(asked_B)).clamp(0.0, 1.0))
    asked_B = torch.tensor([0.125, 0.25, 0.5, 0.75])
    torch.testing.assert_close(0.1 / table.prices(asked_B), asked_B, atol=0.03, rtol=0)


def test_prices_go_on_where_a_run_stopped():
    table = PriceTable(PricesConfig())
    table.observe(torch.tensor([0.3]), torch.tensor([0.9]))
    other = PriceTable(PricesConfig())
    other.load_state_dict(table.state_dict())
    asked_B = torch.linspace(0, 1, 7)
    assert torch.equal(other.prices(asked_B), table.prices(asked_B))
