# SPDX-License-Identifier: Apache-2.0
"""Gates: conditions on an audit that make a continuous-integration job fail."""

__all__: list[str] = []
