# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import polars as pl
import pytest

from audit.reports import QUICK, report, rich_report, spoken
from evenear.audit import cohorts_by, compare, gaps, split_speakers
from evenear.audit.report import AuditSettings, audit, parse_condition, render_page, to_text
from evenear.config import from_dict
from evenear.errors import CohortError, ConfigError, TableError


def test_the_numbers_are_those_of_gaps():
    table = spoken()
    cohorts = cohorts_by(table, ["age", "gender"])
    assert report().gaps == gaps(table, cohorts, seed=1, num_resamples=200)


def test_the_comparison_is_that_of_compare():
    table, other = spoken(), replace(spoken(), name="other")
    cohorts = cohorts_by(table, ["gender"])
    found = audit(table, cohorts, QUICK, other=other)
    assert found.changes == compare(table, other, cohorts, seed=1, num_resamples=200)


def test_with_a_split_every_number_comes_from_confirmation_speakers():
    table = spoken()
    confirm = split_speakers(table, confirm_fraction=0.5, seed=1).confirm
    found = rich_report()
    assert found.changes is not None
    assert found.gaps.overall.speakers == confirm.num_speakers
    assert found.changes.overall.speakers == confirm.num_speakers
    known = set(confirm.frame["utterance_id"])
    assert all(one.utterance_id in known for one in found.worst_utterances)


def test_the_same_seed_gives_the_same_report():
    table = spoken()
    cohorts = cohorts_by(table, ["age", "gender"])
    assert audit(table, cohorts, QUICK) == audit(table, cohorts, QUICK)


def test_each_warning_names_whose_results_it_is_about():
    table = replace(spoken(), warnings=("3 rows were odd.",))
    other = replace(spoken(), name="second", warnings=("3 rows were odd.",))
    cohorts = cohorts_by(table, ["gender"])
    assert audit(table, cohorts, QUICK).warnings == ("3 rows were odd.",)
    both = audit(table, cohorts, QUICK, other=other)
    assert both.warnings == ("first: 3 rows were odd.", "second: 3 rows were odd.")


def test_methods_say_what_the_numbers_rest_on():
    text = " ".join(rich_report().methods)
    for part in ("resampling speakers", "max-T", "50 % of the 120 speakers", "noise", "Seed 1"):
        assert part in text


def test_limits_repeat_the_warnings_of_a_search():
    note = "A gap between places is not a gap between groups of people."
    assert note in rich_report().limits
    assert note not in report().limits


def test_unknown_values_are_counted():
    table = spoken()
    half = table.frame.with_columns(
        gender=table.frame["gender"].set(table.frame["age"] == "teens", None)  # type: ignore[arg-type]
    )
    table = replace(table, frame=half)
    found = audit(table, cohorts_by(table, ["gender"]), QUICK)
    missing = half["gender"].null_count()
    assert any(f"gender for {missing:,}" in line for line in found.methods)


@pytest.mark.parametrize(
    "broken", [{"level": 1.0}, {"confirm_fraction": 1.0}, {"to": "best"}, {"min_speaker": 3}]
)
def test_impossible_settings_are_refused(broken):
    with pytest.raises(ConfigError):
        from_dict(AuditSettings, broken)


def test_no_cohorts_and_strange_recognizers_are_refused():
    table = spoken()
    with pytest.raises(CohortError, match="no cohorts"):
        audit(table, cohorts_by(table, []), QUICK)
    strange = table.frame.with_columns(utterance_id="x" + table.frame["utterance_id"])
    with pytest.raises(TableError, match="no utterance in common"):
        audit(table, cohorts_by(table, ["gender"]), QUICK, other=replace(table, frame=strange))


def test_three_recognizers_are_each_compared_with_the_first():
    first, second, third = (replace(spoken(), name=name) for name in ("first", "second", "third"))
    worse = third.frame.with_columns(errors=pl.col("errors") + 1)
    others = (second, replace(third, frame=worse))
    one = audit(
        first, cohorts_by(first, ["gender"]), AuditSettings(num_resamples=200), other=others
    )
    assert [(c.before, c.after) for c in one.comparisons] == [
        ("first", "second"),
        ("first", "third"),
    ]
    assert one.changes is one.comparisons[0]
    text, page = to_text(one), render_page(one)
    assert "first (before), second (after):" in text
    assert "first (before), third (after):" in text
    assert "compared with second, third" in page
    assert 'id="compared2"' in page
    (_, value), *_ = parse_condition("lost() > 0").judge(one).values
    assert value == len(one.comparisons[1].got_worse) > 0
    assert "<iframe srcdoc=" in one._repr_html_()


def test_what_goes_with_the_worst_cohort_stands_in_the_headline_right_after_its_gap():
    table = spoken()
    loud = pl.when(pl.col("gender") == "female").then(pl.lit("far")).otherwise(pl.lit("near"))
    mixed = table.frame.with_columns(
        device=pl.when(pl.col("speaker").str.ends_with("7")).then(pl.lit("far")).otherwise(loud)
    )
    found = audit(replace(table, frame=mixed), cohorts_by(table, ["gender"]), QUICK)
    assert found.confounds[0].column == "device"
    assert found.headline.lines[1].startswith("But device goes with gender “female”: 100 %")
    assert any(one.value == "female" for one in found.confusions)
    named = audit(
        replace(table, frame=mixed),
        cohorts_by(table, ["gender"]),
        replace(QUICK, confounds=(), num_worst=0),
    )
    assert named.confounds == named.confusions == ()
