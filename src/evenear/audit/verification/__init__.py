# SPDX-License-Identifier: Apache-2.0
"""Verification: how evenly a speaker verifier serves groups of speakers."""

__all__: list[str] = []
