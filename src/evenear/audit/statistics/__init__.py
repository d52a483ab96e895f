# SPDX-License-Identifier: Apache-2.0
"""Statistics: gaps with intervals and honest verdicts, comparisons, adjusted ratios, power."""

__all__: list[str] = []
