# SPDX-License-Identifier: Apache-2.0
import numpy as np
import polars as pl
import pytest

from audit.planted import planted
from evenear.audit import Assignment, Table, adjusted_ratios, cohorts_by
from evenear.errors import CohortError, TableError


def confounded(seed=0, gap=1.0):
    """Noise doubles errors, and women were recorded in noise three times as often."""
    rng = np.random.default_rng(seed)
    table = planted(150, seed=seed, effects={("gender", "female"): gap})
    woman = (table.frame["gender"] == "female").to_numpy()
    noisy = rng.random(len(woman)) < np.where(woman, 0.75, 0.25)
    errors = table.frame["errors"].to_numpy() * np.where(noisy, 2, 1)
    return Table(
        table.frame.with_columns(
            pl.Series("errors", errors), pl.Series("noise", np.where(noisy, "high", "low"))
        )
    )


def female(table, covariates, **settings):
    (gender,) = cohorts_by(table, ["gender"]).assignments
    found = adjusted_ratios(table, gender, covariates, **settings)
    return next(one for one in found if one.value == "female")


def test_a_gap_that_is_all_noise_vanishes_when_noise_is_held_fixed():
    raw, adjusted = [], []
    for seed in range(12):
        table = confounded(seed)
        raw.append(female(table, []).ratio)
        adjusted.append(female(table, ["noise"]).ratio)
    assert np.mean(np.log(raw)) == pytest.approx(np.log(1.75 / 1.25), abs=0.12)
    assert np.mean(np.log(adjusted)) == pytest.approx(0.0, abs=0.08)


def test_a_gap_that_is_real_stays():
    ratios = [female(confounded(seed, gap=1.5), ["noise", "utterance_length"]) for seed in range(8)]
    assert np.mean([np.log(one.ratio) for one in ratios]) == pytest.approx(np.log(1.5), abs=0.12)
    assert all(one.low < one.ratio < one.high for one in ratios)


def test_the_base_is_the_rest_or_everyone():
    table = planted(100)
    (accent,) = cohorts_by(table, ["accent"]).assignments
    rest = adjusted_ratios(table, accent, [])
    whole = adjusted_ratios(table, accent, [], to="overall")
    words = {name: table.frame.filter(accent=name)["words"].sum() for name in "abcdef"}
    for one, other in zip(rest, whole, strict=True):
        share = words[one.value] / table.words
        assert np.log(other.ratio) == pytest.approx((1 - share) * np.log(one.ratio))
    weighted = sum(np.log(one.ratio) * words[one.value] for one in whole)
    assert weighted == pytest.approx(0.0, abs=1e-6)


def test_small_cohorts_are_held_together_but_counted_in_the_rest():
    table = planted(100)
    (accent,) = cohorts_by(table, ["accent"]).assignments
    (only,) = adjusted_ratios(table, accent, [], values=["b"])
    assert only.value == "b"
    assert adjusted_ratios(table, accent, [], values=[]) == ()


def test_numbers_texts_and_unknowns_may_all_be_held_fixed():
    table = planted(100)
    rng = np.random.default_rng(0)
    snr = rng.normal(20.0, 5.0, table.num_utterances)
    known = pl.Series("known", rng.random(table.num_utterances) < 0.9)
    table = Table(
        table.frame.with_columns(
            pl.when(known).then(pl.Series("snr", snr)).alias("snr"),
            pl.when(known).then(16_000).alias("sample_rate"),
            pl.lit("one microphone").alias("device"),
            pl.when(pl.col("noise") == "high").then(pl.lit(None)).otherwise("noise").alias("noise"),
        )
    )
    for covariates in (["snr", "device", "noise", "age"], ["sample_rate", "noise"]):
        one = female(table, covariates)
        assert 0.3 < one.low < one.ratio < one.high < 3.0


def test_a_column_that_is_not_there_names_the_nearest():
    with pytest.raises(TableError, match="noise"):
        female(planted(30), ["nois"])


def test_an_attribute_cannot_be_adjusted_for_itself():
    with pytest.raises(CohortError, match="for itself"):
        female(planted(30), ["gender"])


def test_one_value_has_no_ratio():
    table = planted(30)
    one = Assignment("all", table.speakers.select("speaker", pl.lit("x").alias("value")))
    assert adjusted_ratios(table, one, []) == ()
