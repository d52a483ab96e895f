# SPDX-License-Identifier: Apache-2.0
"""The rule and the gate, on numbers that were made up to know the answer."""

import numpy as np
import polars as pl

from evenear.audit import Table, cohorts_by, compare
from evenear.training.mitigation.judgement.choosing import Point, choose, gate, point

BEFORE = Point(None, overall=0.30, cohort=0.40, rest=0.25)


def test_the_best_for_the_cohort_within_the_margin_is_chosen():
    points = [
        Point(1.0, 0.33, 0.20, 0.40),  # best for the cohort, too dear for everyone
        Point(2.0, 0.301, 0.30, 0.30),
        Point(3.0, 0.29, 0.35, 0.26),
    ]
    chosen, is_within = choose(BEFORE, points, margin=0.005)
    assert (chosen.setting, is_within) == (2.0, True)
    assert choose(BEFORE, points, margin=0.0)[0].setting == 3.0


def test_where_all_are_too_dear_the_least_dear_is_chosen_and_that_is_said():
    points = [Point(1.0, 0.33, 0.20, 0.40), Point(2.0, 0.31, 0.39, 0.3)]
    chosen, is_within = choose(BEFORE, points, margin=0.005)
    assert (chosen.setting, is_within) == (2.0, False)


def table(rates: dict[str, float], name: str) -> Table:
    """Thirty speakers of each gender with 200 words each; errors vary a little by speaker."""
    rng = np.random.default_rng(0)
    rows = []
    for gender, rate in rates.items():
        for k in range(30):
            errors = int(rng.binomial(200, rate))
            rows.append((f"{gender}{k}-1", f"{gender}{k}", 200, errors, gender))
    frame = pl.DataFrame(
        rows, schema=["utterance_id", "speaker", "words", "errors", "gender"], orient="row"
    )
    return Table(frame, name=name)


def judged(before: dict[str, float], after: dict[str, float]):
    old, new = table(before, "before"), table(after, "after")
    return gate(compare(old, new, cohorts_by(old, ["gender"])))


def test_a_cohort_that_surely_lost_fails_the_gate():
    found = judged({"f": 0.2, "m": 0.3}, {"f": 0.3, "m": 0.2})
    assert not found.passed
    assert found.worse == ("gender=f",)


def test_gains_all_over_pass_the_gate():
    found = judged({"f": 0.3, "m": 0.3}, {"f": 0.2, "m": 0.2})
    assert found.passed
    assert found.unsure == ()


def test_no_change_passes_and_is_called_unsure_at_most():
    found = judged({"f": 0.3, "m": 0.3}, {"f": 0.3, "m": 0.3})
    assert found.passed


def test_everyone_getting_worse_fails_the_gate():
    found = judged({"f": 0.2, "m": 0.2}, {"f": 0.26, "m": 0.26})
    assert "all" in found.worse


def test_a_point_measures_sides_apart():
    found = point(3.0, table({"f": 0.5, "m": 0.1}, "x"), [f"f{k}" for k in range(30)], ["m0"])
    assert found.cohort > 0.4
    assert found.rest < 0.2 < found.overall
    assert found.to_dict()["setting"] == 3.0
