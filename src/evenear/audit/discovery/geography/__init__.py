# SPDX-License-Identifier: Apache-2.0
"""Geography: regions and hotspots of a map in which too much goes wrong."""

__all__: list[str] = []
