# SPDX-License-Identifier: Apache-2.0
"""What many tests share is made once, and the same whoever asks for it first."""

import functools
from collections.abc import Callable
from typing import TypeVar

import torch

__all__ = ["made_once"]

F = TypeVar("F", bound=Callable)


def made_once(make: F) -> F:
    """Remember what was made, outside of inference mode: weights made in it cannot learn."""
    return functools.cache(torch.inference_mode(False)(make))  # type: ignore[return-value]
