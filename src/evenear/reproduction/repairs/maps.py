# SPDX-License-Identifier: Apache-2.0
"""Synthetic geography: places and ZIP codes that are assigned to speakers, who live elsewhere.

Real corpora with places are not to be had, so speakers get places by chance, those of one cohort
more often in one corner. The map lies in the middle of the ocean, where nobody lives, so that
nobody takes it for one. On the control map chance alone decides, so whatever is found there, and
whatever a repair of it gains, is what chance gives. `NOTE` belongs into every figure.

Source: a stand-in for the maps of Trinh et al. 2022, arXiv:2207.07850, and the ZIP codes of Dheram
et al. 2022, arXiv:2207.11345.
"""

from collections.abc import Mapping

import polars as pl

from evenear.audit.discovery.census.zipcodes import zip_table
from evenear.audit.discovery.census.zipconditions import ZipCondition, zip_members
from evenear.seeding import rng_for

__all__ = ["NOTE", "assigned_places", "assigned_zips"]

NOTE = "Synthetic geography"

_SOUTH, _WEST, _ACROSS = 20.0, -50.0, 20.0


def assigned_places(weak: Mapping[str, bool], *, pull: float, seed: int, name: str) -> pl.DataFrame:
    """A place for each speaker.

    Args:
        weak: Each speaker, and whether of the cohort that is drawn to the north-east quarter.
        pull: Chance that such a speaker is put there outright; 0 makes the control map.
        seed: The same seed, name and speakers give the same map.
        name: The name of the map.

    Returns:
        Columns speaker, latitude and longitude.
    """
    rows = []
    for speaker, is_weak in sorted(weak.items()):
        rng = rng_for(seed, "place", (name, speaker))
        x, y, chance = rng.random(3)
        if is_weak and chance < pull:
            x, y = 0.5 + x / 2, 0.5 + y / 2
        elif pull > 0.0 and x >= 0.5 and y >= 0.5 and chance < pull:
            x -= 0.5  # the others are fewer there
        rows.append((speaker, _SOUTH + _ACROSS * y, _WEST + _ACROSS * x))
    return pl.DataFrame(rows, schema=["speaker", "latitude", "longitude"], orient="row")


def assigned_zips(
    weak: Mapping[str, bool], condition: ZipCondition, *, pull: float, seed: int
) -> pl.DataFrame:
    """A ZIP code for each speaker: those of the cohort more often from where a condition holds.

    Returns:
        Columns speaker and zip.
    """
    members = zip_members((condition,))
    holds = members.select("zip", pl.all_horizontal(pl.exclude("zip")).alias("holds"))
    known = zip_table().select("zip").join(holds, on="zip", how="inner").drop_nulls().sort("zip")
    inside = known.filter(pl.col("holds"))["zip"].to_list()
    anywhere = known["zip"].to_list()
    rows = []
    for speaker, is_weak in sorted(weak.items()):
        rng = rng_for(seed, "zip", speaker)
        pool = inside if is_weak and rng.random() < pull else anywhere
        rows.append((speaker, pool[int(rng.integers(len(pool)))]))
    return pl.DataFrame(rows, schema=["speaker", "zip"], orient="row")
