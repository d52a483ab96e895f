# SPDX-License-Identifier: Apache-2.0
"""Adversarial reweighting for speaker verification, made again small: Jin et al. 2022.

https://arxiv.org/abs/2207.07776
"""

__all__: list[str] = []
