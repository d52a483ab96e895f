# SPDX-License-Identifier: Apache-2.0
"""Voice: speakers whose voices sound alike."""

__all__: list[str] = []
