# SPDX-License-Identifier: Apache-2.0
"""Numbers of groups against arithmetic by hand, and verdicts from intervals."""

import numpy as np
import polars as pl
import pytest

from evenear.audit import Table
from evenear.reproduction.repairs.changes import Groups, Sampled, judged, pooled
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
    found = groups([4, 5, 4, 5] * 5, [2, 2, 2, 2] * 5).change("a").estimate
    assert found.value == pytest.approx(20 / 45 - 1)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high < 0


def test_what_is_hard_for_both_models_cancels():
    before = [1, 9, 1, 9] * 5
    found = groups(before, before).change("b").estimate
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_a_group_of_nobody_has_no_interval():
    names = {"a": ["s00", "s01"], "b": []}
    found = Groups([table([1, 2]), table([1, 1])], names).change("b").estimate
    assert found.low is None


def test_seeds_count_as_their_mean_and_widen_the_interval():
    one, other = (Sampled(v, np.full(2000, v)) for v in (-0.2, 0.1))
    assert pooled([one]).estimate == Estimate(-0.2, -0.2, -0.2)
    both = pooled([one, other]).estimate
    assert (both.value, both.low, both.high) == pytest.approx((-0.05, -0.2, 0.1))


def test_variance_that_chance_makes_is_taken_out():
    """Groups of one rate differ by chance; what is expected of that is about what is seen."""
    rng = np.random.default_rng(0)
    names = [f"s{k:02}" for k in range(60)]
    parts = {str(g): names[g::6] for g in range(6)}
    found = []
    for _ in range(150):
        after = rng.integers(0, 11, 60).tolist()
        both = Groups([table([5] * 60), table(after)], parts, num_resamples=1)
        rates = list(both.rates(1).values())
        found.append((np.var(rates), both.variance_change(list(parts)).value))
    seen, left = np.mean(found, axis=0)
    assert abs(left) < 0.2 * seen


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(-0.2, -0.1, "holds"), (-0.2, 0.1, "cannot tell"), (0.1, 0.2, "does not hold")],
)
def test_verdicts_follow_intervals(low, high, said):
    assert judged(Estimate((low + high) / 2, low, high)) == said
    assert judged(None) == "not measured"
    assert judged(Estimate(0.0, None, None)) == "cannot tell"
