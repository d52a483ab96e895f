# SPDX-License-Identifier: Apache-2.0
"""Depthwise convolution over time, frames first, as a sum of shifted frames.

Layers here have frames before width, and so has this. torch's own wants width first, and with
dilated taps takes twice as long on a CPU (`benchmarks/layer_speed.py`).

Legend: B streams, T frames, D width, K taps, S frames with the past in front.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["depthwise_conv"]


def depthwise_conv(x_BSD: Tensor, weight_DK: Tensor, bias_D: Tensor, dilation: int = 1) -> Tensor:
    """Convolve each of D signals with its own K taps, without padding.

        y[b, t, d] = bias[d] + sum over k of weight[d, k] x[b, t + k dilation, d]

    Computed in the type of `x_BSD`. Differentiable once.

    Returns:
        (B, S - (K - 1) * dilation, D).
    """
    return _DepthwiseConv.apply(x_BSD, weight_DK, bias_D, dilation)  # pyright: ignore[reportReturnType]


class _DepthwiseConv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_BSD: Tensor, weight_DK: Tensor, bias_D: Tensor, dilation: int
    ) -> Tensor:
        taps_KD = weight_DK.t().to(x_BSD.dtype, memory_format=torch.contiguous_format)
        ctx.save_for_backward(x_BSD, taps_KD)
        ctx.dilation, ctx.weight_dtype = dilation, weight_DK.dtype
        first_BTD, *others = _shifted(x_BSD, len(taps_KD), dilation)
        y_BTD = torch.addcmul(bias_D.to(x_BSD.dtype), first_BTD, taps_KD[0])
        for shifted_BTD, tap_D in zip(others, taps_KD[1:], strict=True):
            y_BTD.addcmul_(shifted_BTD, tap_D)
        return y_BTD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BTD: Tensor) -> tuple[Tensor | None, ...]:
        x_BSD, taps_KD = ctx.saved_tensors
        grad_BTD = grad_BTD.contiguous()
        num_taps, dilation = len(taps_KD), ctx.dilation
        grad_x_BSD = None
        if ctx.needs_input_grad[0]:
            grad_x_BSD = torch.zeros_like(x_BSD)
            pieces = _shifted(grad_x_BSD, num_taps, dilation)
            for piece_BTD, tap_D in zip(pieces, taps_KD, strict=True):
                piece_BTD.addcmul_(grad_BTD, tap_D)
        grad_taps_KD = torch.stack(
            [(s * grad_BTD).sum(dim=(0, 1)) for s in _shifted(x_BSD, num_taps, dilation)]
        )
        return (
            grad_x_BSD,
            grad_taps_KD.t().to(ctx.weight_dtype),
            grad_BTD.sum(dim=(0, 1)).to(ctx.weight_dtype),
            None,
        )


def _shifted(x_BSD: Tensor, num_taps: int, dilation: int) -> list[Tensor]:
    """What each tap sees, as views."""
    num_frames = x_BSD.shape[1] - (num_taps - 1) * dilation
    return [x_BSD.narrow(1, k * dilation, num_frames) for k in range(num_taps)]
