# SPDX-License-Identifier: Apache-2.0
"""Whole models: encoders joined with what turns their frames into tokens."""

__all__: list[str] = []
