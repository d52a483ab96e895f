# SPDX-License-Identifier: Apache-2.0
"""Subgroups: conjunctions of attributes that a recognizer fails."""

__all__: list[str] = []
