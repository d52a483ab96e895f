# SPDX-License-Identifier: Apache-2.0
"""Discover on some speakers, confirm on others.

A cohort that was picked because it looked worst will look less bad on fresh speakers, whatever is
true of it. So whatever searches, searches among the discovery speakers, and whatever is reported is
measured on the confirmation speakers.

Speakers are drawn in the order of a hash of the seed and their name. So two recognizers tested on
the same speakers are divided alike, and a table that grows keeps nearly all of its division.
"""

import hashlib
from typing import NamedTuple

from evenear.audit.tables.table import Table
from evenear.errors import CohortError

__all__ = ["Split", "split_speakers"]


class Split(NamedTuple):
    """Two tables without a speaker in common."""

    discover: Table
    confirm: Table


def split_speakers(table: Table, *, confirm_fraction: float = 0.5, seed: int = 0) -> Split:
    """Divide the speakers of a table at random.

    Args:
        table: What to divide.
        confirm_fraction: Share of the speakers kept for confirmation.
        seed: The same seed and speakers give the same split.

    Raises:
        CohortError: The fraction is not between 0 and 1, or there are fewer than two speakers.
    """
    if not 0.0 < confirm_fraction < 1.0:
        raise CohortError(
            f"The share of speakers kept for confirmation must lie between 0 and 1, "
            f"got {confirm_fraction}.",
            hint="Half of them, 0.5, is a good choice.",
        )
    names = table.frame["speaker"].unique()
    if len(names) < 2:
        raise CohortError(
            f"Discovering and confirming needs at least 2 speakers, got {len(names)}.",
            hint="Without a split, the gap of a known attribute can still be measured.",
        )
    drawn = sorted(names, key=lambda name: _draw(seed, name))
    num_confirm = min(max(1, round(confirm_fraction * len(names))), len(names) - 1)
    return Split(
        discover=table.only_speakers(drawn[num_confirm:]),
        confirm=table.only_speakers(drawn[:num_confirm]),
    )


def _draw(seed: int, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}\x1fconfirm\x1f{name}".encode(), digest_size=16).digest()
