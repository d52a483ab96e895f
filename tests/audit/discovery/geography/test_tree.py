# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.audit.discovery.geography.tree import TreeSettings, grow_tree
from evenear.audit.discovery.rules import overdispersion

CRITERIA = ["difference", "variance", "likelihood"]


def speakers(number, seed=0, planted=None, effect=1.5):
    rng = np.random.default_rng(seed)
    cells_SA = rng.integers(0, 100, (number, 2))
    rates_S = rng.gamma(4.0, 0.03, number)
    if planted is not None:
        rates_S = np.where(planted(cells_SA), effect, 1.0) * rates_S
    words_S = rng.poisson(70, number) + 1.0
    return cells_SA, rng.poisson(rates_S * words_S).astype(float), words_S


def gain(criterion, left, right):
    """One split, as the formula says, with plain numbers."""
    (errors_l, words_l), (errors_r, words_r) = left, right
    if criterion == "difference":
        return abs(errors_l / words_l - errors_r / words_r)
    if criterion == "variance":
        apart = errors_l / words_l - errors_r / words_r
        return words_l * words_r / (words_l + words_r) * apart**2
    rate = (errors_l + errors_r) / (words_l + words_r)
    return sum(e * np.log(e / w / rate) for e, w in (left, right) if e > 0)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("seed", range(5))
def test_the_first_split_is_the_best_of_all(criterion, seed):
    cells_SA, errors_S, words_S = speakers(60, seed)
    settings_ = TreeSettings(
        criterion=criterion, max_leaves=2, min_speakers=5, min_words=100, level=None
    )
    low, high = grow_tree(cells_SA, errors_S, words_S, settings_, np.random.default_rng(0))
    best = -np.inf
    for axis in (0, 1):
        for threshold in range(101):
            left = cells_SA[:, axis] < threshold
            if min(left.sum(), (~left).sum()) < 5:
                continue
            sums = [(errors_S[side].sum(), words_S[side].sum()) for side in (left, ~left)]
            if min(words for _, words in sums) >= 100:
                best = max(best, gain(criterion, *sums))
    sums = [(errors_S[leaf.members].sum(), words_S[leaf.members].sum()) for leaf in (low, high)]
    assert gain(criterion, *sums) == pytest.approx(best)


@settings(max_examples=25)
@given(
    st.integers(1, 120),
    st.integers(0, 1000),
    st.sampled_from(CRITERIA),
    st.integers(2, 20),
    st.sampled_from([None, 0.5]),
    st.integers(1, 12),
)
def test_leaves_divide_speakers_into_boxes_that_hide_enough(
    number, seed, criterion, least, level, most
):
    cells_SA, errors_S, words_S = speakers(number, seed)
    settings_ = TreeSettings(
        criterion=criterion,
        min_speakers=least,
        min_words=0,
        level=level,
        max_leaves=most,
        num_permutations=19,
    )
    leaves = grow_tree(cells_SA, errors_S, words_S, settings_, np.random.default_rng(seed))
    assert sorted(np.concatenate([leaf.members for leaf in leaves])) == list(range(number))
    assert len(leaves) <= most
    for leaf in leaves:
        assert len(leaf.members) >= min(least, number)
        inside = np.ones(number, dtype=bool)
        for axis in (0, 1):
            low, high = leaf.lows[axis], leaf.highs[axis]
            inside &= (low is None) | (cells_SA[:, axis] >= (low or 0))
            inside &= (high is None) | (cells_SA[:, axis] < (high if high is not None else 0))
        assert set(np.flatnonzero(inside)) == set(leaf.members)


def test_a_tree_grows_around_a_planted_corner():
    def corner(cells_SA):
        return (cells_SA[:, 0] < 30) & (cells_SA[:, 1] >= 60)

    cells_SA, errors_S, words_S = speakers(2000, 3, corner)
    leaves = grow_tree(cells_SA, errors_S, words_S, TreeSettings(), np.random.default_rng(0))
    worst = max(leaves, key=lambda leaf: errors_S[leaf.members].sum() / words_S[leaf.members].sum())
    assert corner(cells_SA[worst.members]).mean() > 0.9
    assert len(worst.members) > 0.8 * corner(cells_SA).sum()
    assert worst.p_value is not None
    assert worst.p_value < 0.01


def test_a_region_in_the_middle_is_found_although_its_first_cut_gains_little():
    def middle(cells_SA):
        return (np.abs(cells_SA - 50) < 18).all(axis=1)

    cells_SA, errors_S, words_S = speakers(3000, 5, middle)
    leaves = grow_tree(cells_SA, errors_S, words_S, TreeSettings(), np.random.default_rng(0))
    worst = max(leaves, key=lambda leaf: errors_S[leaf.members].sum() / words_S[leaf.members].sum())
    assert middle(cells_SA[worst.members]).mean() > 0.8


@pytest.mark.parametrize("criterion", CRITERIA)
def test_trees_on_noise_are_mostly_cut_back_to_nothing(criterion):
    grown = 0
    for seed in range(30):
        data = speakers(300, seed)
        settings_ = TreeSettings(criterion=criterion, num_permutations=49)
        grown += len(grow_tree(*data, settings_, np.random.default_rng(seed))) > 1
    assert grown <= 11  # about one in ten for each of two or three depths, of 30


def test_without_tests_a_tree_on_noise_keeps_its_splits():
    leaves = grow_tree(*speakers(600), TreeSettings(level=None), np.random.default_rng(0))
    assert len(leaves) > 5
    assert all(leaf.p_value is None for leaf in leaves)


def test_speakers_in_one_place_are_one_leaf():
    _, errors_S, words_S = speakers(200)
    (leaf,) = grow_tree(
        np.zeros((200, 2), int), errors_S, words_S, TreeSettings(), np.random.default_rng(0)
    )
    assert leaf.lows == leaf.highs == (None, None)


def test_the_same_generator_grows_the_same_tree():
    data = speakers(800, 2, lambda cells_SA: cells_SA[:, 0] < 50)
    first = grow_tree(*data, TreeSettings(), np.random.default_rng(7))
    second = grow_tree(*data, TreeSettings(), np.random.default_rng(7))
    assert [leaf[:2] for leaf in first] == [leaf[:2] for leaf in second]


def test_shared_scale_of_likelihood_is_the_overdispersion():
    _, errors_S, words_S = speakers(500)
    assert overdispersion(errors_S, words_S) > 1.5
