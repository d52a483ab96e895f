# SPDX-License-Identifier: Apache-2.0
"""Cohorts as they are typed, and who is in them."""

from pathlib import Path

import pytest

from evenear.data.corpora.manifests import Utterance
from evenear.errors import CohortError, ConfigError
from evenear.training.mitigation.cohort import parse_cohort


def spoken(speaker: str, **attributes: object) -> Utterance:
    return Utterance(f"{speaker}-{attributes}", speaker, "A", Path("a.wav"), 0.0, 1.0, attributes)


@pytest.mark.parametrize(
    ("text", "attributes", "holds"),
    [
        ("age<18", {"age": 17}, True),
        ("age < 18", {"age": "18"}, False),
        ("age>=18", {"age": 18.0}, True),
        ("age<18", {"age": "teens"}, None),
        ("age<18", {}, None),
        ("gender=female", {"gender": "female"}, True),
        ("gender==female", {"gender": "male"}, False),
        ("gender!=female", {"gender": "male"}, True),
        ("region=north|'far coast'", {"region": "far coast"}, True),
        ("zip=02138", {"zip": "2138"}, True),
        ("age<18 and gender=female", {"age": 9, "gender": "female"}, True),
        ("age<18 and gender=female", {"age": 9}, None),
        ("age<18 and gender=female", {"age": 40}, False),
    ],
)
def test_a_cohort_holds_or_not_or_is_unknown(text, attributes, holds):
    assert parse_cohort(text).holds(attributes) is holds


@pytest.mark.parametrize("text", ["", "children", "age<", "<18", "age<young", "age<1|2"])
def test_what_is_no_cohort_is_refused_with_an_example(text):
    with pytest.raises(ConfigError, match=r"--cohort 'age<18'"):
        parse_cohort(text)


def test_each_speaker_is_in_or_out_or_unknown():
    members = parse_cohort("age<18").members(
        [spoken("a", age=9), spoken("b", age=40), spoken("c"), spoken("a")]
    )
    assert members == {"a": True, "b": False, "c": None}


def test_a_speaker_on_both_sides_is_refused():
    with pytest.raises(CohortError, match="'a' is in for some"):
        parse_cohort("age<18").members([spoken("a", age=9), spoken("a", age=30)])


def test_an_unknown_attribute_names_the_nearest():
    with pytest.raises(CohortError, match="gender"):
        parse_cohort("gendr=female").members([spoken("a", gender="female")])


def test_a_cohort_of_all_or_none_is_refused():
    with pytest.raises(CohortError, match="out of 'age<18'"):
        parse_cohort("age<18").members([spoken("a", age=9)])
