# SPDX-License-Identifier: Apache-2.0
"""Training: settings, objectives, exact resumption, and one explicit loop."""

__all__: list[str] = []
