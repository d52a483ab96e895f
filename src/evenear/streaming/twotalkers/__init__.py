# SPDX-License-Identifier: Apache-2.0
"""Two people who talk at once: their channels, who says which turn, scores and a page."""

__all__: list[str] = []
