# SPDX-License-Identifier: Apache-2.0
"""Beams of many streams, joined and split, and what a step may keep.

Dimensions: B streams, P phones, N hypotheses.
"""

import numpy as np
import pytest

from evenear.search.tree import PronunciationTree
from evenear.search.wordbeam import WordBeam, WordStep, joined_beams, split_beam
from evenear.seeding import rng_for

WAYS = [(1, (1,)), (2, (1, 2)), (3, (3, 2, 1)), (4, (3,)), (5, (2, 2))]


class Even:
    """Every word is as likely after any other."""

    vocabulary_size = 6

    def begin(self) -> np.ndarray:
        return np.array([6])

    def log_probs_of(self, contexts_NK: np.ndarray, words_N: np.ndarray) -> np.ndarray:
        return np.full(len(words_N), -np.log(5.0))


def step(width: int = 9, max_gap: float = 11.0) -> WordStep:
    tree = PronunciationTree(WAYS, np.full(6, -np.log(5.0)))
    return WordStep(
        tree=tree,
        scorer=Even(),
        width=width,
        max_gap=max_gap,
        lm_weight=0.7,
        word_bonus=0.4,
        blank_penalty=0.3,
    )


def sounds(num_steps: int, num_streams: int) -> np.ndarray:
    """Log-probabilities of blank and three phones, (T, B, P)."""
    logits = rng_for(0, "sounds").normal(scale=3.0, size=(num_steps, num_streams, 4))
    return logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))


def assert_equal(first: WordBeam, second: WordBeam) -> None:
    for name, one, other in zip(WordBeam._fields, first, second, strict=True):
        if name == "words_N":
            assert [w and w.words for w in one] == [w and w.words for w in other]
            continue
        assert np.array_equal(one, other), name


def test_streams_in_one_beam_get_what_they_would_get_alone_to_the_last_bit():
    one_step, log_probs = step(), sounds(25, 3)
    alone = [WordBeam.begin(Even()) for _ in range(3)]
    together = joined_beams(alone)
    for t in range(25):
        together = one_step.read(together, log_probs[t], np.array([t, t + 5, t]))
        for b in range(3):
            now = np.array([t + 5 * (b == 1)])
            alone[b] = one_step.read(alone[b], log_probs[t, b : b + 1], now)
        for own, expected in zip(split_beam(together, 3), alone, strict=True):
            assert_equal(own, expected)
    assert len({len(beam.nodes_N) for beam in alone}) > 1 or len(alone[0].nodes_N) == 9


def test_joining_and_splitting_are_inverse():
    one_step, log_probs = step(), sounds(6, 2)
    beams = [WordBeam.begin(Even()) for _ in range(2)]
    for t in range(6):
        joined = one_step.read(joined_beams(beams), log_probs[t], np.array([t, t]))
        beams = split_beam(joined, 2)
        assert_equal(joined_beams(beams), joined)


def test_a_beam_never_grows_beyond_its_width_nor_its_gap():
    one_step, log_probs = step(width=5, max_gap=4.0), sounds(30, 1)
    beam = WordBeam.begin(Even())
    for t in range(30):
        beam = one_step.read(beam, log_probs[t], np.array([t]))
        assert 1 <= len(beam.nodes_N) <= 5
        assert beam.scores_N[0] - beam.scores_N[-1] <= 4.0
        assert (np.diff(beam.scores_N) <= 0).all()


@pytest.mark.parametrize("penalty", [0.0, 2.0])
def test_hypotheses_that_differ_in_nothing_that_matters_later_are_one(penalty):
    one_step, log_probs = step(width=10**6, max_gap=np.inf), sounds(8, 1)
    beam = WordBeam.begin(Even())
    for t in range(8):
        beam = one_step.read(beam, log_probs[t], np.array([t]))
    keys = set(zip(beam.nodes_N, beam.labels_N, beam.contexts_NK[:, 0], strict=True))
    assert len(keys) == len(beam.nodes_N)


def test_words_know_all_open_words_before_them():
    one_step, log_probs = step(), sounds(25, 1)
    beam = WordBeam.begin(Even())
    for t in range(25):
        beam = one_step.read(beam, log_probs[t], np.array([t]))
    lengths = set()
    for word in beam.words_N:
        chain, one = [], word
        while one is not None:
            assert one.start <= one.end
            chain.append(one.word)
            one = one.before
        assert word is None or word.words == tuple(reversed(chain))
        lengths.add(len(chain))
    assert max(lengths) > 1
