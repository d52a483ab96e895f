# SPDX-License-Identifier: Apache-2.0
"""How samples become frames, and where the mel bins lie.

Legend: M mel bins, F feature width (M times the stack).
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from evenear.config import config
from evenear.errors import ConfigError
from evenear.features.whisper import slaney_hz, slaney_places
from evenear.units import SAMPLE_RATE, FrameClock

__all__ = ["FeatureConfig", "bin_hz"]


@config
class FeatureConfig:
    """How samples become frames."""

    kind: Literal["log-mel", "whisper"] = "log-mel"
    num_mel_bins: int = Field(default=64, ge=1)
    window_milliseconds: float = Field(default=25.0, gt=0)
    hop_milliseconds: float = Field(default=10.0, gt=0)
    stack: int = Field(default=3, ge=1)
    """Log-mel frames joined into one feature frame; also the frames it advances."""
    floor: float = Field(default=-6.5, le=0)
    """Least base-10 logarithm of an energy, for the kind `whisper`."""

    def __post_init__(self) -> None:
        if self.kind == "whisper" and (self.window_milliseconds, self.hop_milliseconds) != (25, 10):
            raise ConfigError(
                "Whisper's features have windows of 25 ms each 10 ms, got "
                f"{self.window_milliseconds} each {self.hop_milliseconds}.",
                hint="Leave window_milliseconds and hop_milliseconds as they are.",
            )

    @classmethod
    def whisper(cls) -> "FeatureConfig":
        """What a pretrained Whisper encoder listens to: 80 bins each 10 ms, not joined."""
        return cls(kind="whisper", num_mel_bins=80, stack=1)

    @property
    def dim(self) -> int:
        """Width F of a feature frame."""
        return self.num_mel_bins * self.stack

    @property
    def nat(self) -> float:
        """By how much a feature grows where the energy grows by a factor of e."""
        return 1.0 if self.kind == "log-mel" else 1.0 / (4.0 * math.log(10.0))

    @property
    def clock(self) -> FrameClock:
        """The clock of feature frames."""
        hop = round(self.hop_milliseconds * SAMPLE_RATE / 1000)
        return FrameClock(sample_rate=SAMPLE_RATE, hop=hop, stride=self.stack)


def bin_hz(config: FeatureConfig) -> NDArray[np.float64]:
    """Center frequencies of the mel bins, (M,)."""
    if config.kind == "whisper":
        return slaney_hz(slaney_places(config.num_mel_bins))[1:-1]
    low, high = (1127.0 * np.log1p(hz / 700.0) for hz in (20.0, SAMPLE_RATE / 2 - 400.0))
    places_M = np.linspace(low, high, config.num_mel_bins + 2)[1:-1]
    return 700.0 * np.expm1(places_M / 1127.0)
