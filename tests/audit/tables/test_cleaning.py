# SPDX-License-Identifier: Apache-2.0
import polars as pl
import pytest

from evenear.audit.tables.cleaning import (
    Notes,
    clean_attributes,
    clean_counts,
    clean_keys,
    clean_places,
    clean_zips,
)
from evenear.errors import TableError


def cleaned(function, columns, *arguments):
    notes = Notes()
    frame = pl.DataFrame(columns, strict=False)
    return function(frame, *arguments, notes), notes.sentences()


def test_sentences_add_up_over_batches():
    notes = Notes()
    for count in (3, 0, 1200):
        notes("{} rows were left out.", count)
    notes("Once.")
    assert notes.sentences() == ("1,203 rows were left out.", "Once.")


def test_rows_without_ids_or_speakers_get_their_own():
    frame, said = cleaned(clean_keys, {"speaker": ["a", "  a ", None, "NA"]}, 10)
    assert frame["utterance_id"].to_list() == ["row 11", "row 12", "row 13", "row 14"]
    assert frame["speaker"].to_list() == ["a", "a", "speaker of row 13", "speaker of row 14"]
    assert any("2 utterances have no speaker" in sentence for sentence in said)
    _, said = cleaned(clean_keys, {"utterance_id": ["u0", "u1"]}, 0)
    assert any("intervals are too narrow" in sentence for sentence in said)


def test_numbers_as_ids_become_text():
    frame, _ = cleaned(clean_keys, {"utterance_id": [1, 2], "speaker": [7, 7]}, 0)
    assert frame["utterance_id"].to_list() == ["1", "2"]
    assert frame["speaker"].to_list() == ["7", "7"]


def test_counts_that_cannot_be_counted_are_left_out():
    nan, infinite = float("nan"), float("inf")
    frame, said = cleaned(
        clean_counts,
        {
            "words": [5, 5, 5, None, 5, 5, 5, 5, 5, 5],
            "errors": [1, nan, infinite, 1, -1, 0.5, 2, 3.0, 4, 5],
        },
        ["words", "errors"],
    )
    assert frame["errors"].to_list() == [1, 2, 3, 4, 5]
    assert frame.schema["errors"] == pl.Int64
    assert said == (
        "5 rows were left out: their words or errors are missing, negative, infinite, or not "
        "whole numbers.",
    )


def test_rates_in_the_place_of_counts_are_refused():
    with pytest.raises(TableError, match="whole numbers"):
        cleaned(
            clean_counts,
            {"words": [5, 5, 5], "errors": ["0.12", "0.3", "1"]},
            ["words", "errors"],
        )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([2139, 90210], ["02139", "90210"]),
        ([2139.0, None], ["02139", None]),
        (["02139-1234", "2139-1234"], ["02139", "02139"]),
        (["21391234", "021391234"], ["02139", "02139"]),
        (["K1A 0B1", "123456"], [None, None]),
        (["501", "NA"], ["00501", None]),
    ],
)
def test_zip_codes_become_five_digits(given, expected):
    frame, _ = cleaned(clean_zips, {"zip": given})
    assert frame["zip"].to_list() == expected


def test_repaired_and_foreign_zip_codes_are_counted():
    _, said = cleaned(clean_zips, {"zip": ["2139", "501", "90210", "SW1A 1AA"]})
    assert said == (
        "2 ZIP codes had lost leading zeros; they were put back.",
        "1 ZIP codes are not US ZIP codes and count as unknown.",
    )


def places(latitude, longitude):
    frame, said = cleaned(clean_places, {"latitude": latitude, "longitude": longitude})
    return frame["latitude"].to_list(), frame["longitude"].to_list(), " ".join(said)


def test_good_places_stay_as_they_are():
    assert places([42.36, -33.9], [-71.06, 151.2]) == ([42.36, -33.9], [-71.06, 151.2], "")


@pytest.mark.parametrize("west", [[-122.4, -118.2], [-71.06, -118.2], [-71.06, -70.9]])
def test_swapped_latitude_and_longitude_are_put_right(west):
    latitude, longitude, said = places(west, [37.8, 34.1])
    assert (latitude, longitude) == ([37.8, 34.1], west)
    assert "were swapped" in said


def test_southern_places_are_not_taken_as_swapped():
    assert places([-54.8, -53.2], [-68.3, -70.9])[0] == [-54.8, -53.2]


def test_impossible_places_are_unknown():
    nan = float("nan")
    latitude, longitude, said = places([0.0, 95.0, nan, 42.0, 10.0], [0.0, 10.0, 5.0, None, 20.0])
    assert latitude == [None, None, None, None, 10.0]
    assert longitude == [None, None, None, None, 20.0]
    assert "4 utterances have no place" in said
    assert "3 places are impossible" in said


def test_longitudes_beyond_the_date_line_are_wrapped():
    assert places([10.0, 10.0], [190.0, 350.0])[1] == [-170.0, -10.0]


def test_equal_coordinates_are_told():
    assert "no geography to search" in places([42.0, 42.0], [-71.0, -71.0])[2]


def test_a_latitude_alone_is_not_used():
    frame, said = cleaned(clean_places, {"latitude": [1.0]})
    assert frame.columns == []
    assert "counterpart" in said[0]


def attributes(values):
    frame, said = cleaned(clean_attributes, {"x": values}, ["x"])
    return frame["x"], " ".join(said)


def test_spellings_of_unknown_are_unknown():
    column, _ = attributes(["male", "NA", "", " n/a ", "Unknown", None, "female"])
    assert column.to_list() == ["male", None, None, None, None, None, "female"]


def test_spellings_that_differ_in_case_or_blanks_are_one():
    column, said = attributes(["Male", "male ", "male", "FEMALE"])
    assert column.to_list() == ["male", "male", "male", "FEMALE"]
    assert "'Male' as 'male'" in said


def test_accents_that_are_written_in_two_ways_are_one():
    column, _ = attributes(["caf\u00e9", "cafe\u0301"])
    assert column.n_unique() == 1


def test_text_of_numbers_becomes_numbers_and_codes_stay_text():
    assert attributes(["30", "41", None])[0].to_list() == [30, 41, None]
    assert attributes(["1.5", "2"])[0].to_list() == [1.5, 2.0]
    assert attributes(["007", "008"])[0].to_list() == ["007", "008"]


def test_numbers_that_are_not_numbers_are_unknown_and_truth_becomes_words():
    assert attributes([1.0, float("nan"), float("inf")])[0].to_list() == [1.0, None, None]
    assert attributes([True, False, None])[0].to_list() == ["yes", "no", None]
