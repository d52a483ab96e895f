# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from evenear.losses.reweighting.weights import describe_weights, weight_by_group


def test_equal_weights_use_the_whole_batch():
    report = describe_weights(torch.full((8,), 2.0), torch.arange(8.0))
    assert report.effective_share == pytest.approx(1.0)
    assert report.entropy == pytest.approx(1.0)
    assert (report.correlation, report.largest_share) == (0.0, pytest.approx(1 / 8))
    assert not report.has_collapsed


def test_one_utterance_with_all_the_weight_is_a_collapse():
    weights_B = torch.zeros(20)
    weights_B[3] = 20.0
    report = describe_weights(weights_B, torch.ones(20))
    assert report.effective_share == pytest.approx(1 / 20)
    assert report.entropy == pytest.approx(0.0)
    assert report.has_collapsed


def test_correlation_is_that_of_weights_and_losses():
    losses_B = torch.tensor([1.0, 2.0, 4.0, 8.0])
    assert describe_weights(3 * losses_B + 1, losses_B).correlation == pytest.approx(1.0)
    assert describe_weights(9 - losses_B, losses_B).correlation == pytest.approx(-1.0)


def test_half_the_weights_at_zero_halve_the_effective_size():
    report = describe_weights(torch.tensor([2.0, 2.0, 0.0, 0.0]), torch.ones(4))
    assert report.effective_share == pytest.approx(0.5)


def test_groups_are_compared_with_the_mean_of_all():
    found = weight_by_group(torch.tensor([1.0, 3.0, 2.0]), ["b", "a", "b"])
    assert found == {"a": pytest.approx(1.5), "b": pytest.approx(0.75)}
