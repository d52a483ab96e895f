# SPDX-License-Identifier: Apache-2.0
"""Corpora as they lie on disk: manifests, importers, rows and their problems, splits."""

__all__: list[str] = []
