# SPDX-License-Identifier: Apache-2.0
"""Separator-Transducer-Segmenter, made again small: Sklyar, Piunova, Osendorfer 2022.

https://arxiv.org/abs/2205.05199
"""

__all__: list[str] = []
