# SPDX-License-Identifier: Apache-2.0
"""Measures of what was recognized: counts first, rates last, never torch.

`words` counts word errors after a named normalizer; `intervals` says how sure a pooled rate is.
"""

__all__: list[str] = []
