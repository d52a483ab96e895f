# SPDX-License-Identifier: Apache-2.0
"""What of a recognizer moves in a repair, on whose speech, by which losses."""

__all__: list[str] = []
