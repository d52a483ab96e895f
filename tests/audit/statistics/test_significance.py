# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.planted import planted
from evenear.audit import Table, cohorts_by, compare, gaps
from evenear.audit.statistics.multiplicity import max_t_p_values
from evenear.audit.statistics.significance import (
    flipped_statistics,
    permuted_statistics,
    significance,
)
from evenear.audit.statistics.sums import cohort_sums, whole_sums
from evenear.seeding import rng_for


def log_rate(errors_S, words_S, rate):
    """As the module says it, one sum at a time."""
    pooled = (errors_S.sum() + 0.5) / (words_S.sum() + 0.5 / rate)
    scatter = ((errors_S - pooled * words_S) ** 2).sum() * len(words_S) / (len(words_S) - 1)
    return np.log(pooled), (scatter + 0.5) / (errors_S.sum() + 0.5) ** 2


@pytest.mark.parametrize("mixed", [0, 2])
def test_the_observed_statistic_is_that_of_its_formula(mixed):
    table = planted(80)
    odd = pl.col("utterance_id").is_in(table.frame["utterance_id"][:mixed].to_list())
    gender = pl.when(odd).then(pl.lit("male")).otherwise("gender").alias("gender")
    table = Table(table.frame.with_columns(gender))
    cohorts = cohort_sums(table, cohorts_by(table, ["gender", "age"]))
    observed_K, _ = permuted_statistics(
        cohorts, whole_sums(table), rng_for(0, "test"), num_permutations=1
    )
    for one, observed in zip(cohorts, observed_K, strict=True):
        rate = one.known.errors_S.sum() / one.known.words_S.sum()
        sides = [(errors_S[words_S > 0], words_S[words_S > 0]) for errors_S, words_S in (
            one.own, one.rest
        )]  # fmt: skip
        (own, own_variance), (rest, rest_variance) = (log_rate(*side, rate) for side in sides)
        assert observed == pytest.approx((own - rest) / np.sqrt(own_variance + rest_variance))


def test_permuting_speakers_keeps_cohort_sizes_and_strata():
    table = planted(60)
    cohorts = cohort_sums(table, cohorts_by(table, ["gender"]))
    errors_S, words_S = whole_sums(table)
    strata_S = np.arange(60)
    observed_K, null_RK = permuted_statistics(
        cohorts, (errors_S, words_S), rng_for(0, "test"), num_permutations=5, strata_S=strata_S
    )
    np.testing.assert_allclose(null_RK, np.tile(observed_K, (5, 1)))


def test_blocks_of_permutations_do_not_change_them(monkeypatch):
    table = planted(40)
    cohorts = cohort_sums(table, cohorts_by(table, ["age"]))
    arguments = (cohorts, whole_sums(table))
    _, whole = permuted_statistics(*arguments, rng_for(0, "test"), num_permutations=30)
    monkeypatch.setattr("evenear.audit.statistics.significance.NUMBERS_AT_ONCE", 40 * 5 * 7)
    _, blocks = permuted_statistics(*arguments, rng_for(0, "test"), num_permutations=30)
    np.testing.assert_allclose(blocks, whole)


def test_nothing_is_found_where_nothing_is_in_95_of_100_worlds():
    false_alarms = 0
    for trial in range(150):
        table = planted(60, seed=trial, utterances=4)
        cohorts = cohort_sums(table, cohorts_by(table, ["gender", "age", "accent"]))
        observed_K, null_RK = permuted_statistics(
            cohorts, whole_sums(table), rng_for(trial, "test"), num_permutations=199
        )
        adjusted = max_t_p_values(np.abs(observed_K), np.abs(null_RK))
        false_alarms += np.nanmin(adjusted) <= 0.05
    assert false_alarms <= 15  # 5 % of 150 is 7.5; more than 15 has a chance of 1 in 200


