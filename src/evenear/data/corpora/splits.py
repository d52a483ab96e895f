# SPDX-License-Identifier: Apache-2.0
"""What nobody trains on: splits for testing, and for choosing while one trains.

Corpora name them in their own ways (test, test-clean, dev_other, eval2000, validation), so a split
is told by how its name begins. `validated` of Common Voice is among them: it holds the sentences of
its test.
"""

from collections.abc import Mapping
from typing import Any

__all__ = ["HELD_BACK", "in_words", "is_held_back"]

HELD_BACK = ("dev", "eval", "test", "valid")
"""How the names of splits begin that are never trained on."""


def is_held_back(split: Any) -> bool:
    """Whether a row of this split is for testing. None: the row is of no split."""
    if split is None:
        return False
    name = str(split).strip().replace("\\", "/").rstrip("/").rpartition("/")[2]
    return name.lower().startswith(HELD_BACK)


def in_words(left_out: Mapping[str, int]) -> str:
    """What was left out and how much of it, most of it first: `2 without text, 1 of …`."""
    rows = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {why}" for why, count in rows)
