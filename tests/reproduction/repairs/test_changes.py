# SPDX-License-Identifier: Apache-2.0
"""Numbers of groups against arithmetic by hand, and verdicts from intervals."""

import polars as pl
import pytest

from evenear.audit import Table
from evenear.reproduction.repairs.changes import Groups, judged
from evenear.reproduction.statistics import Estimate


def table(errors: list[int]) -> Table:
    rows = [(f"u{k}", f"s{k:02}", 10, one) for k, one in enumerate(errors)]
    return Table(
        pl.DataFrame(rows, schema=["utterance_id", "speaker", "words", "errors"], orient="row")
    )


def groups(before: list[int], after: list[int]) -> Groups:
    names = [f"s{k:02}" for k in range(len(before))]
    half = len(names) // 2
    return Groups([table(before), table(after)], {"a": names[:half], "b": names[half:]})


def test_rates_pool_errors_over_words():
    found = groups([1, 2, 3, 4], [0, 0, 3, 5])
    assert found.rates(0) == pytest.approx({"a": 0.15, "b": 0.35})
    assert found.rates(1) == pytest.approx({"a": 0.0, "b": 0.4})


def test_a_change_is_relative_and_its_interval_holds_it():
    found = groups([4, 5, 4, 5] * 5, [2, 2, 2, 2] * 5).change("a")
    assert found.value == pytest.approx(20 / 45 - 1)
    assert found.low < found.value < found.high < 0


def test_what_is_hard_for_both_models_cancels():
    before = [1, 9, 1, 9] * 5
    found = groups(before, before).change("b")
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_a_group_of_nobody_has_no_interval():
    names = {"a": ["s00", "s01"], "b": []}
    found = Groups([table([1, 2]), table([1, 1])], names).change("b")
    assert found.low is None


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(-0.2, -0.1, "holds"), (-0.2, 0.1, "cannot tell"), (0.1, 0.2, "does not hold")],
)
def test_verdicts_follow_intervals(low, high, said):
    assert judged(Estimate((low + high) / 2, low, high)) == said
    assert judged(None) == "not measured"
    assert judged(Estimate(0.0, None, None)) == "cannot tell"
