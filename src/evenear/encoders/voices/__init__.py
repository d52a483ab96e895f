# SPDX-License-Identifier: Apache-2.0
"""Encoders that listen for who speaks: convolutions over time and frequency."""

__all__: list[str] = []
