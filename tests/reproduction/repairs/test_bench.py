# SPDX-License-Identifier: Apache-2.0
"""A bench tries every method alike, chooses on tuning speakers, and hears nothing twice."""

import pytest

from evenear.training.mitigation.plan import METHODS
from reproduction.repairs.benches import make_bench


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_bench(tmp_path_factory.mktemp("bench"))


def test_an_attempt_is_measured_on_test_speakers_only(made):
    bench, sides, _ = made
    outcome = bench.attempt("children", "ewc", sides)
    assert set(outcome.table.speakers["speaker"]) == bench.division.test
    assert outcome.chosen in outcome.points
    assert outcome.to_dict()["dial"] == "strength"
    again = bench.attempt("children", "ewc", sides)
    assert again.table.frame.equals(outcome.table.frame)


def test_settings_are_spread_over_the_usual_ones(made):
    bench = made[0]
    assert bench.settings("ewc") == (METHODS["ewc"].settings[2],)
    from dataclasses import replace

    two = replace(bench, effort=replace(bench.effort, num_settings=2))
    assert two.settings("ewc") == (METHODS["ewc"].settings[0], METHODS["ewc"].settings[-1])
