# SPDX-License-Identifier: Apache-2.0
"""A tree says what a list of pronunciations says."""

import numpy as np

from evenear.search.tree import ROOT, PronunciationTree

WAYS = [(1, (1,)), (2, (1, 2)), (2, (3, 2)), (3, (2, 2)), (4, (3,)), (5, (3,))]
LIKELIHOODS = -np.arange(1.0, 7.0)


def spelled(tree: PronunciationTree) -> set[tuple[int, tuple[int, ...]]]:
    """Every word and way that some path from the root says."""
    found, open_nodes = set(), [(ROOT, ())]
    while open_nodes:
        node, said = open_nodes.pop()
        own = slice(tree.word_starts_M[node], tree.word_starts_M[node + 1])
        found |= {(int(word), said) for word in tree.words_W[own]}
        for edge in range(tree.child_starts_M[node], tree.child_starts_M[node + 1]):
            phone = int(tree.child_phones_C[edge])
            open_nodes.append((int(tree.child_nodes_C[edge]), (*said, phone)))
    return found


def test_each_way_to_say_a_word_is_a_path():
    tree = PronunciationTree(WAYS, LIKELIHOODS)
    assert spelled(tree) == set(WAYS)
    assert len(tree) == 7  # beginnings are shared: 1, 12, 3, 32, 2, 22 and none


def test_a_node_hopes_for_the_likeliest_word_below_it():
    tree = PronunciationTree(WAYS, LIKELIHOODS)
    by_word = {word: LIKELIHOODS[word] for word, _ in WAYS}
    first = {
        int(p): int(n) for p, n in zip(tree.child_phones_C[:3], tree.child_nodes_C[:3], strict=True)
    }
    assert tree.lookahead_M[ROOT] == 0
    assert tree.lookahead_M[first[1]] == max(by_word[1], by_word[2])
    assert tree.lookahead_M[first[2]] == by_word[3]
    assert tree.lookahead_M[first[3]] == max(by_word[2], by_word[4], by_word[5])


def test_children_and_words_come_in_the_order_in_which_they_were_given():
    """Against a tree that grows word by word."""
    rng = np.random.default_rng(0)
    ways = [
        (word, tuple(rng.integers(1, 5, rng.integers(1, 6)).tolist()))
        for word in rng.integers(0, 150, 200).tolist()
    ]
    likelihoods_V = rng.normal(size=150)
    children: dict[tuple[int, ...], list[int]] = {(): []}
    words: dict[tuple[int, ...], list[int]] = {(): []}
    for word, phones in ways:
        for end, phone in enumerate(phones, start=1):
            if phones[:end] not in children:
                children[phones[: end - 1]].append(phone)
                children[phones[:end]], words[phones[:end]] = [], []
        words[phones].append(word)
    tree = PronunciationTree(ways, likelihoods_V)
    assert len(tree) == len(children)
    open_nodes = [(ROOT, ())]
    while open_nodes:
        node, said = open_nodes.pop()
        own = slice(tree.word_starts_M[node], tree.word_starts_M[node + 1])
        assert tree.words_W[own].tolist() == words[said]
        edges = range(tree.child_starts_M[node], tree.child_starts_M[node + 1])
        assert tree.child_phones_C[edges].tolist() == children[said]
        below = [word for way, every in words.items() if way[: len(said)] == said for word in every]
        if said:
            assert tree.lookahead_M[node] == likelihoods_V[below].max()
        open_nodes += [
            (int(tree.child_nodes_C[edge]), (*said, int(tree.child_phones_C[edge])))
            for edge in edges
        ]


def test_a_tree_may_be_empty():
    assert spelled(PronunciationTree([], np.zeros(0))) == set()
