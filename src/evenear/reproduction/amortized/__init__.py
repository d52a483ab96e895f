# SPDX-License-Identifier: Apache-2.0
"""The Compute Cost Amortized Transformer, judged: accuracy against computation, and by whom."""

__all__: list[str] = []
