# SPDX-License-Identifier: Apache-2.0
"""From samples to feature frames."""

from evenear.features.config import FeatureConfig, bin_hz
from evenear.features.streams import FeatureStream, extract, log_mel, stack_frames

__all__ = ["FeatureConfig", "FeatureStream", "bin_hz", "extract", "log_mel", "stack_frames"]
