# SPDX-License-Identifier: Apache-2.0
"""A report as one offline page, as text, Markdown or JSON, with its drawings."""

__all__: list[str] = []
