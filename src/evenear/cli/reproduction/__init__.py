# SPDX-License-Identifier: Apache-2.0
"""`evenear reproduce`: published tables and repairs, made again and judged."""

__all__: list[str] = []
