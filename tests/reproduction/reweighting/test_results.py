# SPDX-License-Identifier: Apache-2.0
"""Verdicts on planted differences.

Dimensions: B utterances, D width.
"""

import numpy as np
import pytest

from evenear.metrics.trialscores import TrialSet
from evenear.reproduction.reweighting.results import (
    OVERALL,
    as_json,
    change,
    claims,
    measure,
)
from evenear.reproduction.reweighting.voices import DescribedVoices
from evenear.seeding import rng_for


def voices(num_speakers=30, num_each=5):
    speakers = [f"s{n:02}" for n in range(num_speakers) for _ in range(num_each)]
    known = [
        {
            "gender": "female" if int(name[1:]) % 2 else "male",
            "age": ("child", "teenager", "adult")[int(name[1:]) % 3],
        }
        for name in speakers
    ]
    return DescribedVoices(np.zeros((len(speakers), 1), np.float32), tuple(speakers), tuple(known))


def vectors(spread, seed, male_spread=None):
    """Unit vectors around a center for each speaker; those of men may spread more."""
    rng = rng_for(seed, "vectors")
    centers = rng_for(0, "centers").standard_normal((30, 1, 6))
    spreads = np.full((30, 1, 1), spread)
    spreads[::2] = spread if male_spread is None else male_spread
    found = (centers + spreads * rng.standard_normal((30, 5, 6))).reshape(-1, 6)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def measured(spread, male_spread=None, seeds=(1, 2, 3)):
    embedded = [vectors(spread, seed, male_spread) for seed in seeds]
    return measure(embedded, voices(), attributes=("gender", "age"), num_draws=80, seed=0)


def test_rates_are_those_of_the_trials():
    found = measured(1.0, seeds=(1,))
    assert found.groups[:3] == ("all", "gender: female", "gender: male")
    trials = TrialSet(vectors(1.0, 1), list(voices().speakers))
    assert found.of(OVERALL) == pytest.approx(trials.eer())
    is_man_S = np.arange(30) % 2 == 0
    assert found.of("gender: male") == pytest.approx(trials.only(is_man_S).eer())


def test_a_planted_improvement_is_found_and_the_same_system_is_not():
    good, bad = measured(0.6), measured(1.2)
    found = change(good, bad, OVERALL)
    assert found.value < -0.2
    assert found.high < 0
    same = change(bad, bad, OVERALL)
    assert same.value == 0.0
    assert same.low == same.high == 0.0
    noise = change(measured(1.0, seeds=(4, 5, 6)), measured(1.0), OVERALL)
    assert noise.low < 0 < noise.high
    assert noise.detectable > 0


def test_gaps_and_spreads_are_of_the_groups_rates():
    plain, fair = measured(0.6, male_spread=1.4), measured(0.6, male_spread=0.7)
    groups = "gender: female | gender: male"
    found = change(fair, plain, f"gap: {groups}")
    gap = abs(fair.eers_VG[:, 1] - fair.eers_VG[:, 2]).mean()
    assert found.value == pytest.approx(
        gap / abs(plain.eers_VG[:, 1] - plain.eers_VG[:, 2]).mean() - 1
    )
    spread = change(fair, plain, f"spread: {groups}")
    of_two = fair.eers_VG[:, 1:3].std(axis=1).mean() / plain.eers_VG[:, 1:3].std(axis=1).mean() - 1
    assert spread.value == pytest.approx(of_two)


def test_claims_are_judged_by_the_sign_of_their_interval():
    system = {"constant": measured(1.2), "pw-row": measured(0.6), "pl": measured(0.3)}
    judged = {claim.title: claim for claim in claims(system)}
    assert judged["PW lowers the overall EER"].judgement == "holds"
    assert judged["PW lowers the overall EER"].paper == -0.077
    assert judged["PW has a lower overall EER than ARW-PL"].judgement == "does not hold"
    assert any("gap between genders" in title for title in judged)
    assert any("spread over groups" in title for title in judged)


def test_everything_is_plain_values():
    import json

    system = {"constant": measured(1.2), "pw-row": measured(0.9)}
    values = json.loads(json.dumps(as_json(system, claims(system))))
    row = values["variants"]["pw-row"]
    assert row["overall_against_control"]["value"] < 0
    assert len(row["eer_by_seed"]["all"]) == 3
    assert values["variants"]["constant"]["overall_against_control"] is None
