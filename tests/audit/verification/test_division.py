# SPDX-License-Identifier: Apache-2.0
"""Groups and their others, which of them are large enough, and the threshold they share."""

import numpy as np
import polars as pl
import pytest

from evenear.audit.tables.cohorts import Assignment, Cohorts
from evenear.audit.verification.division import (
    Size,
    check_settings,
    divide,
    large_groups,
    reach,
    shared_threshold,
)
from evenear.audit.verification.trials import Trials, trials_of
from evenear.errors import CohortError


def trials() -> Trials:
    rows = [
        (1.0 if a == b else 0.1 * (a - b), f"s{a}", f"s{b}", int(a == b))
        for a in range(6)
        for b in range(6)
    ]
    frame = pl.DataFrame(rows, schema=["score", "enrol", "test", "target"], orient="row")
    kinds = [None, "x", "x", "y", "y", "y"]
    speakers = pl.DataFrame({"speaker": [f"s{k}" for k in range(6)], "kind": kinds})
    return trials_of(frame, speakers=speakers)


def test_each_value_stands_before_the_others_whose_value_is_known():
    found = trials()
    names, groups = divide(found, found.cohorts_by("kind"))
    assert names == [("", ""), *[("kind", "x")] * 2, *[("kind", "y")] * 2]
    members = [list(np.flatnonzero(group_S)) for group_S in groups]
    assert members == [[0, 1, 2, 3, 4, 5], [1, 2], [3, 4, 5], [3, 4, 5], [1, 2]]


def test_what_divides_utterances_is_refused():
    frame = pl.DataFrame({"utterance_id": ["u"], "value": ["x"]})
    with pytest.raises(CohortError, match="divided by speakers"):
        divide(trials(), Cohorts((Assignment("noise", frame),)))


def test_a_group_needs_speakers_and_both_kinds_of_trials_on_both_sides():
    sizes = [Size(9, 9, 9), Size(5, 4, 4), Size(4, 4, 4), Size(5, 4, 0), Size(4, 4, 4)]
    assert large_groups(sizes, 4) == [1]
    assert large_groups(sizes, 5) == []


def test_a_threshold_is_given_or_that_of_equal_errors_or_of_a_share_of_accepts():
    found = trials()
    assert shared_threshold(found, 0.4, None) == (0.4, "given")
    assert shared_threshold(found, None, None)[1].startswith("equal error rate")
    value, words = shared_threshold(found, None, 0.1)
    others = found.frame.filter(~pl.col("target"))["score"]
    assert (others >= value).mean() <= 0.1
    assert words.startswith("at most 10 %")


def test_the_reach_holds_so_many_draws_and_leaves_out_what_is_not_known():
    draws = np.append(np.linspace(-1.0, 1.0, 2001), np.nan)
    assert reach(draws, 0.0, 0.9) == pytest.approx(0.9, abs=0.01)
    assert reach(np.array([np.nan]), 0.0, 0.9) == np.inf


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ((0.1, 0.1, 200, 0.9, 5), "not both"),
        ((float("nan"), None, 200, 0.9, 5), "number that scores can reach"),
        ((None, 1.5, 200, 0.9, 5), "between 0 and 1"),
        ((None, None, 20, 0.9, 5), "at least 100"),
        ((None, None, 200, 0.3, 5), "between 0.5 and 1"),
        ((None, None, 200, 0.9, 1), "at least 2 speakers"),
    ],
)
def test_settings_out_of_range_are_refused(settings, said):
    with pytest.raises(CohortError, match=said):
        check_settings(*settings)
