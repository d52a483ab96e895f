# SPDX-License-Identifier: Apache-2.0
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.simulated import results, scattered
from evenear.audit.discovery.geography.places import STEPS, Box, Grid, speaker_places
from evenear.errors import CohortError

LONGITUDES = st.floats(-180, 180)
LATITUDES = st.floats(-90, 90)


def places_of(latitude, longitude):
    return speaker_places(results({"latitude": latitude, "longitude": longitude}))


@pytest.mark.parametrize(
    ("box", "words"),
    [
        (Box(south=30, north=41.5, east=-100), "30° N to 41.5° N, west of 100° W"),
        (Box(north=-10), "south of 10° S"),
        (Box(west=170, east=-170), "170° E to 170° W"),
        (Box(south=0.0), "north of 0°"),
        (Box(), "everywhere"),
    ],
)
def test_boxes_have_words(box, words):
    assert box.words == words


@settings(max_examples=40)
@given(
    st.lists(st.tuples(LATITUDES, LONGITUDES), min_size=2, max_size=40, unique=True),
    st.sampled_from([None, *STEPS]),
    st.data(),
)
def test_a_box_holds_exactly_the_cells_between_its_bounds(points, step, data):
    latitude, longitude = np.array(points).T
    grid = Grid.around(places_of(latitude, longitude), step=step)
    cells_SA = grid.cells(latitude, longitude)
    bounds = []
    for cells_S in cells_SA.T:
        between = st.none() | st.integers(int(cells_S.min()) + 1, int(cells_S.max()))
        if cells_S.min() == cells_S.max():
            between = st.none()
        bounds.append(sorted((data.draw(between), data.draw(between)), key=lambda b: b or 0))
    (west, east), (south, north) = bounds
    held = np.ones(len(cells_SA), dtype=bool)
    for cells_S, low, high in ((cells_SA[:, 0], west, east), (cells_SA[:, 1], south, north)):
        held &= (cells_S >= low) if low is not None else True
        held &= (cells_S < high) if high is not None else True
    box = grid.box((west, south), (east, north))
    np.testing.assert_array_equal(grid.contains(box, cells_SA), held)


def test_the_map_is_cut_open_where_nobody_lives():
    columns = scattered(300, south=-20.0, west=170.0)
    grid = Grid.around(places_of(columns["latitude"], columns["longitude"]))
    cells_SA = grid.cells(columns["latitude"], columns["longitude"])
    width = np.ptp(cells_SA[:, 0]) * grid.step
    assert width < 21.0
    assert columns["longitude"].min() < -170.0
    assert columns["longitude"].max() > 170.0


def test_steps_are_about_a_hundredth_of_the_map():
    wide = Grid.around(places_of(np.linspace(-40, 60, 50), np.linspace(-150, 150, 50)))
    city = Grid.around(places_of(np.linspace(40, 41, 50), np.linspace(-74, -73, 50)))
    assert (wide.step, city.step) == (2.0, 0.01)


def test_what_is_drawn_ends_where_several_speakers_live():
    latitude = np.append(np.linspace(30.0, 40.0, 99), 80.0)
    places = places_of(latitude, np.linspace(0.0, 10.0, 100))
    grid = Grid.around(places, step=0.5)
    extent = grid.extent(grid.cells(places.latitude_S, places.longitude_S), hidden=3)
    assert extent.north is not None
    assert extent.north < 41.0


def test_a_speaker_is_where_most_of_the_words_were_said():
    table = results({"latitude": [1.0, 2.0], "longitude": [3.0, 4.0]}, seed=1)
    frame = table.frame.with_row_index().with_columns(
        latitude=pl.when(pl.col("index") == 0).then(50.0).otherwise(pl.col("latitude")),
        words=pl.when(pl.col("index") == 0).then(10_000).otherwise(pl.col("words")),
    )
    places = speaker_places(type(table)(frame.drop("index")))
    assert places.latitude_S.tolist() == [50.0, 2.0]
    assert places.words_S.tolist() == type(table)(frame).speakers["words"].to_list()


def test_speakers_without_a_place_are_left_out():
    table = results({"latitude": [1.0, None, 2.0], "longitude": [3.0, 4.0, None]})
    assert speaker_places(table).speakers.to_list() == ["s0000"]


def test_a_table_without_places_says_what_is_needed():
    with pytest.raises(CohortError, match=r"latitude and longitude, or zip.*columns="):
        speaker_places(results({"age": ["old", "young"]}))
