# SPDX-License-Identifier: Apache-2.0
"""The whole experiment on cohorts, on tones; and what becomes of its claims."""

import dataclasses

import pytest

from evenear.reproduction.repairs.cohorts import (
    CohortsResult,
    CohortsSummary,
    claims_of,
    compare_cohorts,
)
from reproduction.repairs.benches import make_bench


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> CohortsResult:
    bench, sides, audio = make_bench(tmp_path_factory.mktemp("cohorts"))
    return compare_cohorts(bench, sides, audio, ["oversample", "group-dro"], min_speakers=3)


@pytest.fixture(scope="module")
def found(one) -> CohortsSummary:
    return CohortsSummary((one, dataclasses.replace(one, seed=1)))


def test_voices_are_found_and_mitigated(one, found):
    assert one.voices is not None
    assert 0.0 < one.voices.share < 1.0
    assert found.methods == ("oversample", "group-dro")
    assert found.share("voices") == pytest.approx(one.voices.share)
    assert found.gaps("oversample")[0] == pytest.approx(one.rows[0].gap_before)
    assert "Synthetic geography" in found.to_dict()["note"]


def test_a_seed_without_a_cohort_leaves_the_gap_unknown(one):
    found = CohortsSummary((one, dataclasses.replace(one, voices=None, difference=None)))
    assert found.gap("voices") is None
    assert found.difference is None


def test_each_claim_gets_a_verdict_and_what_was_not_run_gets_none(found):
    verdicts = {claim.title: claim.judgement for claim in claims_of(found)}
    assert verdicts["Oversampling reduces the gap"] != "not measured"
    assert verdicts["A cohort embedding reduces the gap"] == "not measured"
    nothing = claims_of(CohortsSummary((CohortsResult(0, None, None, None, ()),)))
    assert {claim.judgement for claim in nothing} == {"not measured"}
