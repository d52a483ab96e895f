# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

from audit.reports import report, rich_report
from evenear.audit.report.rendering.text import to_text
from evenear.audit.report.words import percent, signed, verdict


def test_every_measured_cohort_has_a_line_with_its_numbers():
    lines = to_text(report()).splitlines()
    for row in report().gaps.rows:
        (line,) = [one for one in lines if one.split()[:2] == [row.attribute, row.value]]
        assert percent(row.wer) in line
        assert signed(row.gap) in line
        assert line.endswith(verdict(row))


def test_what_would_show_is_explained_only_where_it_is_told():
    said = "A gap as large as “would show” would be confirmed four times out of five."
    assert said in to_text(report())
    rows = tuple(replace(row, detectable_gap=None) for row in report().gaps.rows)
    assert said not in to_text(replace(report(), gaps=replace(report().gaps, rows=rows)))


def test_small_cohorts_are_named_with_their_speakers():
    text = to_text(rich_report())
    small = [row for row in rich_report().gaps.rows if row.suppressed]
    assert all(f"{row.value} ({row.speakers})" in text for row in small)


def test_both_recognizers_and_what_was_found_are_told():
    text = to_text(rich_report())
    assert "first (before), second (after):" in text
    assert "adjusted ratio" in text
    assert "region 1: around 110°W, 38°N" in text
    assert "A gap between places is not a gap between groups of people." in text
    assert "gap = (WER(cohort) - WER(rest)) / WER(rest)" in text


def test_columns_are_aligned():
    lines = to_text(report()).splitlines()
    (head,) = [line for line in lines if line.startswith("attribute")]
    table = [line for line in lines if line.startswith(("age ", "gender "))]
    place = head.index("verdict")
    assert all(line[place - 1] == " " and line[place] != " " for line in table)
