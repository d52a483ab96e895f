# SPDX-License-Identifier: Apache-2.0
"""Few sizes of tensors in training: a processor compiles its kernels anew for every new shape."""

__all__ = ["few_sizes"]


def few_sizes(size: int, least: int = 8) -> int:
    """The next size of a coarse grid: multiples of `least`, at most eight between powers of two.

    So a tensor is padded by an eighth at most (by less than `least` where it is small), and a run
    meets some thirty lengths instead of hundreds.

    Example:
        >>> [few_sizes(n) for n in (3, 65, 130, 300)]
        [8, 72, 144, 320]
    """
    step = max(least, 1 << max(0, (size - 1).bit_length() - 4))
    return -(-size // step) * step
