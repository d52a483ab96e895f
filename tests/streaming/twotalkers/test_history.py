# SPDX-License-Identifier: Apache-2.0
"""Probabilities of who spoke are those of all ways through the states, summed one by one.

Dimensions: G groups, A states, C channels.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.errors import StateError
from evenear.models.activity import BOTH, FIRST, NOBODY, SECOND, ActivityConfig, ActivityDecoder
from evenear.seeding import rng_for
from evenear.streaming.twotalkers.history import SpeakingHistory

COSTS = ActivityConfig(switch_cost=0.7, odd_cost=1.1)


def filled(num_groups: int, *, kept: int = 100, seed: int = 0):
    """A history, with the logits and the first channel's shares that it was given."""
    rng = rng_for(seed, "who speaks")
    logits_GA = rng.normal(size=(num_groups, 4)).astype(np.float32)
    shares_GC = rng.uniform(0.1, 1.0, size=(num_groups, 2)).astype(np.float32)
    history = SpeakingHistory(COSTS, kept)
    for logits_A, shares_C in zip(logits_GA, shares_GC, strict=True):
        history.add(logits_A, shares_C)
    return history, logits_GA, shares_GC[:, 0] / shares_GC.sum(axis=1)


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 5), st.integers(0, 5))
def test_every_way_through_the_states_counts(num_groups, seed):
    history, logits_GA, share_G = filled(num_groups, seed=seed)
    heard_GA = logits_GA - np.log(np.exp(logits_GA).sum(axis=1, keepdims=True))
    costs_RA = ActivityDecoder(COSTS).costs_RA.numpy()
    chances_GA = np.zeros((num_groups, 4))
    for way in itertools.product(range(4), repeat=num_groups):
        steps = zip((NOBODY, *way), way, strict=False)
        score = sum(heard_GA[g, a] for g, a in enumerate(way)) - sum(costs_RA[s] for s in steps)
        for g, state in enumerate(way):
            chances_GA[g, state] += np.exp(score)
    chances_GA /= chances_GA.sum(axis=1, keepdims=True)
    both_G = chances_GA[:, BOTH]
    expected_CG = [
        chances_GA[:, FIRST] + both_G * share_G,
        chances_GA[:, SECOND] + both_G * (1 - share_G),
    ]
    np.testing.assert_allclose(history.speaking(0), expected_CG, rtol=1e-5, atol=1e-9)


def test_asking_for_less_gives_the_same_and_nothing_is_changed_by_it():
    history, _, _ = filled(30)
    whole_CG = history.speaking(0)
    np.testing.assert_array_equal(history.speaking(12), whole_CG[:, 12:])
    assert history.speaking(30).shape == (2, 0)
    np.testing.assert_array_equal(history.speaking(0), whole_CG)


def test_what_is_long_ago_is_forgotten_and_hardly_missed():
    long, _, _ = filled(200, kept=1000)
    short, _, _ = filled(200, kept=50)
    assert short.first_group == 150
    np.testing.assert_allclose(short.speaking(150), long.speaking(150), atol=1e-12)
    with pytest.raises(StateError, match="from 150 on"):
        short.speaking(149)
