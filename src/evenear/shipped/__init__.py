# SPDX-License-Identifier: Apache-2.0
"""What the package ships: models, and clips to try them on. Data only."""

__all__ = ["DEFAULT_RECOGNIZER"]

DEFAULT_RECOGNIZER = "evenear-en"
"""The recognizer that commands use where none is named."""
