# SPDX-License-Identifier: Apache-2.0
"""Batch normalization without padding, against torch's own over the real frames."""

import pytest
import torch
from torch import Tensor, nn

from evenear.nn.batchnorm import MaskedBatchNorm
from evenear.seeding import torch_rng_for


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch_rng_for(seed, "batch norm test", shape))


def test_normalization_in_training_uses_real_frames_only():
    norm = MaskedBatchNorm(3).train()
    x_BTD = randn(2, 6, 3) * 2 + 1
    valid_BT = torch.arange(6) < torch.tensor([[6], [3]])
    x_BTD = torch.where(valid_BT[:, :, None], x_BTD, 1e4)
    y_BTD = norm(x_BTD, valid_BT)
    real_ND = y_BTD[valid_BT]
    torch.testing.assert_close(real_ND.mean(dim=0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(real_ND.var(dim=0, correction=0), torch.ones(3), atol=1e-3, rtol=0)


def test_normalization_matches_torch_without_padding():
    x_BTD = randn(4, 6, 3) * 2 + 1
    ours, theirs = MaskedBatchNorm(3, momentum=1.0), nn.BatchNorm1d(3, momentum=1.0)
    expected_BTD = theirs(x_BTD.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(ours(x_BTD, None), expected_BTD, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.mean_D, theirs.running_mean)
    theirs.running_var.copy_(ours.variance_D)  # torch keeps the unbiased variance, we the batch's
    ours.eval()
    theirs.eval()
    expected_BTD = theirs(x_BTD.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(ours(x_BTD, None), expected_BTD, atol=1e-5, rtol=1e-5)


def test_normalization_gradient_matches_torch():
    x_BTD = randn(3, 5, 2).requires_grad_()
    norm, reference = MaskedBatchNorm(2), nn.BatchNorm1d(2)
    weight_BTD = randn(3, 5, 2, seed=1)
    (ours,) = torch.autograd.grad((norm(x_BTD, None) * weight_BTD).sum(), x_BTD)
    expected_BTD = reference(x_BTD.transpose(1, 2)).transpose(1, 2)
    (theirs,) = torch.autograd.grad((expected_BTD * weight_BTD).sum(), x_BTD)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_gradients_with_padding_are_those_of_the_real_frames_alone():
    x_BTD, weight_BTD = randn(2, 6, 3).requires_grad_(), randn(2, 6, 3, seed=1)
    valid_BT = torch.arange(6) < torch.tensor([[6], [3]])
    norm, reference = MaskedBatchNorm(3), nn.BatchNorm1d(3)
    names = ("weight", "bias")
    mine = torch.autograd.grad(
        (norm(x_BTD, valid_BT) * weight_BTD).sum(), [x_BTD, norm.weight, norm.bias]
    )
    real = (reference(x_BTD[valid_BT]) * weight_BTD[valid_BT]).sum()
    theirs = torch.autograd.grad(real, [x_BTD, *(getattr(reference, name) for name in names)])
    for ours, expected in zip(mine, theirs, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)
    assert (mine[0][~valid_BT] == 0).all()


def test_a_batch_of_one_frame_and_one_of_none_pass():
    norm = MaskedBatchNorm(3).train()
    x_BTD = randn(1, 1, 3)
    torch.testing.assert_close(norm(x_BTD, None), torch.zeros(1, 1, 3))
    assert norm(x_BTD[:, :0], None).shape == (1, 0, 3)
    assert norm.variance_D.isfinite().all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_statistics_learn_nothing_from_a_batch_that_is_not_all_numbers(value):
    norm = MaskedBatchNorm(3).train()
    norm(randn(2, 6, 3), None)
    before = {name: tensor.clone() for name, tensor in norm.named_buffers()}
    x_BTD = randn(2, 6, 3, seed=1)
    x_BTD[1, 2, 0] = value
    norm(x_BTD, None)
    for name, tensor in norm.named_buffers():
        assert torch.equal(tensor, before[name])
    norm(randn(2, 6, 3, seed=2), None)
    assert not torch.equal(norm.mean_D, before["mean_D"])
