# SPDX-License-Identifier: Apache-2.0
"""Streaming encoders, all by the contract of `evenear.encoders.base`."""

__all__: list[str] = []
