# SPDX-License-Identifier: Apache-2.0
"""Columns that go with a cohort: gaps that vanish within them, and gaps that stay."""

import numpy as np
import polars as pl
import pytest

from evenear.audit import Table, cohorts_by, gaps
from evenear.audit.statistics.confounds import Confound, confounds
from evenear.errors import TableError


def recorded(
    *, by_device: float = 1.0, by_gender: float = 1.0, mixed: float = 0.8, seed: int = 0
) -> Table:
    """120 speakers; women mostly on device "far". Either may cost errors."""
    rng = np.random.default_rng(seed)
    gender = np.where(np.arange(120) % 2, "f", "m")
    share = np.where(gender == "f", mixed, 1.0 - mixed)
    device = np.where((np.arange(120) // 2) % 10 < 10 * share - 1e-9, "far", "near")
    who = np.repeat(np.arange(120), 20)
    rate = 0.1 * np.where(device == "far", by_device, 1.0) * np.where(gender == "f", by_gender, 1.0)
    rate = rate * rng.gamma(25.0, 0.04, 120)
    texts = pl.Series([None] * len(who), dtype=pl.String)
    return Table(
        pl.DataFrame(
            {
                "utterance_id": [f"u{k}" for k in range(len(who))],
                "speaker": [f"s{k:03d}" for k in who],
                "reference": texts,
                "hypothesis": texts,
                "words": np.full(len(who), 10),
                "errors": rng.poisson(10 * rate[who]),
                "gender": gender[who],
                "device": device[who],
                "snr": rng.normal(20.0, 4.0, len(who)),
                "note": [f"n{k}" for k in range(len(who))],
            }
        )
    )


def found(table: Table, **settings: object) -> tuple[Confound, ...]:
    cohorts = cohorts_by(table, ["gender"])
    return confounds(table, cohorts, gaps(table, cohorts, num_resamples=300), **settings)


def test_a_gap_that_is_the_devices_vanishes_within_devices():
    female, male = found(recorded(by_device=3.0))
    assert (female.value, female.column, female.typical) == ("f", "device", "far")
    assert female.typical_share == pytest.approx(0.8)
    assert female.typical_rest_share == pytest.approx(0.2)
    assert female.distance == pytest.approx(0.6)
    assert female.gap is not None
    assert female.gap > 0.5
    assert female.gap_within_low < 0.0 < female.gap_within_high
    assert male.typical == "near"


def test_a_gap_of_its_own_stays_within_devices():
    female, _ = found(recorded(by_gender=2.0))
    assert female.gap_within_low > 0.5
    assert female.gap_within == pytest.approx(female.gap, rel=0.2)
    assert [one.value for one in female.strata] == ["far", "near"]
    assert all(one.gap == pytest.approx(1.0, abs=0.4) for one in female.strata)


def test_the_gap_within_is_the_ratio_of_mantel_and_haenszel():
    table = recorded(by_device=2.0, by_gender=1.5, seed=3)
    female, _ = found(table)
    top = bottom = 0.0
    for (_,), rows in table.frame.partition_by("device", as_dict=True).items():
        own, rest = rows.filter(pl.col("gender") == "f"), rows.filter(pl.col("gender") == "m")
        words = rows["words"].sum()
        top += own["errors"].sum() * rest["words"].sum() / words
        bottom += rest["errors"].sum() * own["words"].sum() / words
    assert female.gap_within == pytest.approx(top / bottom - 1.0)


def test_columns_that_are_alike_on_both_sides_are_not_mentioned():
    assert found(recorded(mixed=0.5)) == ()
    assert {one.column for one in found(recorded())} == {"device"}


def test_without_a_value_in_common_nothing_is_said_of_the_gap_within():
    female, _ = found(recorded(mixed=1.0, by_device=2.0))
    assert female.overlap == 0.0
    assert female.gap_within is female.gap_within_low is None
    assert female.gap is not None


def test_columns_may_be_named_and_must_be_there():
    assert found(recorded(), columns=["snr"]) == ()
    assert len(found(recorded(), columns=["device"])) == 2
    assert found(recorded(), columns=[]) == ()
    with pytest.raises(TableError, match="devices"):
        found(recorded(), columns=["devices"])
