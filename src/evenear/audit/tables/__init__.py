# SPDX-License-Identifier: Apache-2.0
"""Tables: what recognizers wrote, read, cleaned, aligned and divided into cohorts."""

__all__: list[str] = []
