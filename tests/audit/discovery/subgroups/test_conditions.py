# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.simulated import results
from evenear.audit.discovery.subgroups.conditions import (
    Condition,
    SearchColumn,
    assign_conditions,
    search_cells,
    search_columns,
)
from evenear.errors import CohortError, TableError

NAMES = ("subgroup 1", "in", "out")


def holds(condition, value):
    """The condition by hand: True, False, or None where the value is unknown."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if not condition.column.cuts:
        return str(value) in condition.kinds
    row = sum(value >= cut for cut in condition.column.cuts)
    return condition.column.labels[row] in condition.kinds


def all_hold(conditions, row):
    """Unknown only if nothing fails and something is unknown."""
    found = [holds(condition, row[condition.column.name]) for condition in conditions]
    return False if False in found else None if None in found else True


def people(number=60, seed=0):
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, number).astype(float)
    return {
        "gender": [None if k % 9 == 0 else "fm"[k % 2] for k in range(number)],
        "age": np.where(rng.random(number) < 0.1, np.nan, age),
        "stars": rng.integers(1, 4, number),
    }


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_cells_and_cohorts_hold_what_a_reader_would_say(data):
    table = results(people(seed=data.draw(st.integers(0, 20))), utterances=2)
    cells = search_cells(table, search_columns(table))
    every = cells.conditions()
    chosen = data.draw(st.lists(st.sampled_from(every), min_size=1, max_size=3))
    rows = list(table.frame.iter_rows(named=True))
    inside = [row for row in rows if all_hold(chosen, row)]
    members_C = np.logical_and.reduce([cells.members(one) for one in chosen])
    assert cells.errors_C[members_C].sum() == sum(row["errors"] for row in inside)
    assert cells.words_C[members_C].sum() == sum(row["words"] for row in inside)
    assigned = assign_conditions(table, chosen, NAMES, "subgroups")
    names = {True: "in", False: "out", None: None}
    said = dict(assigned.frame.iter_rows())
    assert {name: said.get(name) for name in table.speakers["speaker"]} == {
        row["speaker"]: names[all_hold(chosen, row)] for row in rows
    }
    assert assigned.reported == ("in",)


def test_cells_add_up_to_the_table():
    table = results({**people(), "noise": lambda who: np.where(np.arange(len(who)) % 3, "a", "b")})
    cells = search_cells(table, search_columns(table, ["noise", "gender"]))
    assert not cells.is_by_speaker
    assert (cells.errors_C.sum(), cells.words_C.sum()) == (table.errors, table.words)
    assert (np.diff(cells.speakers_C) >= 0).all()
    by_speaker = np.bincount(cells.speakers_C, cells.errors_C)
    assert by_speaker.tolist() == table.speakers["errors"].to_list()
    assert search_cells(table, search_columns(table, ["gender"])).is_by_speaker


def test_what_varies_within_speakers_divides_utterances():
    table = results({**people(), "noise": lambda who: np.where(np.arange(len(who)) % 3, "a", "b")})
    loud = Condition(column=SearchColumn(name="noise"), kinds=("b",))
    assigned = assign_conditions(table, [loud], NAMES, "subgroups")
    assert assigned.key == "utterance_id"
    joined = table.frame.join(assigned.frame, on="utterance_id")
    assert ((joined["noise"] == "b") == (joined["value"] == "in")).all()


def test_numbers_are_cut_where_speakers_are_evenly_divided():
    table = results({"years": np.arange(100.0)})
    (column,) = search_columns(table)
    assert column.cuts == (25.0, 50.0, 74.0)
    counted = table.frame.select("speaker", column.kinds()).unique()["years"].value_counts()
    assert sorted(counted["count"]) == [24, 25, 25, 26]
    assert column.labels == ["below 25", "25 to below 50", "50 to below 74", "74 and above"]


def test_numbers_that_differ_little_have_ranges_of_their_own():
    """Two ranges once had one name, which crashed the search."""
    table = results({"recorded": 1_700_000_000.0 + np.arange(100)})
    cells = search_cells(table, search_columns(table))
    assert len(cells.kinds[0]) == 4


def test_a_number_that_is_none_is_no_kind():
    table = results({"stars": np.where(np.arange(90) % 3, np.arange(90) % 3, np.nan)})
    assert search_cells(table, search_columns(table)).kinds == (("1.0", "2.0"),)


@pytest.mark.parametrize(
    ("kinds", "text"),
    [
        (("below 10",), "years below 10"),
        (("below 10", "10 to below 20"), "years below 20"),
        (("20 to below 30", "10 to below 20"), "years 10 to below 30"),
        (("below 10", "30 and above"), "years below 10 or 30 and above"),
        (("10 to below 20", "20 to below 30", "30 and above"), "years 10 and above"),
    ],
)
def test_neighboring_ranges_are_told_as_one(kinds, text):
    assert Condition(column=SearchColumn(name="years", cuts=(10, 20, 30)), kinds=kinds).text == text


def test_every_kind_and_every_end_of_a_scale_is_tried_once():
    table = results({"years": np.arange(100.0), "gender": ["f", "m"] * 50})
    conditions = search_cells(table, search_columns(table)).conditions()
    assert [one.text for one in conditions] == [
        "years 25 to below 50", "years 50 to below 74", "years 74 and above", "years below 25",
        "years below 50", "years 50 and above", "years below 74", "years 25 and above",
        "gender f", "gender m",
    ]  # fmt: skip


def test_names_are_not_kinds_unless_they_are_asked_for():
    table = results({"town": [f"town {k}" for k in range(40)], "gender": ["f", "m"] * 20})
    assert [one.name for one in search_columns(table)] == ["gender"]
    assert [one.name for one in search_columns(table, ["town"])] == ["town"]


def test_a_table_with_nothing_to_search_says_what_it_needs():
    table = results({"town": [f"town {k}" for k in range(40)], "one": ["a"] * 40})
    with pytest.raises(CohortError, match="a few kinds each"):
        search_columns(table)
    with pytest.raises(TableError, match="no attribute 'twon'") as caught:
        search_columns(table, ["twon"])
    assert "'town'" in str(caught.value.hint)


def test_no_range_is_empty():
    """Many speakers have the lowest number: a cut there would have nobody below it."""
    table = results({"children": np.maximum(np.arange(100.0) - 60, 0)})
    (column,) = search_columns(table)
    assert column.labels[0] == "below 14"
    assert len(search_cells(table, (column,)).kinds[0]) == len(column.labels)


def test_a_number_that_all_share_is_not_searched():
    table = results({"year": np.full(40, 2024.0), "gender": ["f", "m"] * 20})
    assert [one.name for one in search_columns(table)] == ["gender"]


def test_speech_without_words_is_in_no_cell():
    table = results({"gender": ["f", "m"] * 20})
    silent = table.frame.with_columns(
        words=pl.when(pl.col("speaker") == "s0000").then(0).otherwise("words")
    )
    cells = search_cells(type(table)(silent), search_columns(table))
    assert len(cells.speakers_C) == 39
