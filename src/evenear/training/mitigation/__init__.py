# SPDX-License-Identifier: Apache-2.0
"""Close a gap without opening another: adapt a recognizer to a cohort, and judge it on all."""

__all__: list[str] = []
