# SPDX-License-Identifier: Apache-2.0
import numpy as np
import polars as pl
import pytest

from audit.simulated import results, scattered
from evenear.audit import gaps, split_speakers
from evenear.audit.discovery.geography.hotspots import HotspotSettings
from evenear.audit.discovery.geography.regions import (
    ELSEWHERE,
    Regions,
    find_hotspots,
    find_regions,
)
from evenear.audit.discovery.geography.tree import TreeSettings
from evenear.config import from_json, to_json
from evenear.errors import CohortError

SEARCHES = [find_regions, find_hotspots]


def corpus(number=1600, seed=0, effect=1.6, **where):
    columns = scattered(number, seed=seed, **where)
    east = (columns["longitude"] - columns["longitude"][0]) % 360.0
    middle = np.median((columns["longitude"] - where.get("west", -120.0)) % 360.0)
    planted = (columns["latitude"] > np.median(columns["latitude"])) & (
        (columns["longitude"] - where.get("west", -120.0)) % 360.0 > middle
    )
    assert east.max() > 0.0
    return results(columns, planted=planted, effect=effect, seed=seed), planted


@pytest.mark.parametrize("find", SEARCHES)
def test_a_planted_quarter_of_the_map_is_found_and_confirmed(find):
    table, planted = corpus()
    rule = find(split_speakers(table, seed=1).discover)
    found = gaps(table, rule.assign(table), confirm_fraction=0.5, seed=1, num_resamples=200)
    assert found.worst is not None
    assert found.worst.found_by == "geography"
    assert found.worst.gap == pytest.approx(0.6, abs=0.2)
    frame = rule.assign(table).assignments[0].frame
    members = set(frame.filter(pl.col("value") == found.worst.value)["speaker"])
    truly = {f"s{row:04d}" for row in np.flatnonzero(planted)}
    assert len(members & truly) > 0.8 * max(len(members), len(truly))


@pytest.mark.parametrize("find", SEARCHES)
def test_a_region_across_the_date_line_is_one_region(find):
    table, planted = corpus(west=170.0, south=-30.0)
    rule = find(table)
    worst = rule.regions[0]
    crossing = {f"s{row:04d}" for row in np.flatnonzero(planted)}
    frame = rule.assign(table).assignments[0].frame
    members = set(frame.filter(pl.col("value") == worst.value)["speaker"])
    assert len(members & crossing) > 0.8 * max(len(members), len(crossing))
    rectangle = rule.rectangles()[0]
    assert rectangle.west < 180.0 + 1.0
    assert 8.0 < rectangle.east - rectangle.west < 12.0


@pytest.mark.parametrize("find", SEARCHES)
def test_nothing_is_made_of_a_map_without_an_effect(find):
    mistaken = 0
    for seed in range(8):
        table, _ = corpus(number=500, seed=seed, effect=1.0)
        cohorts = find(split_speakers(table, seed=seed).discover, seed=seed).assign(table)
        if cohorts.assignments:
            found = gaps(table, cohorts, confirm_fraction=0.5, seed=seed, num_resamples=100)
            mistaken += any(row.confirmed for row in found.rows)
    assert mistaken <= 2


@pytest.mark.parametrize("find", SEARCHES)
def test_a_rule_survives_json_and_assigns_others_alike(find):
    table, _ = corpus()
    split = split_speakers(table)
    rule = find(split.discover)
    again = from_json(Regions, to_json(rule))
    assert again == rule
    one, other = (r.assign(split.confirm).assignments[0].frame for r in (rule, again))
    assert one.equals(other)


def test_regions_divide_everybody_and_hotspots_leave_the_rest_elsewhere():
    table, _ = corpus()
    regions = find_regions(table).assign(table).assignments[0]
    assert regions.frame["speaker"].sort().to_list() == table.speakers["speaker"].to_list()
    assert set(regions.frame["value"]) == set(regions.reported or ())
    spots = find_hotspots(table).assign(table).assignments[0]
    assert ELSEWHERE in set(spots.frame["value"])
    assert ELSEWHERE not in (spots.reported or ())


def test_speakers_without_a_place_are_unknown():
    table, _ = corpus()
    holed = table.frame.with_columns(
        latitude=pl.when(pl.col("speaker") == "s0000").then(None).otherwise(pl.col("latitude"))
    )
    frame = find_regions(table).assign(type(table)(holed)).assignments[0].frame
    assert "s0000" not in frame["speaker"].to_list()
    assert frame.height == table.num_speakers - 1


def test_every_region_has_words_and_hides_enough_speakers():
    table, _ = corpus()
    rule = find_regions(table, TreeSettings(min_speakers=40))
    described = rule.describe()
    assert set(described) == {("region", region.value) for region in rule.regions}
    assert all("°" in text for text in described.values())
    assert min(region.speakers for region in rule.regions) >= 40
    assert "not why" in " ".join(rule.warnings)
    assert f"found {len(rule.regions)} regions" in rule.summary


def test_borders_are_multiples_of_a_coarse_step():
    table, _ = corpus()
    for find in SEARCHES:
        rule = find(table, step_degrees=2.0)
        edges = [
            edge
            for region in rule.regions
            for edge in (region.box.south, region.box.north, region.box.west, region.box.east)
            if edge is not None
        ]
        assert edges
        assert all(edge % 2.0 == 0.0 for edge in edges)


def test_rectangles_of_regions_fill_the_map_without_overlap():
    table, _ = corpus()
    rule = find_regions(table)
    drawn = rule.rectangles()
    areas = [(one.east - one.west) * (one.north - one.south) for one in drawn]
    width = (rule.extent.east or 0.0) - (rule.extent.west or 0.0)
    height = (rule.extent.north or 0.0) - (rule.extent.south or 0.0)
    assert sum(areas) == pytest.approx(width * height)
    assert min(areas) > 0.0


def test_the_worst_region_comes_first():
    table, _ = corpus()
    rule = find_regions(table)
    found = gaps(table, rule.assign(table), num_resamples=100)
    rates = {row.value: row.wer for row in found.rows}
    assert rates["region 1"] == max(rates.values())


def test_zip_codes_stand_for_places_where_there_are_no_coordinates():
    codes = np.array(["10001", "60601", "90001", "77001"])[np.arange(400) % 4]
    table = results({"zip": codes}, planted=codes == "60601", effect=2.0)
    rule = find_hotspots(table)
    assert rule.regions[0].states == ("Illinois",)
    assert "Illinois" in next(iter(rule.describe().values()))


@pytest.mark.parametrize("find", SEARCHES)
def test_one_place_is_no_geography(find):
    table = results({"latitude": [40.0] * 50, "longitude": [-74.0] * 50})
    with pytest.raises(CohortError, match="50 speakers have a place, and they have at most one"):
        find(table)


@pytest.mark.parametrize("find", SEARCHES)
def test_too_few_speakers_give_no_cohorts_and_say_so(find):
    table, _ = corpus(number=20)
    rule = find(table)
    assert rule.assign(table).assignments == ()
    assert " found no place: it takes at least " in rule.summary
    assert rule.warnings == ()


def test_a_hotspot_belongs_to_the_first_box_that_holds_it():
    table, _ = corpus(effect=1.8)
    rule = find_hotspots(table, HotspotSettings(level=0.9, num_lines=6))
    frame = rule.assign(table).assignments[0].frame
    counts = dict(frame["value"].value_counts().iter_rows())
    assert [counts[region.value] for region in rule.regions] == [
        region.speakers for region in rule.regions
    ]
