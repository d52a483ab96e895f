# SPDX-License-Identifier: Apache-2.0
"""The best path against all paths.

Dimensions: T frames, U columns of the lattice.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenear.losses.transducer.alignment import best_alignment
from evenear.seeding import rng_for


def score(frames, blank_TU, label_TU) -> float:
    """Log-probability of the path that emits token u at frames[u]."""
    num_frames = len(blank_TU)
    emitted, total = 0, 0.0
    for t in range(num_frames):
        while emitted < len(frames) and frames[emitted] == t:
            total += label_TU[t, emitted]
            emitted += 1
        total += blank_TU[t, emitted]
    return total


def random_lattice(num_frames: int, num_tokens: int, seed: int):
    rng = rng_for(seed, "alignment test", (num_frames, num_tokens))
    logits = rng.standard_normal((2, num_frames, num_tokens + 1))
    return logits - np.log(np.exp(logits).sum(axis=0) + 1.0)


@given(st.integers(1, 5), st.integers(0, 4), st.integers(0, 30))
def test_the_best_path_is_the_best_of_all(num_frames, num_tokens, seed):
    blank_TU, label_TU = random_lattice(num_frames, num_tokens, seed)
    found = best_alignment(blank_TU, label_TU)
    paths = itertools.combinations_with_replacement(range(num_frames), num_tokens)
    best = max(paths, key=lambda frames: score(frames, blank_TU, label_TU))
    assert found.frames == best
    assert found.log_prob == pytest.approx(score(best, blank_TU, label_TU))


def test_tokens_come_out_where_they_are_probable():
    blank_TU, label_TU = np.full((6, 3), -0.1), np.full((6, 3), -9.0)
    label_TU[1, 0] = label_TU[4, 1] = -0.01
    blank_TU[1, 0] = blank_TU[4, 1] = -5.0
    assert best_alignment(blank_TU, label_TU).frames == (1, 4)


def test_the_column_behind_the_last_token_does_not_count():
    blank_TU, label_TU = random_lattice(4, 2, 0)
    spoiled_TU = label_TU.copy()
    spoiled_TU[:, -1] = np.nan
    assert best_alignment(blank_TU, spoiled_TU) == best_alignment(blank_TU, label_TU[:, :2])
