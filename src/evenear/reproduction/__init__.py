# SPDX-License-Identifier: Apache-2.0
"""Published tables made again: variants trained side by side, scored alike, then judged."""

__all__: list[str] = []
