# SPDX-License-Identifier: Apache-2.0
"""Several processes that train one model: who is who, and what they share after each batch.

`torchrun --nproc_per_node 2 -m evenear train …` starts them. Each hears batches of its own; their
gradients are averaged, so all take the same step, or none: a gradient that is not finite in one is
not finite in the mean. Statistics that layers keep are those of the first process.
"""

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import nn

__all__ = ["Processes"]


class Processes:
    """The processes that take part, of which this is number `rank`."""

    def __init__(self, device: torch.device) -> None:
        self.rank, self.count = 0, int(os.environ.get("WORLD_SIZE", "1"))
        if self.count > 1:
            if not dist.is_initialized():
                dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
            self.rank = dist.get_rank()

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and speaks for all."""
        return self.rank == 0

    @torch.no_grad()
    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Make the gradients of all processes their mean."""
        if self.count == 1:
            return
        every = [p for p in parameters if p.requires_grad]
        for p in every:
            if p.grad is None:  # of no use to this batch, but perhaps to another's
                p.grad = torch.zeros_like(p)
        gradients = [p.grad for p in every if p.grad is not None]
        joined = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(joined)
        joined /= self.count
        for gradient, mean in zip(
            gradients, joined.split([g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(mean.view_as(gradient))

    @torch.no_grad()
    def share_statistics(self, model: nn.Module) -> None:
        """Give all processes the buffers of the first."""
        if self.count > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)
