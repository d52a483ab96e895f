# SPDX-License-Identifier: Apache-2.0
"""Voices of turns, by an embedding network: what labels of two talkers' turns are told by.

A turn may be a word, and words are told apart less surely than minutes; so nothing is refused for
being short, and whoever labels turns says from which likeness on two are one person's.

Legend: N audio samples, D width of a vector.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evenear.verification.listening import DEFAULT_MODEL, Embedder

__all__ = ["LEAST_LIKENESS", "TurnVoice"]

LEAST_LIKENESS = 0.2
"""Cosine from which on turns are one person's, for the shipped network; chosen on training
speakers by `benchmarks/speaker_labels.py`."""


class TurnVoice:
    """Vectors of turns by an embedding network.

    Args:
        embedder: The network.
    """

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder

    @classmethod
    def load(cls, name_or_folder: str | Path = DEFAULT_MODEL) -> "TurnVoice":
        """By a network's folder, or a shipped one's name.

        Raises:
            CheckpointError: There is none, or it is damaged.
        """
        return cls(Embedder.load(name_or_folder))

    def embed(self, samples_N: NDArray[np.float32]) -> NDArray[np.float64]:
        """The vector (D,) of 16 kHz sound of any length; zeros of no sound at all."""
        return self.embedder.vector(samples_N).astype(np.float64)
