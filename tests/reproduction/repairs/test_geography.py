# SPDX-License-Identifier: Apache-2.0
"""The whole experiment on regions, on tones; and what becomes of its claims."""

import pytest

from evenear.reproduction.repairs.geography import CONTROL, claims_of, repair_map
from reproduction.repairs.benches import make_bench


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    bench, sides, _ = make_bench(tmp_path_factory.mktemp("geography"))
    return {
        name: repair_map(bench, name, sides, methods, min_speakers=4)
        for name, methods in (("corner", ["ewc", "freeze-encoder"]), (CONTROL, ["ewc"]))
    }


def test_every_number_of_a_map_is_there(found):
    one = found["corner"]
    assert [row.outcome.method for row in one.rows] == ["ewc", "freeze-encoder"]
    assert sum(one.speakers.values()) == 16
    assert [mark.kind for mark in one.marks] == ["before", "chosen", "own"]
    values = one.to_dict()
    assert values["note"] == "Synthetic geography"
    assert set(values["methods"][0]["changes"]) == {
        "worst",
        "overall",
        "mean",
        "maximum",
        "variance",
    }


def test_each_claim_gets_a_verdict(found):
    claims = claims_of(found)
    assert len(claims) == 6
    assert all(claim.judgement != "not measured" for claim in claims)


def test_what_was_not_run_is_not_judged():
    assert {claim.judgement for claim in claims_of({})} == {"not measured"}
