# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest

from audit.planted import planted
from evenear.audit import Table, cohorts_by
from evenear.audit.discovery.census.zipcodes import zip_table
from evenear.audit.report import AuditSettings, audit, render_page, to_text
from evenear.audit.report.discovery import SEARCHES, discover
from evenear.audit.tables.splits import split_speakers
from evenear.cli.audit import WAYS
from evenear.errors import CohortError, TableError

SETTINGS = AuditSettings(seed=1, num_resamples=200, confirm_fraction=0.5)


@cache
def everywhere(num_speakers: int = 500) -> Table:
    """Speakers all over the US, each with a ZIP code and an embedding; those in the South, and
    those of one kind of voice, fare worse."""
    table = planted(num_speakers, seed=4, scatter=0.3)
    rng = np.random.default_rng(11)
    zips = zip_table().filter((pl.col("zip_type") == "Standard") & (pl.col("population") > 0))
    zips = zips.filter(pl.col("lon").is_between(-125, -66) & pl.col("lat").is_between(25, 50))
    weights = zips["population"].to_numpy().astype(float)
    rows = rng.choice(zips.height, num_speakers, p=weights / weights.sum())
    kinds = rng.integers(0, 3, num_speakers)
    voices = rng.normal(size=(num_speakers, 6)) + 5.0 * np.eye(6)[kinds]
    people = pl.DataFrame(
        {
            "speaker": table.speakers["speaker"],
            "zip": zips["zip"].gather(rows),
            "latitude": zips["lat"].gather(rows),
            "longitude": zips["lon"].gather(rows),
            "embedding": pl.Series(voices, dtype=pl.Array(pl.Float64, 6)),
            "worse": (zips["lat"].gather(rows) < 35.0) | pl.Series(kinds == 0),
        }
    )
    frame = table.frame.join(people, on="speaker", maintain_order="left")
    errors = pl.when("worse").then(pl.col("errors") * 2 + 1).otherwise("errors")
    frame = frame.with_columns(errors=errors).drop("worse")
    return replace(table, frame=frame, name="planted")


@cache
def found_by(*searches: str):
    return discover(everywhere(), searches, SETTINGS)


def test_every_search_has_a_name_on_the_command_line():
    assert set(WAYS) == set(SEARCHES)


def test_a_planted_region_is_found_confirmed_and_drawn():
    found = found_by("geography")
    report = audit(found.table, found.cohorts, SETTINGS, findings=found.findings)
    worst = report.gaps.worst
    assert worst is not None
    assert worst.found_by == "geography"
    assert worst.gap > 0.3
    assert worst.discovered_gap is not None
    finding = next(one for one in found.findings if one.attribute == worst.attribute)
    (shape,) = [one for one in finding.shapes if one.value == worst.value]
    assert np.mean([latitude for _, latitude in shape.outlines[0]]) < 37.0
    assert all(cell.speakers >= SETTINGS.min_speakers for cell in finding.cells)
    assert finding.descriptions[worst.value] in report.headline.lines[0]
    assert '<path class="region worse"' in render_page(report)


def test_planted_voices_are_found_confirmed_and_drawn_without_names():
    found = found_by("voice")
    report = audit(found.table, found.cohorts, SETTINGS, findings=found.findings)
    assert report.gaps.worst is not None
    (drawn,) = [one for one in found.findings if one.dots]
    assert len(drawn.dots) == report.gaps.overall.speakers
    assert {one.value for one in drawn.dots} == set(drawn.descriptions)
    page = render_page(report)
    assert not any(name in page for name in everywhere().speakers["speaker"])


def test_census_partitions_carry_the_warning_wherever_they_are_shown():
    found = found_by("census")
    report = audit(found.table, found.cohorts, SETTINGS, findings=found.findings)
    warning = "The census describes places, not people"
    assert warning in to_text(report)
    assert render_page(report).count(warning) >= 2
    assert any(warning in line for line in report.limits)
    assert sum(bool(one.candidates) for one in found.findings) == 1


def test_subgroups_are_conditions_on_the_columns():
    table = planted(600, seed=2, effects={("gender", "female"): 1.8})
    found = discover(table, ["subgroups"], SETTINGS)
    report = audit(found.table, found.cohorts, SETTINGS, findings=found.findings)
    assert report.gaps.worst is not None
    assert "gender female" in report.headline.title


def test_several_searches_share_one_family_of_tests():
    found = found_by("geography", "voice")
    cohorts = found.cohorts + cohorts_by(found.table, ["gender"])
    report = audit(found.table, cohorts, SETTINGS, findings=found.findings)
    assert {row.found_by for row in report.gaps.rows} == {"geography", "voice", "given"}
    assert report.gaps.num_tried == sum(not row.suppressed for row in report.gaps.rows)


@pytest.mark.parametrize("search", SEARCHES)
def test_no_search_sees_the_results_of_those_who_confirm(search):
    table = everywhere()
    if search == "subgroups":
        table = planted(600, seed=2, effects={("gender", "female"): 1.8})
    confirm = split_speakers(table, seed=SETTINGS.seed).confirm.speakers["speaker"]
    others = pl.when(pl.col("speaker").is_in(confirm.implode())).then("words").otherwise("errors")
    changed = replace(table, frame=table.frame.with_columns(errors=others))
    found, again = (discover(one, [search], SETTINGS).cohorts for one in (table, changed))
    assert found.assignments
    for one, other in zip(found.assignments, again.assignments, strict=True):
        assert one.attribute == other.attribute
        assert one.frame.equals(other.frame)


def test_a_search_that_finds_nothing_says_so():
    table = planted(50, seed=9)
    places = pl.DataFrame({"speaker": table.speakers["speaker"]}).with_columns(
        latitude=pl.int_range(pl.len()) % 10 + 35.0, longitude=pl.int_range(pl.len()) % 13 - 100.0
    )
    table = replace(table, frame=table.frame.join(places, on="speaker"))
    found = discover(table, ["geography"], SETTINGS)
    assert found.cohorts.assignments == ()
    report = audit(found.table, found.cohorts, SETTINGS, findings=found.findings, other=table)
    assert report.headline.title == "No cohorts that results fails were found"
    page = render_page(report)
    assert "Searched, and nothing found" in page
    assert all(finding.summary in page for finding in found.findings)
    assert found.findings[0].summary in to_text(report)


def test_embeddings_may_come_from_a_file(tmp_path):
    table = everywhere()
    people = table.frame.unique("speaker").sort("speaker")
    path = tmp_path / "voices.npz"
    np.savez(path, speaker=people["speaker"].to_list(), embedding=people["embedding"].to_numpy())
    bare = replace(table, frame=table.frame.drop("embedding"))
    with pytest.raises(TableError, match="needs embeddings"):
        discover(bare, ["voice"], SETTINGS)
    found = discover(bare, ["voice"], SETTINGS, embeddings=path)
    assert found.cohorts.attributes == found_by("voice").cohorts.attributes


def test_unknown_searches_and_missing_columns_are_refused():
    with pytest.raises(CohortError, match="no search called 'geografy'"):
        discover(everywhere(), ["geografy"], SETTINGS)
    with pytest.raises(CohortError, match="zip"):
        discover(planted(60), ["census"], SETTINGS)
