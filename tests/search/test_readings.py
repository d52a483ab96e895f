# SPDX-License-Identifier: Apache-2.0
"""A tree of readings holds each beginning once, and knows the way to every node.

Dimensions: M nodes.
"""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evenear.search.readings import ReadingTree

laws = settings(deadline=None, max_examples=60, derandomize=True)
some_readings = st.lists(st.lists(st.integers(3, 6), max_size=6), min_size=1, max_size=8)
PLENTY = 10**6


def beginnings(readings) -> set[tuple[int, ...]]:
    """All prefixes, the empty one among them."""
    return {tuple(tokens[:k]) for tokens in readings for k in range(len(tokens) + 1)}


def way(tree: ReadingTree, node: int) -> list[int]:
    """The nodes from a node to the root."""
    nodes = [node]
    while nodes[-1]:
        nodes.append(int(tree.parents_M[nodes[-1]]))
    return nodes


def said(tree: ReadingTree, node: int) -> tuple[int, ...]:
    return tuple(int(tree.tokens_M[each]) for each in way(tree, node)[-2::-1])


@laws
@given(some_readings)
def test_each_reading_ends_at_its_own_node(readings):
    tree = ReadingTree.of(readings, max_nodes=PLENTY)
    assert [said(tree, node) for node in tree.last_R] == [tuple(tokens) for tokens in readings]


@laws
@given(some_readings)
def test_parents_come_first(readings):
    tree = ReadingTree.of(readings, max_nodes=PLENTY)
    assert (tree.parents_M[1:] < np.arange(1, len(tree.parents_M))).all()
    assert tree.parents_M[0] == tree.depths_M[0] == 0


@laws
@given(some_readings)
def test_what_begins_alike_is_there_once(readings):
    tree = ReadingTree.of(readings, max_nodes=PLENTY)
    found = [said(tree, node) for node in range(len(tree.parents_M))]
    assert len(found) == len(set(found))
    assert set(found) == beginnings(readings)
    assert tree.depths_M.tolist() == [len(each) for each in found]


@laws
@given(some_readings)
def test_the_owner_of_a_node_passes_through_it(readings):
    tree = ReadingTree.of(readings, max_nodes=PLENTY)
    for node, owner in enumerate(tree.owners_M):
        tokens = said(tree, node)
        assert tuple(readings[owner][: len(tokens)]) == tokens


@laws
@given(some_readings)
def test_a_node_sees_those_on_its_way_from_the_root(readings):
    tree = ReadingTree.of(readings, max_nodes=PLENTY)
    for node, seen_M in enumerate(tree.seen_from()):
        assert set(np.flatnonzero(seen_M)) == set(way(tree, node))


@laws
@given(some_readings, st.integers(1, 15))
def test_as_many_of_the_first_readings_are_taken_as_fit_and_one_at_least(readings, most):
    tree = ReadingTree.of(readings, max_nodes=most)
    fitting = [k for k in range(1, len(readings) + 1) if len(beginnings(readings[:k])) <= most]
    count = max(fitting, default=1)
    whole = ReadingTree.of(readings[:count], max_nodes=PLENTY)
    assert len(tree.last_R) == count
    for found, expected in zip(tree, whole, strict=True):
        assert np.array_equal(found, expected)


def test_the_first_reading_is_kept_however_long_it_is():
    tree = ReadingTree.of([[5] * 30, [6]], max_nodes=3)
    assert tree.last_R == [30]
    assert len(tree.tokens_M) == 31


def test_no_readings_are_a_root_alone():
    tree = ReadingTree.of([], max_nodes=3)
    assert (tree.last_R, tree.tokens_M.tolist()) == ([], [0])
