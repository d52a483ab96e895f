# SPDX-License-Identifier: Apache-2.0
"""Rates, what was spent and who pays, from rows that are made up."""

import pytest

from evenear.reproduction.amortized.summary import Heard, by_group, errors_of, share_of, summary


def rows(errors: list[int], spent: float, delays: tuple[float, ...] = ()) -> list[Heard]:
    ages = ("child", "adult", "adult")
    return [
        Heard(f"s{k}", number, 10, spent, 4.0, ages[k], None, delays)
        for k, number in enumerate(errors)
    ]


HEARD = {"all": rows([2, 1, 3], 4.0), "thrifty": rows([3, 1, 5], 1.0, (1.0, 2.0))}


def test_a_way_is_compared_with_what_spends_all():
    found = summary(HEARD, "all")
    assert found["all"]["compute"] == 1.0
    assert found["thrifty"]["compute"] == share_of(HEARD["thrifty"]) == 0.25
    assert found["thrifty"]["wer"]["value"] == pytest.approx(9 / 30)
    assert found["thrifty"]["relative_to_all"]["value"] == pytest.approx(0.5)
    assert found["thrifty"]["mean_final_delay_seconds"] == 1.5
    assert "mean_final_delay_seconds" not in found["all"]


def test_each_group_is_compared_with_itself():
    found = by_group(HEARD, "age", ["thrifty"], "all")
    assert found["adult"]["speakers"] == 2
    assert found["adult"]["thrifty"]["relative_to_all"]["value"] == pytest.approx(0.5)
    assert found["child"]["thrifty"]["wer"]["value"] == pytest.approx(0.3)
    assert by_group(HEARD, "gender", ["thrifty"], "all") == {}


def test_errors_are_those_of_the_speakers_in_their_order():
    found = errors_of(HEARD["all"], ["s2", "s0", "s1"])
    assert found.mean_errors.tolist() == [3, 2, 1]
    assert found.words_S.tolist() == [10, 10, 10]
