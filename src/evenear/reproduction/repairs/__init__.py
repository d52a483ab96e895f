# SPDX-License-Identifier: Apache-2.0
"""Published repairs made again: regions and cohorts are found, repaired by each method, judged."""

__all__: list[str] = []
