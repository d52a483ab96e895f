# SPDX-License-Identifier: Apache-2.0
"""Weights of examples that look after whom the model serves worst."""

__all__: list[str] = []
