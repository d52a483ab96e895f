# SPDX-License-Identifier: Apache-2.0
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from audit.reports import rich_report
from evenear.audit import Gap
from evenear.audit.report import Dot, Finding, Shape
from evenear.audit.report.rendering.plots import draw, hundred_words

DEGREES = st.tuples(st.floats(-180, 250), st.floats(-85, 85))


def _row(value: str, **fields) -> Gap:
    values = {"attribute": "region", "speakers": 30, "utterances": 90, "wer": 0.2, "gap": 0.3}
    return Gap(value=value, **{**values, **fields})


def _map(outlines, **fields):
    regions = (Shape(value="a", outlines=tuple(outlines)),)
    finding = Finding(attribute="region", kind="geography", summary="", shapes=regions)
    drawing = draw(finding, [_row("a", **fields)])
    assert drawing is not None
    return drawing


def _kinds(drawing, shape: str) -> list[str]:
    tree = ET.fromstring(drawing.svg)
    return [one.get("class", "") for one in tree if one.get("class", "").startswith(shape)]


@given(st.lists(st.lists(DEGREES, min_size=3, max_size=6), min_size=1, max_size=4))
@settings(deadline=None, max_examples=50)
def test_any_outlines_make_a_drawing_that_stays_on_its_sheet(outlines):
    drawing = _map(tuple(outline) for outline in outlines)
    tree = ET.fromstring(drawing.svg)
    width, height = (float(part) for part in tree.get("viewBox", "").split()[2:])
    (path,) = [one for one in tree if one.get("class", "").startswith("region")]
    numbers = [float(part) for part in re.findall(r"-?\d+\.\d", path.get("d", ""))]
    assert all(-1 <= x <= width + 1 for x in numbers[::2])
    assert all(-1 <= y <= height + 1 for y in numbers[1::2])


def test_color_means_confirmed():
    box = [((0, 0), (10, 0), (10, 10), (0, 10))]
    assert _kinds(_map(box, confirmed=True), "region") == ["region worse"]
    assert _kinds(_map(box, confirmed=True, gap=-0.2), "region") == ["region better"]
    assert _kinds(_map(box, confirmed=False), "region") == ["region unsure"]
    small = _map(box, suppressed=True, gap=None, wer=None)
    assert _kinds(small, "region") == ["region unsure"]
    assert "too small to measure" in small.svg


def test_a_region_across_the_antimeridian_stays_whole():
    drawing = _map([((170, 10), (190, 10), (190, 20), (170, 20))])
    assert "180°E" in drawing.svg or "180°W" in drawing.svg or "180°" in drawing.svg
    assert "190" not in re.findall(r">([^<]*°[EW]?)<", drawing.svg)


def test_names_from_the_table_are_escaped():
    evil = "<script>alert(1)</script>"
    regions = (Shape(value=evil, outlines=(((0, 0), (1, 0), (1, 1)),)),)
    finding = Finding(attribute='"x"', kind="geography", summary="", shapes=regions)
    drawing = draw(finding, [_row(evil)])
    assert drawing is not None
    assert "<script" not in drawing.svg
    ET.fromstring(drawing.svg)


def test_voices_are_dots_of_their_cohort_and_a_crowd_is_thinned():
    dots = tuple(Dot(x=k % 100, y=k // 100, value="ab"[k % 2]) for k in range(10_000))
    finding = Finding(attribute="voice", kind="voice", summary="", dots=dots)
    drawing = draw(finding, [_row("a"), _row("b", confirmed=True)])
    assert drawing is not None
    assert drawing.svg.count("h0") <= 2500
    assert sorted(_kinds(drawing, "voices")) == ["voices unsure", "voices worse"]


def test_speakers_of_cohorts_that_are_not_listed_stand_behind_the_others():
    dots = tuple(Dot(x=k, y=k % 7, value="abc"[k % 3]) for k in range(90))
    finding = Finding(attribute="voice", kind="voice", summary="", dots=dots)
    drawing = draw(finding, [_row("a", confirmed=True)])
    assert drawing is not None
    assert sorted(_kinds(drawing, "voices")) == ["voices others", "voices worse"]
    assert drawing.svg.index("voices others") < drawing.svg.index("voices worse")
    assert drawing.svg.count("h0") == 90
    assert [entry.number for entry in drawing.key] == [1]


def test_nothing_to_draw_is_no_drawing():
    finding = Finding(attribute="region", kind="census", summary="")
    assert draw(finding, [_row("a")]) is None
    lost = replace(finding, dots=(Dot(x=0, y=0, value="gone"),))
    assert draw(lost, [_row("a")]) is None


def test_the_key_explains_every_number():
    found = rich_report()
    drawing = draw(found.findings[0], found.gaps.of("region"))
    assert drawing is not None
    assert [entry.number for entry in drawing.key] == [1, 2, 3]
    assert drawing.key[0].description == "around 110°W, 38°N"
    for entry in drawing.key:
        assert f">{entry.number}</text>" in drawing.svg


def test_a_hundred_words_show_the_rate():
    for rate, wrong in ((0.0, 0), (0.294, 29), (1.0, 100), (1.7, 100)):
        tree = ET.fromstring(hundred_words(rate))
        shown = {one.get("class"): one.get("d", "").count("M") for one in tree}
        assert shown == {"wrong": wrong, "right": 100 - wrong}
