# SPDX-License-Identifier: Apache-2.0
"""Latencies are from true moments; cuts and delays are judged at the true end of speech."""

import pytest

from evenear.metrics.emission import (
    EmissionLatencies,
    EndpointCounts,
    TrueTurn,
    TurnMoments,
    emission_latencies,
    endpoint_counts,
)

TRUTH = [TrueTurn(1.0, 3.0), TrueTurn(2.0, 5.0)]
HEARD = [TurnMoments(2.25, 2.5, 4.9, 5.5), TurnMoments(1.1, 1.4, 2.8, 3.3)]


def test_the_four_latencies_are_from_the_true_moments():
    found = emission_latencies(TRUTH, HEARD)
    assert found.end_of_turn == pytest.approx((0.3, 0.5))
    assert found.last_word == pytest.approx((-0.2, -0.1))
    assert found.start_of_turn == pytest.approx((0.1, 0.25))
    assert found.first_word == pytest.approx((0.4, 0.5))
    table = found.milliseconds()
    assert table["end_of_turn"]["p50"] == pytest.approx(400)
    assert table["end_of_turn"]["mean"] == pytest.approx(400)
    assert table["end_of_turn"]["p90"] == pytest.approx(480)


def test_sessions_with_another_number_of_turns_do_not_count():
    assert emission_latencies(TRUTH, HEARD[:1]) == EmissionLatencies()
    assert EmissionLatencies().milliseconds()["first_word"] == {
        "turns": 0,
        "mean": None,
        "p50": None,
        "p90": None,
    }


def test_what_was_not_said_has_no_latency_and_latencies_add():
    silent = [TurnMoments(None, 1.4, 2.8, None), TurnMoments(None, None, None, None)]
    found = emission_latencies(TRUTH, silent)
    assert len(found.first_word) == 1
    assert found.end_of_turn == ()
    both = found + emission_latencies(TRUTH, HEARD)
    assert len(both.first_word) == 3
    assert len(both.end_of_turn) == 2


def test_an_end_inside_speech_cuts_and_the_first_after_it_is_the_delay():
    truth = [TrueTurn(1.0, 3.0), TrueTurn(4.0, 6.0), TrueTurn(8.0, 9.0)]
    counts = endpoint_counts(truth, [0.5, 2.0, 3.25, 3.5, 7.0, 20.0])
    assert counts == EndpointCounts(turns=3, cut=1, missed=1, delays=(0.25, 1.0))
    assert counts.false_cut_rate == pytest.approx(1 / 3)
    assert counts.missed_rate == pytest.approx(1 / 3)
    assert counts.delay_milliseconds(50) == pytest.approx(625)
    assert (counts + counts).turns == 6


def test_an_end_after_the_next_turn_has_begun_is_missed():
    truth = [TrueTurn(1.0, 3.0), TrueTurn(3.5, 6.0)]
    counts = endpoint_counts(truth, [4.0, 6.0])
    assert counts == EndpointCounts(turns=2, cut=1, missed=1, delays=(0.0,))


def test_without_turns_there_are_no_rates():
    assert EndpointCounts().false_cut_rate is None
    assert EndpointCounts().missed_rate is None
    assert EndpointCounts().delay_milliseconds(50) is None
