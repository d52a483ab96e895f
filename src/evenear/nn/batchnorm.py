# SPDX-License-Identifier: Apache-2.0
"""Batch normalization that padding does not touch.

Legend: B streams, T frames, D width, N real frames of a batch.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812

__all__ = ["MaskedBatchNorm"]


class MaskedBatchNorm(nn.Module):
    """Batch normalization over real frames only, so padding does not shift the statistics.

    In training, padding comes out as zeros. Evaluation uses the running statistics, as torch's
    BatchNorm1d does.

    Args:
        dim: Width.
        momentum: Weight of the newest batch in the running statistics.
        eps: Added to the variance.
    """

    def __init__(self, dim: int, momentum: float = 0.05, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.mean_D: Tensor
        self.variance_D: Tensor
        self.register_buffer("mean_D", torch.zeros(dim))
        self.register_buffer("variance_D", torch.ones(dim))

    def forward(self, x_BTD: Tensor, valid_BT: Tensor | None) -> Tensor:
        """Normalize; `valid_BT` is True on real frames, None where all are."""
        if x_BTD.shape[:2].numel() == 0:
            return x_BTD
        if not self.training:
            return F.batch_norm(
                x_BTD.transpose(1, 2), self.mean_D, self.variance_D, self.weight, self.bias
            ).transpose(1, 2)
        rows_ND = x_BTD.flatten(0, 1)
        places_N = (
            None if valid_BT is None or valid_BT.all() else valid_BT.flatten().nonzero()[:, 0]
        )
        y_ND, mean_D, inverse_D = _BatchNorm.apply(  # pyright: ignore[reportGeneralTypeIssues]
            rows_ND, self.weight, self.bias, places_N, self.eps
        )
        self._learn(mean_D, inverse_D.pow(-2) - self.eps)
        return y_ND.view_as(x_BTD)

    @torch.no_grad()
    def _learn(self, mean_D: Tensor, variance_D: Tensor) -> None:
        """Move the running statistics; a batch that is not all numbers moves none of them."""
        is_number = mean_D.isfinite().all() & variance_D.isfinite().all()
        for running_D, new_D in ((self.mean_D, mean_D), (self.variance_D, variance_D)):
            running_D.lerp_(torch.where(is_number, new_D, running_D), self.momentum)


class _BatchNorm(torch.autograd.Function):
    """torch's own kernels over chosen rows, the rest zeros; also mean and 1 / deviation."""

    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, weight_D: Tensor, bias_D: Tensor, places: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        chosen_ND = x_ND if places is None else x_ND.index_select(0, places)
        y_ND, mean_D, inverse_D = torch.native_batch_norm(
            chosen_ND, weight_D, bias_D, None, None, True, 0.0, eps
        )
        ctx.save_for_backward(chosen_ND, weight_D, mean_D, inverse_D, places)
        ctx.eps, ctx.num_rows = eps, len(x_ND)
        ctx.mark_non_differentiable(mean_D, inverse_D)
        return _spread(y_ND, places, ctx.num_rows), mean_D, inverse_D

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        chosen_ND, weight_D, mean_D, inverse_D, places = ctx.saved_tensors
        grad_ND = grads[0].contiguous()
        grad_ND = grad_ND if places is None else grad_ND.index_select(0, places)
        grad_x_ND, grad_weight_D, grad_bias_D = torch.ops.aten.native_batch_norm_backward(
            grad_ND,
            chosen_ND,
            weight_D,
            None,
            None,
            mean_D,
            inverse_D,
            True,
            ctx.eps,
            [True, True, True],
        )
        spread_ND = _spread(grad_x_ND, places, ctx.num_rows)
        return spread_ND, grad_weight_D, grad_bias_D, None, None


def _spread(rows_ND: Tensor, places: Tensor | None, num_rows: int) -> Tensor:
    """Rows back in their places, zeros elsewhere."""
    if places is None:
        return rows_ND
    return rows_ND.new_zeros(num_rows, rows_ND.shape[1]).index_copy_(0, places, rows_ND)