def test_who_has_two_values_hands_on_both_and_the_rest_is_what_is_left():
    """With every speaker at their own place, the permuted statistics are those observed."""
    table = planted(60, utterances=10)
    even = pl.col("words") // 2 * 2 + 2  # so that half of a speaker's words is half of their errors
    frame = table.frame.with_columns(words=even, errors=even // 2)
    half = pl.int_range(pl.len()).over("speaker") % 2 == 0
    gender = pl.when(half & (pl.col("speaker") == "s0004")).then(pl.lit("male")).otherwise("gender")
    table = Table(frame.with_columns(gender=gender))
    cohorts = cohort_sums(table, cohorts_by(table, ["gender"]))
    assert all(one.known.by_speaker for one in cohorts)
    observed_K, null_RK = permuted_statistics(
        cohorts,
        whole_sums(table),
        rng_for(0, "test"),
        num_permutations=2,
        strata_S=np.arange(60),
    )
    np.testing.assert_allclose(null_RK, np.tile(observed_K, (2, 1)), atol=1e-9)


def test_flipped_statistics_lose_what_each_speaker_adds():
    table = planted(40)
    (high, _) = cohort_sums(table, cohorts_by(table, ["noise"]))
    observed_K, null_RK = flipped_statistics([high], rng_for(0, "test"), num_flips=50)

    def excess(kept_S):
        known = high.known
        rate = known.errors_S[kept_S].sum() / known.words_S[kept_S].sum()
        return high.errors_S[kept_S].sum() - rate * high.words_S[kept_S].sum()

    everyone = np.ones(40, dtype=bool)
    losses = [excess(everyone) - excess(np.arange(40) != s) for s in range(40)]
    assert observed_K[0] == pytest.approx(excess(everyone) / np.linalg.norm(losses))
    assert np.abs(null_RK).max() <= np.abs(losses).sum() / np.linalg.norm(losses)
    _, again = flipped_statistics([high], rng_for(0, "test"), num_flips=50)
    np.testing.assert_array_equal(again, null_RK)


def dominated(seed):
    """One speaker says half of all words, at a rate of their own, in varying noise."""
    table = planted(60, seed=seed, utterances=6)
    loud = pl.col("speaker") == "s0007"
    own = table.frame.filter(loud)["words"].sum()
    factor = int((table.words - own) / own)
    rate = 0.04 + 0.4 * np.random.default_rng(seed).random()
    words = pl.when(loud).then(pl.col("words") * factor).otherwise("words")
    errors = pl.when(loud).then((pl.col("words") * factor * rate).cast(pl.Int64))
    return Table(table.frame.with_columns(words=words, errors=errors.otherwise("errors")))


def test_nothing_is_confirmed_on_the_word_of_one_speaker():
    alarms = 0
    for seed in range(60):
        table = dominated(seed)
        found = gaps(table, cohorts_by(table, ["noise"]), seed=seed, num_resamples=199)
        alarms += any(row.confirmed for row in found.rows)
    assert alarms <= 8  # 5 % of 60 is 3


@st.composite
def tables(draw):
    """Small tables with anything in them: silence, no errors, values missing or changing."""
    number = draw(st.integers(6, 14))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = number * draw(st.integers(1, 4))
    who = rng.integers(number, size=rows)
    is_silent = rng.random(number) < draw(st.sampled_from([0.0, 0.3]))
    words = np.where(is_silent[who], 0, rng.integers(0, 40, rows))
    wer = draw(st.sampled_from([0.0, 0.02, 0.3]))
    kinds = rng.choice(["a", "b", "c"], number)
    errors = rng.poisson(
        words * wer * np.where(kinds[who] == "a", draw(st.sampled_from([0, 1, 4])), 1)
    )
    errors = np.where(words == 0, rng.poisson(20, rows), errors)
    frame = pl.DataFrame(
        {
            "utterance_id": [f"u{row}" for row in range(rows)],
            "speaker": [f"s{row:02d}" for row in who],
            "words": words.astype(np.int64),
            "errors": errors.astype(np.int64),
            "kind": kinds[who],
            "noise": rng.choice(["high", "low"], rows),
        }
    )
    return Table(frame)


@given(tables(), st.sampled_from(["rest", "overall"]), st.booleans(), st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_no_verdict_goes_against_the_sign_of_its_statistic(table, to, is_split, seed):
    cohorts = cohorts_by(table, ["kind", "noise"])
    small = {"num_resamples": 100, "level": 0.6, "min_speakers": 1, "min_words": 1, "seed": seed}
    if table.num_speakers < 4:
        return
    found = gaps(table, cohorts, to=to, confirm_fraction=0.5 * is_split, **small)
    worse = [row for row in found.rows if row.confirmed and row.size > 0.0]
    for row in (row for row in found.rows if row.confirmed):
        spoken = table.spoken.join(
            pl.DataFrame({"speaker": _speakers(table, is_split, seed)}), on="speaker"
        )
        own = spoken.filter(pl.col(row.attribute) == row.value)
        rest = spoken.filter(pl.col(row.attribute) != row.value)
        rates = [part["errors"].sum() / part["words"].sum() for part in (own, rest)]
        assert (row in worse) == (rates[0] > rates[1])
        assert row.wer == pytest.approx(rates[0])


def _speakers(table, is_split, seed):
    from evenear.audit import split_speakers

    return split_speakers(table, seed=seed).confirm.speakers["speaker"] if is_split else (
        table.speakers["speaker"]
    )  # fmt: skip


@given(tables(), st.integers(0, 3))
@settings(deadline=None, max_examples=40)
def test_no_verdict_of_a_comparison_goes_against_its_statistic(table, seed):
    if table.num_speakers < 2 or not table.words:
        return
    rng = np.random.default_rng(seed)
    errors = rng.binomial(table.frame["errors"].to_numpy(), rng.choice([0.0, 0.5, 1.0]))
    after = replace(table, frame=table.frame.with_columns(pl.Series("errors", errors)))
    small = {"num_resamples": 100, "level": 0.6, "min_speakers": 1, "min_words": 1, "seed": seed}
    found = compare(after, table, cohorts_by(table, ["kind", "noise"]), **small)
    for row in found.rows:
        if row.confirmed:
            assert (row.size > 0.0) == ((row.wer_after or 0.0) > (row.wer_before or 0.0))
        if row.gap_confirmed and row.gap_change is not None:
            grew = (1 + row.gap_after) / (1 + row.gap_before) > 1.0
            assert grew == (row.gap_size > 0.0)


def test_cohorts_of_both_kinds_are_tested_side_by_side():
    table = planted(60)
    cohorts = cohort_sums(table, cohorts_by(table, ["gender", "noise"]))
    found = significance(cohorts, whole_sums(table), seed=0, num_resamples=50)
    assert found.methods_K == ("permutation", "permutation", "sign flips", "sign flips")
    assert np.isfinite(found.observed_K).all()
    assert np.isfinite(found.null_RK).all()
