# SPDX-License-Identifier: Apache-2.0
"""From stored utterances to batches for training: store, vary, join, splice, crop, plan."""

__all__: list[str] = []
