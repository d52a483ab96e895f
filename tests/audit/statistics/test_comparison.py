# SPDX-License-Identifier: Apache-2.0
import itertools
import json
import math

import numpy as np
import polars as pl
import pytest

from audit.planted import planted
from evenear.audit import Table, cohorts_by, compare, gaps

NAMES = ["gender", "accent"]


def thinned(table, keep, **only):
    """The table with each error kept with some probability, in one cohort or everywhere."""
    rng = np.random.default_rng(5)
    errors = table.frame["errors"].to_numpy()
    fewer = rng.binomial(errors, keep)
    for name, value in only.items():
        fewer = np.where((table.frame[name] == value).to_numpy(), fewer, errors)
    return Table(table.frame.with_columns(pl.Series("errors", fewer)), name="after")


def changes(before, after, **settings):
    return compare(before, after, cohorts_by(before, NAMES), num_resamples=300, **settings)


def test_a_system_compared_with_itself_has_not_changed():
    table = planted(100)
    found = changes(table, table)
    for row in (found.overall, *found.rows):
        assert (row.change, row.change_low, row.change_high) == (0.0, 0.0, 0.0)
        assert not row.confirmed
    assert all(row.gap_change == pytest.approx(0.0, abs=1e-12) for row in found.rows)
    assert found.got_worse == ()
    assert found.may_be_worse() == ()


def test_an_improvement_for_all_is_seen_in_all():
    table = planted(150)
    found = changes(table, thinned(table, 0.8))
    assert found.overall.change_low < -0.2 < found.overall.change_high
    assert all(row.change < 0 and row.confirmed for row in found.rows)
    assert found.got_worse == ()
    assert found.after == "after"


def test_a_repair_of_one_cohort_changes_its_gap():
    table = planted(200, effects={("accent", "b"): 1.8})
    found = changes(table, thinned(table, 0.6, accent="b"))
    row = next(row for row in found.rows if row.value == "b")
    assert row.gap_change_high < 0.0
    assert row.gap_after < row.gap_before
    assert row.gap_change == pytest.approx((1 + row.gap_after) / (1 + row.gap_before) - 1)
    assert [row.value for row in found.rows if row.confirmed and row.attribute == "accent"] == ["b"]


def test_who_got_worse_is_named():
    table = planted(200)
    found = changes(thinned(table, 0.6, accent="d"), table)
    assert [row.value for row in found.got_worse if row.attribute == "accent"] == ["d"]
    assert "d" in [row.value for row in found.may_be_worse(margin=0.1)]


def test_a_gap_that_grows_while_everyone_gains_is_confirmed_to_grow():
    """England once went from +2.7 to +33 %, and nothing was said."""
    table = planted(200)
    gained = thinned(thinned(table, 0.5), 1.0)
    left_behind = pl.when(table.frame["accent"] == "d").then(table.frame["errors"])
    errors = left_behind.otherwise(gained.frame["errors"]).alias("errors")
    found = changes(table, Table(table.frame.with_columns(errors)))
    assert found.got_worse == ()
    assert [row.value for row in found.fell_behind if row.attribute == "accent"] == ["d"]
    (row,) = [row for row in found.fell_behind if row.attribute == "accent"]
    assert row.gap_change_low > 0.0
    assert row.gap_p_adjusted <= 0.05


def test_what_everyone_gains_alike_changes_no_gap():
    """Swapping the systems would find such changes in every gap."""
    alarms = 0
    for seed in range(40):
        table = planted(80, seed=seed, utterances=4, effects={("gender", "female"): 1.5})
        found = changes(table, thinned(table, 0.4), seed=seed)
        assert found.overall.confirmed
        alarms += any(row.gap_confirmed for row in found.rows)
    assert alarms <= 6  # 5 % of 40 is 2


def test_a_gap_that_comes_from_none_grew_without_bound():
    table = planted(200)
    clean = thinned(table, 0.0, accent="d")
    grown = next(row for row in changes(clean, table).rows if row.value == "d")
    shrunk = next(row for row in changes(table, clean).rows if row.value == "d")
    assert (grown.gap_change, grown.gap_size, grown.gap_confirmed) == (None, math.inf, True)
    assert (shrunk.gap_size, shrunk.gap_confirmed) == (-1.0, True)


