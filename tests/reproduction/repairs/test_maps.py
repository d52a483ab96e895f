# SPDX-License-Identifier: Apache-2.0
"""Assigned places: drawn to a corner where they should be, by chance alone where not."""

import polars as pl

from evenear.audit.discovery.census.zipconditions import census_conditions, zip_members
from evenear.reproduction.repairs.maps import assigned_places, assigned_zips

WEAK = {f"s{k:03}": k % 2 == 0 for k in range(400)}


def corner_share(places: pl.DataFrame, *, weak: bool) -> float:
    wanted = places.filter(pl.col("speaker").is_in([s for s, w in WEAK.items() if w is weak]))
    return wanted.select(((pl.col("latitude") > 30) & (pl.col("longitude") > -40)).mean()).item()


def test_a_map_with_a_pull_gathers_the_cohort_in_its_corner():
    places = assigned_places(WEAK, pull=0.8, seed=0, name="corner")
    assert corner_share(places, weak=True) > 0.7
    assert corner_share(places, weak=False) < 0.2


def test_on_the_control_map_places_are_chance():
    places = assigned_places(WEAK, pull=0.0, seed=0, name="control")
    assert abs(corner_share(places, weak=True) - corner_share(places, weak=False)) < 0.15


def test_the_same_seed_and_names_give_the_same_map():
    one, other = (assigned_places(WEAK, pull=0.8, seed=0, name="corner") for _ in range(2))
    assert one.equals(other)
    assert not one.equals(assigned_places(WEAK, pull=0.8, seed=1, name="corner"))


def test_zip_codes_are_real_and_drawn_to_a_condition():
    condition = next(c for c in census_conditions() if c.column == "median_household_income")
    zips = assigned_zips(WEAK, condition, pull=0.8, seed=0)
    inside = zip_members((condition,)).filter(pl.all_horizontal(pl.exclude("zip")))["zip"]
    weak = zips.filter(pl.col("speaker").is_in([s for s, w in WEAK.items() if w]))
    others = zips.filter(pl.col("speaker").is_in([s for s, w in WEAK.items() if not w]))
    shares = [part["zip"].is_in(inside.to_list()).mean() for part in (weak, others)]
    assert zips["zip"].str.len_chars().unique().to_list() == [5]
    assert shares[0] > shares[1] + 0.3
