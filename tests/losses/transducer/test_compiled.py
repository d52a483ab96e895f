# SPDX-License-Identifier: Apache-2.0
"""The compiled lattice of one utterance, by hand.

Dimensions: T frames, U tokens (a lattice has U + 1 columns).
"""

import threading

import numpy as np
import pytest

from evenear.losses.transducer.compiled import path_score, replace_by_occupancies

BLANK_TU = np.log(np.array([[0.5, 0.25, 9.0], [0.1, 0.2, 9.0], [9.0, 9.0, 9.0]]))
LABEL_TU = np.log(np.array([[0.4, 9.0, 9.0], [0.3, 9.0, 9.0], [9.0, 9.0, 9.0]]))
EARLY, LATE = 0.4 * 0.25 * 0.2, 0.5 * 0.3 * 0.2


def test_two_paths_of_two_frames_and_one_token_are_added():
    assert path_score(BLANK_TU, LABEL_TU, 2, 1) == pytest.approx(np.log(EARLY + LATE), abs=1e-15)


def test_occupancies_are_the_shares_of_the_two_paths():
    blank_TU, label_TU = BLANK_TU.copy(), LABEL_TU.copy()
    total = replace_by_occupancies(blank_TU, label_TU, 2, 1)
    early, late = EARLY / (EARLY + LATE), LATE / (EARLY + LATE)
    assert total == pytest.approx(np.log(EARLY + LATE), abs=1e-15)
    np.testing.assert_allclose(blank_TU, [[late, early, 0], [0, 1, 0], [0, 0, 0]], atol=1e-15)
    np.testing.assert_allclose(label_TU, [[early, 0, 0], [late, 0, 0], [0, 0, 0]], atol=1e-15)


def test_without_a_path_there_is_no_occupancy():
    blank_TU, label_TU = BLANK_TU.copy(), np.full((3, 3), -np.inf)
    assert replace_by_occupancies(blank_TU, label_TU, 2, 1) == -np.inf
    assert not blank_TU.any()
    assert not label_TU.any()


def test_many_threads_get_the_numbers_of_one():
    rng = np.random.default_rng(0)
    blank_BTU, label_BTU = np.log(rng.uniform(0.1, 0.5, (2, 8, 50, 20)))
    expected = [path_score(*arcs, 50, 19) for arcs in zip(blank_BTU, label_BTU, strict=True)]
    found = [0.0] * 8

    def work(b):
        found[b] = replace_by_occupancies(blank_BTU[b], label_BTU[b], 50, 19)

    threads = [threading.Thread(target=work, args=(b,)) for b in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected
