# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json

import polars as pl
import pytest

from audit.planted import planted
from evenear.audit import Gap, cohorts_by, gaps
from evenear.errors import CohortError


def measured(**settings):
    table = planted(120, effects={("accent", "a"): 2.0})
    return gaps(table, cohorts_by(table, ["accent", "gender"]), num_resamples=200, **settings)


def test_everything_is_plain_json_and_numbers_survive_it():
    found = measured(confirm_fraction=0.5, adjust_for=["utterance_length"])
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert list(values)[:2] == ["overall", "cohorts"]
    assert values["cohorts"][0] == dataclasses.asdict(found.rows[0])
    assert values["formula"] == found.formula
    wanted = [
        "attribute",
        "value",
        "speakers",
        "utterances",
        "words",
        "errors",
        "wer",
        "low",
        "high",
        "gap",
        "gap_low",
        "gap_high",
        "p_adjusted",
        "confirmed",
    ]
    assert all(set(wanted) <= set(row) for row in values["cohorts"])


def test_the_frame_has_a_row_for_each_cohort_and_typed_columns():
    found = measured(min_speakers=10_000)
    frame = found.to_frame()
    assert frame.height == len(found.rows) == 8
    assert frame.columns == [field.name for field in dataclasses.fields(Gap)]
    assert frame.schema["wer"] == pl.Float64
    assert frame.schema["confirmed"] == pl.Boolean


def test_the_formula_says_what_gaps_are_relative_to():
    assert "WER(rest)" in measured().formula
    assert "WER(all)" in measured(to="overall").formula


def test_the_worst_is_the_confirmed_cohort_with_the_largest_gap():
    found = measured()
    assert found.worst is not None
    assert (found.worst.attribute, found.worst.value) == ("accent", "a")
    without = dataclasses.replace(
        found, rows=tuple(dataclasses.replace(row, confirmed=False) for row in found.rows)
    )
    assert without.worst is None


def test_rows_of_one_attribute_are_found_by_its_name():
    found = measured()
    assert [row.value for row in found.of("gender")] == ["female", "male"]
    with pytest.raises(CohortError, match="gender"):
        found.of("gendre")
