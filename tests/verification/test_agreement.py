# SPDX-License-Identifier: Apache-2.0
"""Recordings of one person are alike, and a file of somebody else is told from them."""

import numpy as np
import pytest

from evenear.errors import EvenearError
from evenear.verification import Voice, least_alike
from evenear.verification.agreement import SAME_PERSON


def voices(*vectors):
    """Voices of these directions."""
    made = [np.array(vector, np.float32) for vector in vectors]
    return [Voice(vector / np.linalg.norm(vector), 3.0) for vector in made]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_file_of_somebody_else_is_the_least_alike(place):
    files = [(1.0, 0.1, 0.0), (1.0, 0.0, 0.1)]
    files.insert(place, (0.1, 1.0, -0.2))
    found = least_alike(voices(*files))
    assert found.place == place
    assert found.is_doubtful


def test_the_score_is_that_with_the_mean_of_the_others():
    given = voices((1.0, 0.0), (0.6, 0.8), (0.8, 0.6))
    mean = given[1].vector + given[2].vector
    assert least_alike(given).score == pytest.approx(
        given[0].vector @ mean / np.linalg.norm(mean), abs=1e-6
    )


def test_files_of_one_person_are_not_doubted():
    assert not least_alike(voices((1.0, 0.2), (1.0, -0.2), (1.0, 0.0))).is_doubtful


def test_of_two_files_both_have_the_same_score():
    found = least_alike(voices((1.0, 0.0), (0.0, 1.0)))
    assert found.score == pytest.approx(0.0, abs=1e-6)
    assert found.score < SAME_PERSON


def test_others_that_cancel_out_are_like_nothing():
    assert least_alike(voices((1.0, 0.0), (1.0, 0.0), (-1.0, 0.0))).is_doubtful


def test_one_recording_is_compared_with_nothing():
    with pytest.raises(EvenearError, match="two or more"):
        least_alike(voices((1.0, 0.0)))
