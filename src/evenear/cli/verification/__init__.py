# SPDX-License-Identifier: Apache-2.0
"""Commands that tell voices apart: verify, enroll, calibrate, embed."""

__all__: list[str] = []
