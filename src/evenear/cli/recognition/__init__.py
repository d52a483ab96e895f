# SPDX-License-Identifier: Apache-2.0
"""Commands that recognize: transcribe, listen, demo, evaluate; one talker or two."""

__all__: list[str] = []
