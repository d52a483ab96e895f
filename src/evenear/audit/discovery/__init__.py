# SPDX-License-Identifier: Apache-2.0
"""Discovery: searches for cohorts that nobody named, each ending in a rule for other speakers."""

__all__: list[str] = []
