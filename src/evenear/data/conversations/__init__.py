# SPDX-License-Identifier: Apache-2.0
"""Conversations simulated from single speakers, with exact truth."""

__all__: list[str] = []
