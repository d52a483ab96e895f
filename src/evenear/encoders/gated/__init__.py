# SPDX-License-Identifier: Apache-2.0
"""A streaming Transformer that computes where the speech is hard."""

from evenear.encoders.gated.encoder import GatedConfig, GatedTransformer
from evenear.encoders.gated.gates import GateConfig

__all__ = ["GateConfig", "GatedConfig", "GatedTransformer"]
