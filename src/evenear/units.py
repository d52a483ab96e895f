# SPDX-License-Identifier: Apache-2.0
"""Seconds, samples and frames, and the one place where they turn into each other.

A sample is one audio value. A frame is one column of features or one output of an encoder. An
encoder frame spans `stride` hops; no other code multiplies by a hop length.
"""

from pydantic import Field

from evenear.config import config

__all__ = ["SAMPLE_RATE", "FrameClock", "Frames", "Samples", "Seconds"]

Seconds = float
Samples = int
Frames = int

SAMPLE_RATE: Samples = 16_000
"""The rate at which every model here listens, in Hz."""


@config
class FrameClock:
    """Converts between frames and seconds.

    Example: with a hop of 10 ms and a stride of 3, one encoder frame is 30 ms.
    """

    sample_rate: Samples = Field(default=SAMPLE_RATE, gt=0)
    hop: Samples = Field(default=160, gt=0)
    """Samples between two feature frames."""
    stride: Frames = Field(default=1, gt=0)
    """Feature frames per frame of this clock."""

    @property
    def frame_samples(self) -> Samples:
        """Samples that one frame advances."""
        return self.hop * self.stride

    @property
    def frame_seconds(self) -> Seconds:
        """Seconds that one frame advances."""
        return self.frame_samples / self.sample_rate

    def seconds_at(self, frame: Frames) -> Seconds:
        """Seconds from the start of the stream to the start of `frame`."""
        return frame * self.frame_samples / self.sample_rate

    def frame_at(self, seconds: Seconds) -> Frames:
        """The frame in which the moment `seconds` lies."""
        return round(seconds * self.sample_rate) // self.frame_samples
