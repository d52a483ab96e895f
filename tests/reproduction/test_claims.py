# SPDX-License-Identifier: Apache-2.0
"""Verdicts follow from intervals: planted effects hold, opposites do not, noise cannot tell."""

from dataclasses import replace

import pytest

from evenear.reproduction.claims import STREAMING_TOLERANCE, Evidence, judge
from evenear.reproduction.statistics import Difference, Estimate
from reproduction.made_up import COUNTS, PAPERS_ORDER, results


def estimate(value: float, reach: float) -> Estimate:
    return Estimate(value, value - reach, value + reach)


def difference(value: float, reach: float = 0.03) -> Difference:
    return Difference(estimate(value, reach), estimate(value / 5, reach / 5), (value,))


PAPERS = {
    ("clean", "convrnn", "lstm"): -0.13,
    ("noisy", "convrnn", "lstm"): -0.12,
    ("clean", "convrnn-global-only", "convrnn-local-only"): 0.4,
    ("clean", "convrnn", "convrnn-local-only"): -0.09,
    ("clean", "convrnn", "conformer"): -0.1,
    ("clean", "convrnn", "contextnet"): -0.15,
    ("clean", "contextnet", "lstm"): 0.04,
}


def evidence(changes=(), **fields) -> Evidence:
    found = {**PAPERS, **dict(changes)}
    whole = Evidence(
        differences={key: difference(value) for key, value in found.items() if value is not None},
        change_of_gain=estimate(0.011, 0.004),
        streaming_gaps={"lstm": 1e-6, "convrnn": 2e-6},
        trap_gap=0.3,
        counts=COUNTS,
        real_time_factors={"convrnn": 0.02, "conformer": 0.01},
    )
    return replace(whole, **fields)


def verdicts(found: Evidence) -> list[str]:
    return [claim.judgement for claim in judge(found)]


def test_the_papers_numbers_make_its_claims_hold_but_for_the_compute():
    assert verdicts(evidence()) == ["holds"] * 5 + ["does not hold"]


@pytest.mark.parametrize(
    ("number", "key", "value", "judgement"),
    [
        (0, ("clean", "convrnn", "lstm"), -0.04, "cannot tell"),  # less than 5 %, or more
        (0, ("noisy", "convrnn", "lstm"), 0.0, "does not hold"),  # surely not 5 % fewer
        (2, ("clean", "convrnn", "convrnn-local-only"), -0.02, "cannot tell"),
        (2, ("clean", "convrnn-global-only", "convrnn-local-only"), -0.1, "does not hold"),
        (3, ("clean", "convrnn", "conformer"), 0.1, "does not hold"),
        (3, ("clean", "contextnet", "lstm"), 0.01, "cannot tell"),
        (3, ("clean", "convrnn", "conformer"), None, "not measured"),
    ],
)
def test_one_number_decides_a_claim(number, key, value, judgement):
    found = verdicts(evidence({key: value}))
    assert found[number] == judgement
    assert found[:number] == ["holds"] * number


def test_a_gain_that_may_be_smaller_with_noise_cannot_be_told():
    assert verdicts(evidence(change_of_gain=estimate(0.001, 0.004)))[1] == "cannot tell"
    assert verdicts(evidence(change_of_gain=estimate(-0.01, 0.004)))[1] == "does not hold"
    assert verdicts(evidence(change_of_gain=None))[1] == "not measured"


def test_a_stream_that_differs_is_said_to():
    found = evidence(streaming_gaps={"lstm": 1e-6, "convrnn": 2 * STREAMING_TOLERANCE})
    assert verdicts(found)[4] == "does not hold"


def test_without_an_interval_nothing_can_be_told():
    lone = Difference(Estimate(-0.2, None, None), Estimate(-0.04, None, None), (-0.2,))
    found = evidence(differences=dict.fromkeys(PAPERS, lone))
    assert verdicts(found)[0] == verdicts(found)[2] == "cannot tell"


def test_both_counts_of_the_compute_are_told():
    said = " ".join(judge(evidence())[5].notes)
    assert "0.97 (200 frames), 0.81 (800 frames)" in said
    assert "ConvRNN-T 4.10, Conformer at full rate 0.70" in said


def test_planted_errors_of_the_papers_order_make_the_claims_on_errors_hold():
    found = [claim.judgement for claim in results(PAPERS_ORDER).claims]
    assert found == ["holds"] * 5 + ["does not hold"]


def test_equal_recognizers_fulfil_no_claim_on_errors():
    alike = dict.fromkeys(PAPERS_ORDER, 0.2)
    found = [claim.judgement for claim in results(alike).claims][:4]
    assert "holds" not in found
