# SPDX-License-Identifier: Apache-2.0
"""Commands that make models: train, average, mitigate."""

__all__: list[str] = []