def test_who_errs_for_the_first_time_got_worse():
    table = planted(200)
    found = changes(thinned(table, 0.0, accent="d"), table)
    (row,) = [row for row in found.got_worse if row.attribute == "accent"]
    assert row.value == "d"
    assert row.change is None
    assert row.size == math.inf


def test_levels_and_gaps_are_those_of_the_single_audits():
    before = planted(150)
    after = thinned(before, 0.7)
    found = changes(before, after)
    cohorts = cohorts_by(before, NAMES)
    singles = zip(
        gaps(before, cohorts, num_resamples=100).rows,
        gaps(after, cohorts, num_resamples=100).rows,
        strict=True,
    )
    for row, (old, new) in zip(found.rows, singles, strict=True):
        assert (row.wer_before, row.wer_after) == (old.wer, new.wer)
        assert (row.gap_before, row.gap_after) == (old.gap, new.gap)
        assert row.change == pytest.approx(new.wer / old.wer - 1)


def test_p_values_of_swaps_are_those_of_enumerating_all_swaps():
    """Rounding once broke ties with what was observed, and made p-values too small."""
    signs = np.array(list(itertools.product([-1, 1], repeat=12)))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        gains = rng.integers(1, 8, 12) * rng.choice([-1, 1], 12, p=[0.75, 0.25])
        exact = np.mean(abs(signs @ gains) >= abs(gains.sum()))
        table = planted(12, utterances=1).frame.unique("speaker", maintain_order=True)
        first, second = (
            Table(table.with_columns(errors=pl.Series(20 + k * gains))) for k in (0, 1)
        )
        cohorts = cohorts_by(first, [])
        found = compare(first, second, cohorts, num_resamples=4000).overall.p_adjusted
        assert abs(found - exact) < 5 * math.sqrt(exact * (1 - exact) / 4000) + 1 / 4000


def test_only_utterances_that_both_have_are_compared():
    table = planted(100)
    part = Table(thinned(table, 0.8).frame.sample(fraction=0.9, seed=1, shuffle=True))
    found = changes(table, part)
    assert found.overall.utterances == part.num_utterances
    assert any("left out" in warning for warning in found.warnings)


def test_small_cohorts_have_no_numbers_and_may_be_worse():
    table = planted(60)
    found = changes(table, thinned(table, 0.5), min_speakers=15)
    small = [row for row in found.rows if row.suppressed]
    assert small
    assert all(row.change is None for row in small)
    assert set(small) <= set(found.may_be_worse())


def test_a_small_rest_says_as_little_as_a_small_cohort():
    table = planted(60)
    few = pl.when(pl.col("speaker") < "s0003").then(pl.lit("few")).otherwise(pl.lit("many"))
    table = Table(table.frame.with_columns(few.alias("kind")))
    found = compare(table, table, cohorts_by(table, ["kind"]), num_resamples=100)
    assert all(row.suppressed and row.wer_before is None for row in found.rows)


def test_one_of_several_comparisons_must_be_surer():
    table = planted(120)
    after = thinned(table, 0.9)
    alone, among = changes(table, after), changes(table, after, among=3)
    for row, other in zip((alone.overall, *alone.rows), (among.overall, *among.rows), strict=True):
        assert other.p_adjusted == pytest.approx(min(1.0, 3 * row.p_adjusted))
        assert (other.change, other.change_low) == (row.change, row.change_low)
    for row, other in zip(alone.rows, among.rows, strict=True):
        assert other.gap_p_adjusted == pytest.approx(min(1.0, 3 * row.gap_p_adjusted))


def test_everything_is_plain_json():
    table = planted(80)
    found = changes(table, thinned(table, 0.8))
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert list(values)[:2] == ["overall", "cohorts"]
    assert "gap change" in values["formula"]
    assert found.to_frame().height == len(found.rows)


def test_two_equal_systems_with_independent_noise_rarely_differ():
    alarms = 0
    for seed in range(60):
        table = planted(60, seed=seed, utterances=4)
        rng = np.random.default_rng(seed)
        both = [rng.binomial(table.frame["errors"].to_numpy(), 0.7) for _ in range(2)]
        first, second = (
            Table(table.frame.with_columns(pl.Series("errors", errors))) for errors in both
        )
        found = compare(first, second, cohorts_by(table, NAMES), num_resamples=199)
        alarms += any(row.confirmed for row in found.rows)
    assert alarms <= 8  # 5 % of 60 is 3
