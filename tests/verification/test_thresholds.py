# SPDX-License-Identifier: Apache-2.0
"""Dimensions: N trials."""

import itertools

import numpy as np
import pytest

from evenear.errors import EvenearError
from evenear.seeding import rng_for
from evenear.verification.thresholds import calibrate_threshold


def trials(num_speakers=12, num_each=4, gap=4.0, seed=0, worse=()):
    """All pairs; targets score `gap` higher, but half of that for speakers in `worse`."""
    rng = rng_for(seed, "trials")
    names = [f"s{n:02}" for n in range(num_speakers) for _ in range(num_each)]
    scores, first, second = [], [], []
    for a, b in itertools.combinations(names, 2):
        better = (gap / 2 if a in worse else gap) if a == b else 0.0
        scores.append(rng.standard_normal() + better)
        first.append(a)
        second.append(b)
    return np.array(scores), first, second


def found(trials, **options):
    return calibrate_threshold(*trials, rng=rng_for(1, "draws"), **options)


def test_the_threshold_accepts_no_more_others_than_wanted():
    scores_N, first, second = trials()
    result = found((scores_N, first, second), false_accept_rate=0.02)
    assert result.why_none is None
    others = [s for s, a, b in zip(scores_N, first, second, strict=True) if a != b]
    accepted = sum(s >= result.threshold for s in others)
    assert accepted <= 0.02 * len(others) < accepted + 1
    targets = [s for s, a, b in zip(scores_N, first, second, strict=True) if a == b]
    everyone = result.groups[0]
    assert everyone.false_rejects == sum(s < result.threshold for s in targets)
    assert (result.targets, result.others, result.speakers) == (len(targets), len(others), 12)


def test_groups_are_listed_at_the_one_threshold_with_intervals():
    worse = {"s00", "s01", "s02", "s03"}
    kind = {f"s{n:02}": "a" if f"s{n:02}" in worse else "b" for n in range(12)}
    result = found(trials(worse=worse), groups={"kind": kind})
    rates = {row.group: row for row in result.groups}
    assert rates["kind=a"].speakers == 4
    assert rates["kind=b"].speakers == 8
    assert rates["kind=a"].rate > rates["kind=b"].rate + 0.2
    for row in result.groups:
        assert row.low <= row.rate <= row.high
    total = rates["kind=a"].false_rejects + rates["kind=b"].false_rejects
    assert rates["everyone"].false_rejects == total


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"num_speakers": 4}, "say too little"),
        ({"gap": 0.3}, "overlap too much"),
    ],
)
def test_no_threshold_is_given_where_it_would_mean_little(options, why):
    result = found(trials(**options))
    assert result.threshold is None
    assert why in result.why_none


def test_a_rate_that_cannot_be_seen_has_no_threshold():
    result = found(trials(num_speakers=5, num_each=2), false_accept_rate=0.001)
    assert result.threshold is None
    assert "cannot be seen" in result.why_none


def test_one_speaker_of_a_group_has_no_interval():
    kind = {f"s{n:02}": "a" if n == 0 else "b" for n in range(12)}
    rows = {row.group: row for row in found(trials(), groups={"kind": kind}).groups}
    assert rows["kind=a"].low is None
    assert rows["kind=a"].rate is not None


def test_wrong_asks_are_refused():
    with pytest.raises(EvenearError, match="between 0 and 1"):
        found(trials(), false_accept_rate=0.0)
    with pytest.raises(EvenearError, match="same speaker"):
        found((np.zeros(2), ["a", "a"], ["b", "c"]))
