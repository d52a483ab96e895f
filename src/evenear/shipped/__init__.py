# SPDX-License-Identifier: Apache-2.0
"""What the package ships: models, and clips to try them on. Data only."""

__all__ = ["DEFAULT_DETECTOR", "DEFAULT_RECOGNIZER"]

DEFAULT_DETECTOR = "evenear-voice"
"""The detector of voice that ends turns where somebody listens live."""
DEFAULT_RECOGNIZER = "evenear-en"
"""The recognizer that commands use where none is named."""
