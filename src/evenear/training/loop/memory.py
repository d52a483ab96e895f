# SPDX-License-Identifier: Apache-2.0
"""Memory of a training process: what one batch frees, the next one takes.

By default glibc gives large blocks back to the system as soon as they are freed, and asks for them
again in the next layer: the system clears every page anew, each time. What that costs is measured
by `benchmarks/training_speed.py`.
"""

import ctypes
import os
import platform

__all__ = ["keep_freed_memory"]

_PRIMITIVES = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
"""Read by oneDNN when it first computes, so this comes in time before the first batch."""

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # names of mallopt(3)


def keep_freed_memory() -> bool:
    """Have this process keep freed memory for its next batch, where the C library is glibc.

    For programs whose work is to train, such as `evenear train`: the process never again becomes
    smaller than it once was.

    Batches have no two shapes alike, and oneDNN remembers a program with memory of its own for each
    of the last 1024 it met: it is told to remember few, if the user has not said how many. Without
    that, a run of `evenear-en-heads` grew by 12 MB an update, with it by less than half, at the
    same speed.

    Returns:
        Whether the C library was told so; on others, nothing more changes.
    """
    os.environ.setdefault(_PRIMITIVES, "64")
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, 2**31 - 1))
