# SPDX-License-Identifier: Apache-2.0
"""A linear layer that is another one, changed a little: it owns only what is different.

    weight' = weight[rows, columns] + up down,        up (O, R) begins at 0, down (R, I) at random
    bias'   = bias[rows], and is learned itself

So a second way of computing with the same matrices costs little to store. Computing costs the same:
the sum is made once and kept for as long as neither part changes. Rows or columns may stand in
another order, so that what is left out of a matrix lies at its end.

Legend: R rank, O and I outputs and inputs of a matrix, N of either in an order.

Source: Hu et al. 2021, "LoRA", arXiv:2106.09685. Departs from the paper: the scale alpha / r is 1,
biases are learned too, and the sum is never written over the weight.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

__all__ = ["AdaptedLinear"]


class AdaptedLinear(nn.Module):
    """Another linear layer with a low-rank addition.

    Args:
        base: The layer that it begins as; its weights are read, never owned.
        rank: Rank of the addition.
        reordered: Whether its outputs or its inputs stand in an order of their own, `order_N`.
    """

    def __init__(
        self, base: nn.Linear, rank: int, reordered: Literal["outputs", "inputs"] | None = None
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = base.in_features, base.out_features
        self._base = (base,)  # in a tuple, so that its weights are not saved twice
        self.reordered = reordered
        self.up_OR = nn.Parameter(torch.zeros(base.out_features, rank))
        self.down_RI = nn.Parameter(torch.empty(rank, base.in_features))
        nn.init.kaiming_uniform_(self.down_RI, a=math.sqrt(5))
        self.bias = None if base.bias is None else nn.Parameter(base.bias.detach().clone())
        size = {None: 0, "outputs": base.out_features, "inputs": base.in_features}[reordered]
        order_N = torch.arange(size, dtype=torch.int32)
        self.order_N: Tensor | None
        self.register_buffer("order_N", None if reordered is None else order_N)
        self._kept: tuple[tuple[int, ...], Tensor] | None = None

    @property
    def weight(self) -> Tensor:
        """The matrix that it multiplies by."""
        parts = [self._base[0].weight, self.up_OR, self.down_RI]
        if self.order_N is not None:
            parts.append(self.order_N)
        if torch.is_grad_enabled() and self.up_OR.requires_grad:
            return self._made()
        versions = tuple(part._version for part in parts)
        if self._kept is None or self._kept[0] != versions:
            with torch.inference_mode(False), torch.no_grad():
                self._kept = (versions, self._made())
        return self._kept[1]

    def reorder(self, order_N: Tensor) -> None:
        """Let its outputs (or inputs) stand in another order from now on."""
        assert self.order_N is not None, "only what was made to be reordered"
        self.order_N.copy_(order_N)
        if self.reordered == "outputs" and self.bias is not None:
            base = self._base[0].bias
            self.bias.data.copy_(base.detach()[order_N.long()])

    def forward(self, x: Tensor) -> Tensor:
        """Multiply (…, I) -> (…, O)."""
        return F.linear(x, self.weight, self.bias)

    def _made(self) -> Tensor:
        weight_OI = self._base[0].weight
        if self.order_N is not None:
            dim = 0 if self.reordered == "outputs" else 1
            weight_OI = weight_OI.index_select(dim, self.order_N)
        with torch.autocast(weight_OI.device.type, enabled=False):
            return weight_OI + self.up_OR @ self.down_RI
