# SPDX-License-Identifier: Apache-2.0
"""How much a state holds."""

import gc
import sys
from types import FunctionType, ModuleType

import numpy as np
import torch


def bytes_held(state: object) -> int:
    """Bytes of everything that a state leads to, but for code and models."""
    total, seen, waiting = 0, set(), [state]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type | ModuleType | FunctionType | torch.nn.Module):
            continue
        seen.add(id(one))
        total += one.nbytes if isinstance(one, torch.Tensor | np.ndarray) else sys.getsizeof(one)
        waiting += gc.get_referents(one)
    return total
