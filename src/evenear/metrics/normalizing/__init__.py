# SPDX-License-Identifier: Apache-2.0
"""Ways to bring texts into a form in which their words can be compared."""

__all__: list[str] = []
