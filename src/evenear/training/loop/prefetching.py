# SPDX-License-Identifier: Apache-2.0
"""Batches made ahead by a thread, and moved to where the model is."""

import queue
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

__all__ = ["moved", "prefetched"]

G = TypeVar("G")
X = TypeVar("X")

_AHEAD = 4


def prefetched(groups: Sequence[G], make: Callable[[G], X]) -> Generator[X, None, None]:
    """What `make` makes of each group, in order, a few ahead; its errors come here too.

    Close it when done: then no thread is left.
    """
    ready: queue.Queue[Any] = queue.Queue(maxsize=_AHEAD)
    stop, end = threading.Event(), object()

    def work() -> None:
        try:
            for group in groups:
                if stop.is_set():
                    return
                ready.put((make(group), None))
            ready.put((end, None))
        except BaseException as error:
            ready.put((end, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            made, error = ready.get()
            if error is not None:
                raise error
            if made is end:
                return
            yield made
    finally:
        stop.set()
        while thread.is_alive():
            try:
                ready.get(timeout=0.1)
            except queue.Empty:
                continue


def moved(batch: Any, device: torch.device) -> Any:
    """A NamedTuple with its tensors on a device; on the CPU, the batch itself."""
    if device.type == "cpu":
        return batch
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(moved(part, device) for part in batch))
    return batch
