# SPDX-License-Identifier: Apache-2.0
"""Streaming state as a value: stack the states of many listeners, and take them apart again.

A state is a NamedTuple whose fields are batch-first tensors or further states. So one pair of
functions serves every model: `stack_states` joins streams into a batch, `split_state` parts them.

Legend: B streams.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from evenear.errors import StateError

__all__ = ["map_state", "split_state", "stack_states", "state_bytes", "state_tensors"]

S = TypeVar("S", bound=tuple[Any, ...])


def map_state(function: Callable[..., Tensor], *states: S) -> S:
    """Apply `function` to the tensors at the same place of one or more states of one structure."""
    first = states[0]
    if isinstance(first, Tensor):
        return function(*states)  # pyright: ignore[reportReturnType]
    if not all(type(state) is type(first) and len(state) == len(first) for state in states):
        kinds = sorted({type(state).__name__ for state in states})
        raise StateError(
            f"States of one batch must have one structure, got {', '.join(kinds)}.",
            hint="Stack only states that the same model made.",
        )
    fields = [map_state(function, *parts) for parts in zip(*states, strict=True)]
    return type(first)(*fields) if hasattr(first, "_fields") else type(first)(fields)


def stack_states(states: Sequence[S]) -> S:
    """Join the states of several batches (often of one stream each) into one, in order.

    Raises:
        StateError: There are none, or they come from different models.
    """
    if not states:
        raise StateError("Stacking needs at least one state, got none.")
    try:
        return map_state(lambda *tensors: torch.cat(tensors, dim=0), *states)
    except RuntimeError as error:
        raise StateError(
            f"States of one batch must agree in every size but the first: {error}",
            hint="Stack only states that the same model made, at the same phase of its stride.",
        ) from None


def split_state(state: S, batch_size: int) -> list[S]:
    """Part the state of `batch_size` streams into one state for each stream."""
    for tensor in state_tensors(state):
        if tensor.shape[0] != batch_size:
            raise StateError(
                f"Expected a state of {batch_size} streams, got one of {tensor.shape[0]}."
            )
    return [map_state(lambda t, i=i: t[i : i + 1].clone(), state) for i in range(batch_size)]


def state_tensors(state: Any) -> list[Tensor]:
    """Every tensor of a state, depth first."""
    if isinstance(state, Tensor):
        return [state]
    return [tensor for part in state for tensor in state_tensors(part)]


def state_bytes(state: Any) -> int:
    """Bytes that a state holds."""
    return sum(tensor.numel() * tensor.element_size() for tensor in state_tensors(state))
