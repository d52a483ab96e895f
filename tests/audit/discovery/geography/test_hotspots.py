# SPDX-License-Identifier: Apache-2.0
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.discovery.geography.test_tree import speakers
from evenear.audit.discovery.geography.hotspots import HotspotSettings, find_rectangles
from evenear.audit.discovery.rules import overdispersion


def inside(spot, cells_SA):
    held = np.ones(len(cells_SA), dtype=bool)
    for axis in (0, 1):
        low, high = spot.lows[axis], spot.highs[axis]
        held &= cells_SA[:, axis] >= (low if low is not None else -np.inf)
        held &= cells_SA[:, axis] < (high if high is not None else np.inf)
    return held


def box(cells_SA):
    return (np.abs(cells_SA - 50) < 16).all(axis=1)


def test_the_best_rectangle_is_the_best_of_all():
    cells_SA, errors_S, words_S = speakers(80, 4, box, effect=3.0)
    cells_SA = cells_SA // 20  # five columns, five rows
    settings_ = HotspotSettings(
        num_lines=20, min_speakers=4, min_words=1, level=0.99, max_hotspots=1
    )
    (spot,) = find_rectangles(cells_SA, errors_S, words_S, settings_, np.random.default_rng(0))

    def score(member_S):
        groups = [(errors_S[side].sum(), words_S[side].sum()) for side in (member_S, ~member_S)]
        rate = errors_S.sum() / words_S.sum()
        if groups[0][0] / groups[0][1] <= groups[1][0] / groups[1][1]:
            return 0.0
        total = sum(e * np.log(e / w / rate) for e, w in groups if e > 0)
        return total / overdispersion(errors_S, words_S)

    spans = list(itertools.combinations(range(6), 2))
    best = 0.0
    for (west, east), (south, north) in itertools.product(spans, spans):
        member_S = (cells_SA >= [west, south]).all(axis=1) & (cells_SA < [east, north]).all(axis=1)
        if 4 <= member_S.sum() <= 76:
            best = max(best, score(member_S))
    assert score(inside(spot, cells_SA)) == pytest.approx(best)


def test_a_planted_rectangle_is_found_first():
    cells_SA, errors_S, words_S = speakers(2000, 1, box)
    strict = HotspotSettings(level=0.05)
    for settings_ in (HotspotSettings(), strict):
        spots = find_rectangles(cells_SA, errors_S, words_S, settings_, np.random.default_rng(0))
        assert box(cells_SA[spots[0].members]).mean() > 0.75
        assert spots[0].p_value < 1e-3
    assert len(spots) == 1


def test_two_planted_rectangles_are_both_found():
    def two(cells_SA):
        return (cells_SA < 25).all(axis=1) | (cells_SA >= 75).all(axis=1)

    cells_SA, errors_S, words_S = speakers(3000, 2, two, effect=1.7)
    spots = find_rectangles(
        cells_SA, errors_S, words_S, HotspotSettings(), np.random.default_rng(0)
    )
    assert len(spots) == 2
    found = np.concatenate([spot.members for spot in spots])
    assert two(cells_SA[found]).mean() > 0.8


def test_noise_has_few_hotspots():
    found = 0
    for seed in range(40):
        data = speakers(300, seed)
        settings_ = HotspotSettings(num_permutations=49, num_lines=8, level=0.1)
        found += bool(find_rectangles(*data, settings_, np.random.default_rng(seed)))
    assert found <= 10  # one in ten of 40, and three standard deviations


@settings(max_examples=20)
@given(st.integers(4, 150), st.integers(0, 100), st.integers(2, 15))
def test_hotspots_share_nobody_and_hide_enough(number, seed, least):
    cells_SA, errors_S, words_S = speakers(number, seed)
    settings_ = HotspotSettings(
        num_lines=6, min_speakers=least, min_words=0, level=0.99, num_permutations=19
    )
    spots = find_rectangles(cells_SA, errors_S, words_S, settings_, np.random.default_rng(seed))
    taken = np.zeros(number, dtype=bool)
    for spot in spots:
        assert len(spot.members) >= least
        assert set(spot.members) == set(np.flatnonzero(inside(spot, cells_SA) & ~taken))
        taken[spot.members] = True


def test_speakers_in_one_place_have_no_hotspot():
    _, errors_S, words_S = speakers(200)
    cells_SA = np.full((200, 2), 7)
    settings_ = HotspotSettings()
    assert find_rectangles(cells_SA, errors_S, words_S, settings_, np.random.default_rng(0)) == []
