# SPDX-License-Identifier: Apache-2.0
"""How long computing takes beside how long the sound lasts.

Real-time factor is computation, not delay: seconds computed for each second heard. Chunk latency is
the time from handing a chunk over until what it made known is back.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from evenear.units import Seconds

__all__ = ["ComputeTime"]


@dataclass(frozen=True)
class ComputeTime:
    """Time spent computing, chunk by chunk. These add; their rates do not."""

    heard_seconds: Seconds = 0.0
    chunk_seconds: tuple[Seconds, ...] = ()
    """Seconds that each chunk took."""

    def __add__(self, other: "ComputeTime") -> "ComputeTime":
        return ComputeTime(
            self.heard_seconds + other.heard_seconds, self.chunk_seconds + other.chunk_seconds
        )

    @classmethod
    def total(cls, parts: Iterable["ComputeTime"]) -> "ComputeTime":
        """The sum of many, without copying them once for each."""
        parts = list(parts)
        chunks = tuple(seconds for part in parts for seconds in part.chunk_seconds)
        return cls(sum(part.heard_seconds for part in parts), chunks)

    @property
    def real_time_factor(self) -> float | None:
        """Seconds computed for each second heard; None if nothing was heard."""
        return sum(self.chunk_seconds) / self.heard_seconds if self.heard_seconds > 0 else None

    def percentile_milliseconds(self, percent: float) -> float | None:
        """The latency that `percent` of chunks do not exceed; None without chunks."""
        if not self.chunk_seconds:
            return None
        return float(np.percentile(self.chunk_seconds, percent)) * 1000
