# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.reports import report, rich_report, spoken
from evenear.audit import Gap, cohorts_by, compare
from evenear.audit.report.words import (
    cohort_name,
    count,
    gap_verdict,
    headline,
    interval,
    number_of,
    p_value,
    percent,
    signed,
    verdict,
)


def _gap(**fields) -> Gap:
    values = {"attribute": "gender", "value": "female", "speakers": 30, "utterances": 90}
    return Gap(**{**values, **fields})


def test_rates_and_differences_are_written_as_percent():
    assert percent(0.24615) == "24.6 %"
    assert percent(None) == "–"
    assert signed(0.333) == "+33.3 %"
    assert signed(-0.0751) == "−7.5 %"
    assert signed(None) == "–"
    assert count(14491) == "14,491"
    assert number_of(1, "speaker") == "1 speaker"
    assert number_of(2229, "word") == "2,229 words"


@pytest.mark.parametrize("value", [0.0, -0.0, 0.0004, -0.0004])
def test_what_rounds_to_nothing_has_no_sign(value):
    assert signed(value) == "0.0 %"


@given(st.floats(-1, 50, allow_nan=False))
@settings(deadline=None)
def test_a_written_difference_reads_back_as_itself(value):
    text = signed(value).removesuffix(" %").replace("−", "-")
    assert float(text) == pytest.approx(100 * value, abs=0.0501)


def test_an_interval_has_one_percent_sign_and_is_empty_when_unknown():
    assert interval(0.1, 0.25) == "10.0 to 25.0 %"
    assert interval(-0.1, 0.25, with_sign=True) == "−10.0 to +25.0 %"
    assert interval(None, 0.25) == ""


def test_p_values_below_a_thousandth_are_not_spelled_out():
    assert p_value(0.0009) == "< 0.001"
    assert p_value(0.04678, sign="= ") == "= 0.047"
    assert p_value(None) == "–"


def test_an_intersection_is_named_by_its_parts():
    row = _gap(attribute="age×gender", value="teens×female")
    assert cohort_name(row) == "age “teens” and gender “female”"
    assert cohort_name(_gap(attribute="size", value="3×4")) == "size “3×4”"


def test_verdicts_are_in_words():
    assert verdict(_gap(suppressed=True)) == "too small"
    assert verdict(_gap()) == "cannot be tested"
    assert verdict(_gap(confirmed=False, gap=0.5)) == "not confirmed"
    assert verdict(_gap(confirmed=True, gap=0.5)) == "confirmed worse"
    assert verdict(_gap(confirmed=True, gap=-0.5)) == "confirmed better"


def test_the_headline_names_the_worst_confirmed_cohort_with_its_numbers():
    found = report().gaps
    worst = found.worst
    assert worst is not None
    assert (worst.attribute, worst.value) == ("gender", "female")
    said = headline(found)
    assert "gender “female”" in said.title
    assert f"{100 * worst.wer:.1f} word errors per 100 words" in said.lines[0]
    assert f"{worst.speakers} speakers" in said.lines[0]
    assert interval(worst.gap_low, worst.gap_high, with_sign=True) in said.lines[0]


def test_a_gap_of_twice_the_errors_is_told_as_times():
    found = report().gaps
    rows = tuple(replace(row, gap=1.34) if row is found.worst else row for row in found.rows)
    assert "makes 2.3 times the word errors" in headline(replace(found, rows=rows)).title


def test_silence_is_not_sold_as_evidence():
    found = report().gaps
    rows = tuple(replace(row, confirmed=False) for row in found.rows)
    said = headline(replace(found, rows=rows))
    assert said.title.startswith("No cohort of first was confirmed to fare worse")
    assert "not evidence that all are served alike" in said.lines[0]


def test_a_gap_to_no_errors_is_told_though_it_cannot_be_tested():
    found = report().gaps
    fields = {"wer": 0.3, "base_wer": 0.0, "gap": None, "confirmed": None}
    row = replace(found.rows[0], **fields)
    assert verdict(row) == "cannot be tested"
    said = headline(replace(found, rows=(row, *found.rows[1:])))
    assert (
        f"Cannot be tested, because nobody else has errors: {cohort_name(row)} (WER 30.0 %)."
        in said.lines
    )


