# SPDX-License-Identifier: Apache-2.0
"""Are these recordings of one person? Each is compared with the mean of the others.

    score of file i = v_i . (mean of v_j over j != i) / its length

A file of somebody else has the least score; of two files neither is known to be the wrong one. The
score from which on files are one person's is not a threshold for verifying: that one lets few
strangers pass and turns some of the right people away, and this one bothers few of the right people
and lets some strangers pass.

Legend: B recordings, D width of a vector.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from evenear.errors import EvenearError
from evenear.verification.listening import Voice

__all__ = ["SAME_PERSON", "Agreement", "least_alike"]

SAME_PERSON = 0.35
"""The score from which on recordings are one person's, for the shipped network. Of the speakers
that its recipe holds out, it refuses 5 of 900 enrolments by the right files; of 90 test speakers 44
of 5,400, and 4,636 of 5,400 with a file of somebody else; but one in five by right files that come
from a room, a noise or a telephone each (`benchmarks/wrong_files.py`)."""


class Agreement(NamedTuple):
    """The recording that is least like the others."""

    place: int
    """Its place among them, from 0."""
    score: float
    """Its score with the mean of the others."""

    @property
    def is_doubtful(self) -> bool:
        """Whether it seems to be somebody else."""
        return self.score < SAME_PERSON


def least_alike(voices: Sequence[Voice]) -> Agreement:
    """The one of two or more recordings that is least like the others.

    Raises:
        EvenearError: There are fewer than two.
    """
    if len(voices) < 2:
        raise EvenearError(
            f"Recordings are compared with one another: two or more, got {len(voices)}."
        )
    vectors_BD = np.stack([voice.vector for voice in voices]).astype(np.float64)
    others_BD = vectors_BD.sum(axis=0) - vectors_BD
    lengths_B = np.maximum(np.linalg.norm(others_BD, axis=1), 1e-12)
    scores_B = np.einsum("bd,bd->b", vectors_BD, others_BD) / lengths_B
    place = int(scores_B.argmin())
    return Agreement(place, float(scores_B[place]))
