# SPDX-License-Identifier: Apache-2.0
"""From scores to rates, pairs and JSON."""

import json

import pytest

from evenear.reproduction.results import NOISY, to_json
from evenear.reproduction.scoring import CLEAN
from reproduction.made_up import PAPERS_ORDER, results, scores


@pytest.fixture(scope="module")
def found():
    return results()


def test_rates_are_errors_over_words_of_each_seed(found):
    (convrnn,) = [variant for variant in found.variants if variant.name == "convrnn"]
    clean = convrnn.rates[0]
    assert clean.condition == CLEAN
    for seed, rate in enumerate(clean.by_seed):
        own = [s for s in scores(0.16, "convrnn", seed) if s.condition == CLEAN]
        assert rate == sum(s.errors for s in own) / sum(s.words for s in own)
    assert clean.wer.value == pytest.approx(sum(clean.by_seed) / 2)


def test_conditions_go_from_clean_to_loud_and_end_with_all_noise(found):
    assert found.conditions == (CLEAN, "20 dB", "10 dB", "5 dB", NOISY)
    rates = [rate.wer.value for rate in found.variants[0].rates]
    assert rates[4] == pytest.approx(sum(rates[1:4]) / 3)


def test_every_variant_is_compared_with_the_rnnt_under_every_condition(found):
    for name in PAPERS_ORDER:
        for condition in found.conditions:
            pair = found.difference(condition, name, "lstm")
            assert (pair is None) == (name == "lstm")
    assert found.difference(CLEAN, "convrnn", "lstm").relative.high < 0


def test_variants_that_were_not_trained_leave_their_claims_unmeasured():
    found = results({"lstm": 0.2, "convrnn": 0.16})
    assert [v.name for v in found.variants] == ["lstm", "convrnn"]
    assert [c.judgement for c in found.claims][2:4] == ["not measured"] * 2


def test_json_holds_everything_and_no_nan(found):
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    content = json.loads(to_json(found), parse_constant=refuse)
    assert content["format"] == 1
    assert [v["name"] for v in content["variants"]] == list(PAPERS_ORDER)
    assert content["variants"][1]["measured"]["trap_gap"] == 0.5
    assert content["counts"]["true_macs"]["convrnn"] == 4.1e9
    assert content["claims"][0]["judgement"] == "holds"
