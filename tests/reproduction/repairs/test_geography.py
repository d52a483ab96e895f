# SPDX-License-Identifier: Apache-2.0
"""The whole experiment on regions, on tones; and what becomes of its claims."""

import dataclasses

import pytest

from evenear.reproduction.repairs.geography import CONTROL, MapSummary, claims_of, repair_map
from evenear.training.mitigation.plan import MethodName
from reproduction.repairs.benches import make_bench

METHODS: dict[str, list[MethodName]] = {
    "corner": ["ewc", "freeze-encoder"],
    CONTROL: ["ewc"],
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    bench, sides, _ = make_bench(tmp_path_factory.mktemp("geography"))
    return {
        name: MapSummary(name, (repair_map(bench, name, sides, methods, min_speakers=4),))
        for name, methods in METHODS.items()
    }


def test_every_number_of_a_map_is_there(found):
    one = found["corner"]
    assert one.methods == ("ewc", "freeze-encoder")
    assert sum(one.seeds[0].speakers.values()) == 16
    assert [mark.kind for mark in one.marks] == ["before", "chosen", "own"]
    values = one.to_dict()
    assert values["note"] == "Synthetic geography"
    own = {"worst", "overall", "specific", "mean", "maximum", "variance", "corrected_variance"}
    assert set(values["methods"][0]["changes"]) == own
    assert set(values["methods"][1]["changes"]) == own | {"worst_to_ewc", "overall_to_ewc"}


def test_seeds_are_averaged_and_a_method_that_one_lacks_is_left_out(found):
    one = found["corner"].seeds[0]
    other = dataclasses.replace(
        one, seed=1, rows=one.rows[:1], before=dict.fromkeys(one.before, 0.5)
    )
    both = MapSummary("corner", (one, other))
    assert both.methods == ("ewc",)
    assert both.rates(None)["everyone"] == pytest.approx((one.before["everyone"] + 0.5) / 2)
    alone, mean = (m.estimate("ewc", "worst") for m in (found["corner"], both))
    assert mean is not None
    assert alone is not None
    assert mean.value == pytest.approx(alone.value)


def test_each_claim_gets_a_verdict(found):
    claims = claims_of(found)
    assert len(claims) == 8
    assert all(claim.judgement != "not measured" for claim in claims)


def test_what_was_not_run_is_not_judged():
    assert {claim.judgement for claim in claims_of({})} == {"not measured"}
