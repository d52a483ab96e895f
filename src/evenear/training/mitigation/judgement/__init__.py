# SPDX-License-Identifier: Apache-2.0
"""What a repair is worth: everyone measured, a strength chosen, all of it written down."""

__all__: list[str] = []
