# SPDX-License-Identifier: Apache-2.0
"""Building blocks with explicit streaming state."""

__all__: list[str] = []
