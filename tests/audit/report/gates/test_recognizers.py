# SPDX-License-Identifier: Apache-2.0
import contextlib
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.reports import report, rich_report
from evenear.audit.report.gates.recognizers import FUNCTIONS, parse_condition
from evenear.errors import CohortError, ConfigError, EvenearError


def _value(call: str, one=None) -> float:
    one = one or report()
    ((_, value),) = parse_condition(f"{call} > -1e9").judge(one).values
    return value


def test_a_cohort_is_asked_for_by_attribute_and_value():
    (female,) = [row for row in report().gaps.rows if row.value == "female"]
    assert _value("gap(gender, female)") == female.gap
    assert _value("gap_low(gender, female)") == female.gap_low
    assert _value("gap_high(gender, 'female')") == female.gap_high
    assert _value('wer("gender", female)') == female.wer


def test_without_a_value_the_largest_counts():
    rows = report().gaps.rows
    assert _value("gap(age)") == max(row.gap for row in rows if row.attribute == "age")
    assert _value("gap()") == max(row.gap for row in rows)
    assert _value("wer()") == report().gaps.overall.wer
    assert _value("wer(gender)") == max(row.wer for row in rows if row.attribute == "gender")


def test_confirmed_gaps_and_counts_of_them():
    rows = report().gaps.rows
    worse = [row for row in rows if row.confirmed and row.gap > 0]
    assert worse
    assert _value("worse()") == len(worse)
    assert _value("worse(age)") == sum(row.attribute == "age" for row in worse)
    assert _value("confirmed_gap()") == max(row.gap for row in worse)
    unsure = replace(report().gaps, rows=tuple(replace(row, confirmed=False) for row in rows))
    assert _value("confirmed_gap()", replace(report(), gaps=unsure)) == 0


def test_spreads_and_adjusted_ratios():
    (spread,) = [one for one in report().gaps.spreads if one.attribute == "age"]
    assert _value("spread(age)") == spread.standard_deviation
    ratios = [row.adjusted_ratio for row in rich_report().gaps.of("gender")]
    assert _value("ratio(gender)", rich_report()) == max(ratios)


def test_a_second_recognizer_can_be_asked_about():
    changes = rich_report().changes
    assert changes is not None
    assert _value("change()", rich_report()) == changes.overall.change
    assert _value("wer_after()", rich_report()) == changes.overall.wer_after
    (female,) = [row for row in changes.rows if row.value == "female"]
    assert _value("change(gender, female)", rich_report()) == female.change
    assert _value("change_high(gender, female)", rich_report()) == female.change_high
    assert _value("gap_after(gender, female)", rich_report()) == female.gap_after
    assert _value("lost()", rich_report()) == 0
    with pytest.raises(CohortError, match="second recognizer"):
        _value("change()")


def test_a_cohort_that_errs_for_the_first_time_got_worse():
    changes = rich_report().changes
    assert changes is not None
    fields = {"wer_before": 0.0, "wer_after": 0.3, "change": None, "change_high": None}
    row = replace(changes.rows[0], **fields, confirmed=True, suppressed=False)
    one = replace(rich_report(), changes=replace(changes, rows=(row, *changes.rows[1:])))
    assert _value("lost()", one) == 1
    assert _value("change(age)", one) == _value("change_high(age)", one) == math.inf
    assert parse_condition("change(age) > 2%").judge(one).holds


def test_a_gap_that_is_left_alone_with_errors_is_infinite():
    changes = rich_report().changes
    assert changes is not None
    row = replace(changes.rows[0], gap_before=0.1, gap_after=None, wer_after=0.2, suppressed=False)
    one = replace(rich_report(), changes=replace(changes, rows=(row, *changes.rows[1:])))
    assert _value("gap_after(age)", one) == math.inf


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("1 > 0.5", True),
        ("1 > 1", False),
        ("1 >= 1", True),
        ("50% == 0.5", True),
        ("-10% < 0", True),
        ("1 != 1", False),
        (".5 <= 5e-1", True),
        ("1 > 2 or 2 > 1", True),
        ("1 > 2 and 2 > 1", False),
        ("not 1 > 2 and 2 > 1", True),
        ("not (1 > 2 or 2 > 1)", False),
        ("1 > 2 and 1 > 2 or 2 > 1", True),
        ("2 > 1 or 1 > 2 and 1 > 2", True),
        ("gap(gender) > 0.1", True),
        ("gap(gender)>1000%", False),
    ],
)
def test_conditions_mean_what_they_say(text, holds):
    assert parse_condition(text).judge(report()).holds is holds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "its end"),
        ("gap(gender)", "a comparison"),
        ("gap(gender) >", "its end"),
        ("gap(gender > 1", "','"),
        ("gap() > 1 gap() > 2", "and, or"),
        ("gab(gender) > 1", "no function 'gab'"),
        ("gap(a, b, c) > 1", "got 3 names"),
        ("__import__('os').system('true') > 1", "stops at"),
        ("__import__('os') > 1", "no function"),
        ("gap(gender) > 1; 2", "stops at ';"),
        ("gap(gender).x > 1", "stops at '.x"),
        ("(" * 200 + "1 > 0" + ")" * 200, "deep"),
        ("gap(>) > 1", "the name of an attribute"),
    ],
)
def test_what_is_no_condition_is_refused_with_a_reason(text, message):
    with pytest.raises(ConfigError) as caught:
        parse_condition(text)
    assert message in caught.value.message


