# SPDX-License-Identifier: Apache-2.0
"""The loop, which knows nothing of what it trains, and all that it needs."""

__all__: list[str] = []
