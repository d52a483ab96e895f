# SPDX-License-Identifier: Apache-2.0
"""What the package ships: models, and clips to try them on. Data only."""

__all__: list[str] = []