def test_misspelled_names_get_the_nearest():
    with pytest.raises(CohortError) as caught:
        _value("gap(gendr)")
    assert "gender" in str(caught.value)
    with pytest.raises(CohortError) as caught:
        _value("gap(gender, femal)")
    assert "female" in str(caught.value)


def test_a_gate_on_what_was_not_measured_is_an_error_and_not_a_pass():
    rows = tuple(
        replace(row, suppressed=True, wer=None, gap=None, confirmed=None)
        if row.attribute == "gender"
        else row
        for row in report().gaps.rows
    )
    one = replace(report(), gaps=replace(report().gaps, rows=rows))
    for call in ("gap(gender)", "worse(gender)", "confirmed_gap(gender)", "wer(gender, female)"):
        with pytest.raises(CohortError, match="cannot say"):
            _value(call, one)


def test_a_gap_to_no_errors_is_infinite_and_a_gate_on_its_test_is_an_error():
    fields = {"wer": 0.3, "base_wer": 0.0, "gap": None, "confirmed": None}
    fields |= {"gap_low": None, "gap_high": None}
    row, *rows = report().gaps.rows
    one = replace(report(), gaps=replace(report().gaps, rows=(replace(row, **fields), *rows)))
    assert _value("gap(age)", one) == math.inf
    for call in ("confirmed_gap()", "worse()", "worse(age)", "gap_low()"):
        with pytest.raises(CohortError, match=r"WER of 30.0 %, and its gap cannot be tested"):
            _value(call, one)
    assert _value("gap_high(age)", one) == math.inf
    assert isinstance(_value("worse(gender)", one), float)


def test_a_confirmed_gap_to_no_errors_is_infinite():
    fields = {"wer": 0.3, "base_wer": 0.0, "gap": None, "confirmed": True}
    fields |= {"gap_low": 4.0, "gap_high": None}
    row, *rows = report().gaps.rows
    one = replace(report(), gaps=replace(report().gaps, rows=(replace(row, **fields), *rows)))
    assert _value("confirmed_gap(age)", one) == _value("gap_high(age)", one) == math.inf
    assert _value("gap_low(age)", one) == 4.0
    assert _value("worse(age)", one) >= 1


def test_changes_of_gaps_can_be_asked_about():
    changes = rich_report().changes
    assert changes is not None
    first, *others = changes.rows
    known = [row.gap_change for row in changes.rows if row.gap_change is not None]
    assert _value("gap_change()", rich_report()) == max(known)
    row = replace(first, gap_change=0.3, gap_change_high=0.5, gap_confirmed=True, suppressed=False)
    one = replace(rich_report(), changes=replace(changes, rows=(row, *others)))
    name = f"{first.attribute}, '{first.value}'"
    assert _value(f"gap_change({name})", one) == 0.3
    assert _value(f"gap_change_high({name})", one) == 0.5
    assert _value(f"fell_behind({name})", one) == 1
    row = replace(row, gap_change=None, gap_change_high=None, gap_before=None, gap_after=0.1)
    row = replace(row, wer_before=0.1, wer_after=0.0)
    one = replace(rich_report(), changes=replace(changes, rows=(row, *others)))
    assert _value(f"gap_change({name})", one) == -1.0


def test_an_intersection_may_be_typed_with_a_star():
    row = replace(report().gaps.rows[0], attribute="age×gender", value="teens×female", gap=0.25)
    one = replace(report(), gaps=replace(report().gaps, rows=(row,)))
    assert _value("gap(age*gender)", one) == 0.25
    assert _value("gap(age×gender, teens*female)", one) == 0.25


@given(st.text(max_size=40))
@settings(deadline=None)
def test_no_text_does_anything_but_parse_or_be_refused(text):
    with contextlib.suppress(EvenearError):
        assert isinstance(parse_condition(text).judge(report()).holds, bool)


@given(st.sampled_from(FUNCTIONS), st.text(alphabet="abc xyz", max_size=5))
@settings(deadline=None)
def test_every_function_refuses_names_that_are_not_there(name, argument):
    with pytest.raises(CohortError, match="asks for"):
        _value(f"{name}('{argument}')", rich_report())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_answers_about_everything(name):
    assert isinstance(_value(f"{name}()", rich_report()), float)


@pytest.mark.parametrize(
    ("text", "close"),
    [
        ("gap(gender, female) > {0.95}", ("gap(gender, female)",)),
        ("{1.05} > gap(gender, female)", ("gap(gender, female)",)),
        ("gap(gender, female) > {1.5} or gap(gender, female) > {1.02}", ("gap(gender, female)",)),
        ("gap(gender, female) > {0.5}", ()),
        ("1 > 1", ()),
    ],
)
def test_a_value_close_to_its_bound_is_said_to_be(text, close):
    (female,) = [row for row in report().gaps.rows if row.value == "female"]
    for share in ("0.95", "1.05", "1.5", "1.02", "0.5"):
        text = text.replace(f"{{{share}}}", repr(float(share) * female.gap))
    assert parse_condition(text).judge(report()).close == close
