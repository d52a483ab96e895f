# SPDX-License-Identifier: Apache-2.0
"""What can be trained: one module for each task."""

__all__: list[str] = []
