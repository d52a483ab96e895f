# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolution, against torch's own."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from evenear.nn.depthwise import depthwise_conv
from evenear.seeding import torch_rng_for


def randn(*shape: int, seed: int = 0) -> Tensor:
    rng = torch_rng_for(seed, "depthwise test", shape)
    return torch.randn(shape, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize("num_taps", [1, 2, 5])
def test_values_and_gradients_are_those_of_torch(num_taps, dilation):
    x_BSD, weight_DK = randn(2, 15, 4).requires_grad_(), randn(4, num_taps).requires_grad_()
    bias_D = randn(4).requires_grad_()
    ours_BTD = depthwise_conv(x_BSD, weight_DK, bias_D, dilation)
    theirs_BTD = F.conv1d(
        x_BSD.transpose(1, 2), weight_DK[:, None], bias_D, dilation=dilation, groups=4
    ).transpose(1, 2)
    torch.testing.assert_close(ours_BTD, theirs_BTD)
    upstream_BTD = randn(*ours_BTD.shape, seed=1)
    inputs = [x_BSD, weight_DK, bias_D]
    ours = torch.autograd.grad(ours_BTD, inputs, upstream_BTD)
    theirs = torch.autograd.grad(theirs_BTD, inputs, upstream_BTD)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_half_precision_in_half_precision_out_and_full_gradients_of_weights():
    x_BSD = randn(2, 9, 4).bfloat16()
    weight_DK, bias_D = randn(4, 3).float().requires_grad_(), randn(4).float().requires_grad_()
    y_BTD = depthwise_conv(x_BSD, weight_DK, bias_D)
    assert y_BTD.dtype == torch.bfloat16
    y_BTD.float().square().sum().backward()
    exact_BTD = depthwise_conv(x_BSD.double(), weight_DK.double(), bias_D.double())
    expected = torch.autograd.grad(exact_BTD.square().sum(), [weight_DK, bias_D])
    for parameter, gradient in zip((weight_DK, bias_D), expected, strict=True):
        assert parameter.grad is not None
        assert parameter.grad.dtype == torch.float32
        torch.testing.assert_close(parameter.grad, gradient, atol=0.3, rtol=0.05)