def test_an_audit_of_small_cohorts_says_that_it_says_nothing():
    found = report().gaps
    rows = tuple(_gap(value=row.value, suppressed=True) for row in found.rows)
    said = headline(replace(found, rows=rows, num_tried=0))
    assert said.title == "Nothing can be said about the cohorts of first yet"


def test_a_comparison_says_who_got_worse():
    changes = rich_report().changes
    assert changes is not None
    said = headline(rich_report().gaps, changes)
    assert any("From first to second" in line for line in said.lines)
    assert any("No cohort was confirmed to get worse" in line for line in said.lines)
    row = replace(changes.rows[0], change=0.2, confirmed=True, suppressed=False)
    said = headline(rich_report().gaps, replace(changes, rows=(row, *changes.rows[1:])))
    assert f"Confirmed to get worse: {cohort_name(row)} (+20.0 %)." in said.lines
    row = replace(row, change=None, wer_before=0.0, wer_after=0.3)
    assert verdict(row) == "confirmed worse"
    said = headline(rich_report().gaps, replace(changes, rows=(row, *changes.rows[1:])))
    assert f"Confirmed to get worse: {cohort_name(row)} (from none to 30.0 %)." in said.lines


def test_a_gap_to_no_errors_that_is_confirmed_is_the_headline():
    found = report().gaps
    fields = {"wer": 0.3, "base_wer": 0.0, "gap": None, "confirmed": True}
    row = replace(found.rows[0], **fields)
    said = headline(replace(found, rows=(row, *found.rows[1:])))
    assert said.title == f"first makes all of its word errors for {cohort_name(row)}"
    assert "against 0.0 for the rest" in said.lines[0]


def test_attributes_without_values_are_not_sold_as_nothing_found():
    said = headline(replace(report().gaps, rows=(), num_tried=0, without_values=("accent",)))
    assert said.title == "Nothing can be said about the cohorts of first yet"
    assert said.lines == ("No value is known of accent.",)


def test_a_comparison_says_whose_gap_grew_and_whose_shrank():
    changes = rich_report().changes
    assert changes is not None
    same = [replace(row, gap_confirmed=False) for row in changes.rows]
    still = headline(rich_report().gaps, replace(changes, rows=tuple(same)))
    assert "No gap was confirmed to grow." in still.lines
    fields = {"gap_before": 0.027, "gap_after": 0.33, "gap_change": 0.295, "gap_confirmed": True}
    row, other = (replace(one, suppressed=False) for one in same[:2])
    row = replace(row, **fields)
    other = replace(other, gap_before=0.2, gap_after=0.1, gap_change=-0.08, gap_confirmed=True)
    said = headline(rich_report().gaps, replace(changes, rows=(row, other, *same[2:])))
    assert f"Gaps confirmed to grow: {cohort_name(row)} (from +2.7 % to +33.0 %)." in said.lines
    assert (
        f"Gaps confirmed to shrink: {cohort_name(other)} (from +20.0 % to +10.0 %)." in said.lines
    )
    assert (gap_verdict(row), gap_verdict(other), gap_verdict(same[2])) == (
        "gap grew", "gap shrank", ""
    )  # fmt: skip


def test_a_system_that_does_not_differ_gains_nothing():
    table = spoken()
    cohorts = cohorts_by(table, ["gender"])
    same = compare(table, table, cohorts, num_resamples=100)
    said = " ".join(headline(report().gaps, same).lines)
    assert "no measured cohort loses, by its interval" in said
    rows = tuple(replace(row, change_high=-0.1) for row in same.rows)
    said = " ".join(headline(report().gaps, replace(same, rows=rows)).lines)
    assert "each measured cohort gains, by its interval" in said


def test_no_report_promises_fairness_or_speaks_of_kinds_of_people():
    for one in (report(), rich_report()):
        text = " ".join((one.headline.title, *one.headline.lines, *one.methods, *one.limits))
        for word in ("unbiased", "bias-free", "debias", "guarantee", "is fair", "females", "males"):
            assert word not in text
