# SPDX-License-Identifier: Apache-2.0
"""A draw is of as many speakers as can be, and a smaller one is a part of a larger one."""

import itertools
from collections import Counter
from pathlib import Path

import pytest

from evenear.data.corpora.manifests import Utterance
from evenear.evaluation import draw_utterances


def corpus() -> list[Utterance]:
    counts = {"ann": 6, "bob": 2, "cy": 1}
    return [
        Utterance(f"{speaker}{k}", speaker, "", Path("none"), 0.0, 1.0)
        for speaker, count in counts.items()
        for k in range(count)
    ]


@pytest.mark.parametrize(
    ("limit", "counts"),
    [
        (2, [1, 1]),
        (3, [1, 1, 1]),
        (5, [2, 2, 1]),
        (7, [4, 2, 1]),
        (99, [6, 2, 1]),
    ],
)
def test_nobody_is_drawn_twice_before_all_were_drawn_once(limit, counts):
    drawn = draw_utterances(corpus(), limit)
    assert sorted(Counter(u.speaker for u in drawn).values(), reverse=True) == counts
    order = [u.utterance_id for u in corpus()]
    places = [order.index(u.utterance_id) for u in drawn]
    assert places == sorted(places)


def test_a_smaller_draw_is_a_part_of_a_larger_one():
    draws = [{u.utterance_id for u in draw_utterances(corpus(), limit)} for limit in range(10)]
    for smaller, larger in itertools.pairwise(draws):
        assert smaller <= larger


def test_draws_depend_on_the_seed():
    draws = {
        tuple(u.utterance_id for u in draw_utterances(corpus(), 3, seed=seed)) for seed in range(9)
    }
    assert len(draws) > 1
