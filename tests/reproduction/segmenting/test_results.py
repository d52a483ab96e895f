# SPDX-License-Identifier: Apache-2.0
"""A planted difference is found and a planted nothing is not; what was not run is not judged."""

from dataclasses import replace

import pytest

from evenear.reproduction.segmenting.results import conditions, summarize
from evenear.reproduction.segmenting.scores import MixtureScore
from evenear.reproduction.segmenting.variants import VARIANTS
from evenear.seeding import rng_for

BASE = MixtureScore(
    mixture_id="m",
    condition="overlap up to 20 %",
    turns=4,
    words=10,
    errors=5,
    insertions=0,
    deletions=2,
    counted=4,
    end_of_turn=(1.0,),
    last_word=(0.1,),
    start_of_turn=(0.4,),
    first_word=(0.5,),
    active_norm=2.0,
    silent_norm=1.0,
)


def rows(**changes) -> list[MixtureScore]:
    """A hundred mixtures of random errors and latencies, each field moved by so much."""
    found = []
    for number in range(100):
        rng = rng_for(0, "planted", number)
        one = replace(
            BASE,
            mixture_id=str(number),
            errors=int(rng.integers(3, 8)),
            counted=4 if rng.random() < 0.5 else 3,
            start_of_turn=(float(rng.uniform(0.3, 0.6)),),
            end_of_turn=(float(rng.uniform(0.8, 1.6)),),
        )
        moved = {
            name: tuple(v + by for v in getattr(one, name))
            if isinstance(getattr(one, name), tuple)
            else getattr(one, name) + by
            for name, by in changes.items()
        }
        found.append(replace(one, **moved))
    return found


def verdicts(found) -> dict[str, str]:
    return {claim["claim"]: claim["verdict"] for claim in found["claims"]}


def test_planted_differences_are_found():
    found = summarize(
        {
            "cot": {0: [replace(one, counted=3) for one in rows()]},
            "sts": {0: rows()},
            "fastemit": {0: rows(errors=-2, start_of_turn=-0.2)},
            "penalty-3": {0: rows(end_of_turn=-0.7)},
        }
    )
    said = verdicts(found)
    assert said["<sot> and <eot> count turns better than <cot> (more than two turns)"] == "holds"
    assert said["FastEmit lowers the word error rate (all)"] == "holds"
    assert said["and says the start of a turn earlier"] == "holds"
    assert said["The penalty from 3 frames on says the end of a turn earlier"] == "holds"
    assert said["and, from 3 frames on, costs words (all)"] == "cannot tell"
    assert said["The masking loss counts turns better (more than two turns)"] == "not measured"
    assert found["variants"]["cot"]["turn_matrix"] == {"4": {"3": 100}}


def test_a_planted_nothing_is_not_found_and_the_contrary_does_not_hold():
    same = verdicts(summarize({"sts": {0: rows()}, "fastemit": {0: rows()}}))
    assert same["FastEmit lowers the word error rate (all)"] == "cannot tell"
    worse = verdicts(summarize({"sts": {0: rows()}, "fastemit": {0: rows(errors=2)}}))
    assert worse["FastEmit lowers the word error rate (all)"] == "does not hold"


def test_rates_have_intervals_and_seeds_are_averaged():
    found = summarize({"sts": {0: rows(), 1: rows(errors=2)}})["variants"]["sts"]
    alone = summarize({"sts": {0: rows()}})["variants"]["sts"]
    both = found["by_condition"]["all"]["orc_wer"]
    assert both["value"] == pytest.approx(alone["by_condition"]["all"]["orc_wer"]["value"] + 0.1)
    assert both["low"] < both["value"] < both["high"]
    assert found["seeds"] == 2
    assert found["norm_ratio"] == pytest.approx(2.0)


def test_models_without_tokens_count_no_turns():
    none = summarize({"none": {0: [replace(one, counted=None) for one in rows()]}})
    assert none["variants"]["none"]["by_condition"]["all"]["turns_right"] is None
    assert none["variants"]["none"]["turn_matrix"] == {}


def test_conditions_and_variants_are_the_papers():
    assert conditions(BASE) == ["all", "more than two turns", "overlap up to 20 %"]
    assert list(VARIANTS)[:5] == ["none", "cot", "sts", "fastemit", "masking"]


def test_active_frames_that_stay_the_softer_ones_are_not_louder():
    title = "and makes active frames louder than silent ones"
    softer = {"fastemit": {0: rows(silent_norm=2.0)}, "masking": {0: rows(silent_norm=1.5)}}
    assert verdicts(summarize(softer))[title] == "does not hold"
    louder = {"fastemit": {0: rows(silent_norm=2.0)}, "masking": {0: rows(silent_norm=0.5)}}
    assert verdicts(summarize(louder))[title] == "holds"
