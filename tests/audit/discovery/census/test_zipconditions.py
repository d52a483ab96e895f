# SPDX-License-Identifier: Apache-2.0
import polars as pl
import pytest

from evenear.audit.discovery.census.zipcodes import zip_table
from evenear.audit.discovery.census.zipconditions import (
    ZipCondition,
    census_conditions,
    zip_members,
)


def test_every_threshold_has_its_opposite():
    conditions = census_conditions()
    members = zip_members(conditions)
    for k in range(0, len(conditions) - 4, 2):  # the last four are regions
        one, other = conditions[k], conditions[k + 1]
        assert one.column == other.column
        both = members.select(str(k), str(k + 1)).drop_nulls()
        assert (both[str(k)] != both[str(k + 1)]).all()


def test_conditions_hold_where_they_say():
    table = zip_table()
    for condition in census_conditions():
        held = table.select(condition.column, holds=condition.mask()).drop_nulls()
        values = held.filter("holds")[condition.column]
        if condition.equals is not None:
            assert set(values) == {condition.equals}
        elif condition.at_least is not None:
            assert values.min() >= condition.at_least
        else:
            assert values.max() < condition.below


def test_quarters_hold_about_a_quarter_of_the_people():
    low = next(c for c in census_conditions() if c.text.startswith("median household income below"))
    known = zip_table().drop_nulls(low.column)
    share = known.filter(low.mask())["population"].sum() / known["population"].sum()
    assert share == pytest.approx(0.25, abs=0.02)


def test_texts_speak_of_places_and_differ():
    texts = [condition.text for condition in census_conditions()]
    assert len(set(texts)) == len(texts)
    assert not any("speaker" in text for text in texts)


def test_where_the_census_is_silent_nothing_is_known():
    condition = ZipCondition(column="median_age", text="median age at least 40", at_least=40.0)
    members = zip_members((condition,)).join(zip_table().select("zip", "median_age"), on="zip")
    silent = members.filter(pl.col("median_age").is_null())
    assert silent.height > 0
    assert silent["0"].null_count() == silent.height
