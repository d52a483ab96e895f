# SPDX-License-Identifier: Apache-2.0
"""The whole experiment on cohorts, on tones; and what becomes of its claims."""

import pytest

from evenear.reproduction.repairs.cohorts import CohortsResult, claims_of, compare_cohorts
from reproduction.repairs.benches import make_bench


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> CohortsResult:
    bench, sides, audio = make_bench(tmp_path_factory.mktemp("cohorts"))
    return compare_cohorts(bench, sides, audio, ["oversample", "group-dro"], min_speakers=3)


def test_voices_are_found_and_mitigated(found):
    assert found.voices is not None
    assert 0.0 < found.voices.share < 1.0
    assert [row.outcome.method for row in found.rows] == ["oversample", "group-dro"]
    assert "Synthetic geography" in found.to_dict()["note"]


def test_each_claim_gets_a_verdict_and_what_was_not_run_gets_none(found):
    verdicts = {claim.title: claim.judgement for claim in claims_of(found)}
    assert verdicts["Oversampling reduces the gap"] != "not measured"
    assert verdicts["A cohort embedding reduces the gap"] == "not measured"
    nothing = claims_of(CohortsResult(None, None, None, ()))
    assert {claim.judgement for claim in nothing} == {"not measured"}
