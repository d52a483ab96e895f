# SPDX-License-Identifier: Apache-2.0
"""One process alone changes nothing; `test_two_processes.py` has two."""

import torch
from torch import nn

from evenear.training.loop.processes import Processes


def test_a_process_alone_is_the_first_and_shares_nothing():
    alone = Processes(torch.device("cpu"))
    assert (alone.rank, alone.count, alone.is_first) == (0, 1, True)
    layer = nn.Linear(2, 2)
    layer(torch.ones(1, 2)).sum().backward()
    assert layer.weight.grad is not None
    before = layer.weight.grad.clone()
    alone.average_gradients(layer.parameters())
    alone.share_statistics(layer)
    assert torch.equal(layer.weight.grad, before)
