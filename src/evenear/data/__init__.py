# SPDX-License-Identifier: Apache-2.0
"""Speech on disk: manifests and corpora, their validation, batches and variations for training."""

__all__: list[str] = []
