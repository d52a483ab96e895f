# SPDX-License-Identifier: Apache-2.0
"""Randomness that depends on what it is for, not on when it is asked for.

A generator is derived from the run's seed, a purpose and a key (an utterance id, an epoch). So the
same utterance gets the same augmentation whatever the number of workers and the order of batches,
and a resumed run draws what the uninterrupted one would have drawn. No code here or elsewhere
touches a global generator.
"""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

__all__ = ["rng_for", "torch_rng_for"]


def rng_for(seed: int, purpose: str, key: object = "") -> np.random.Generator:
    """A numpy generator for one purpose and one key.

    Example:
        >>> rng_for(0, "speed", "utt-1").random() == rng_for(0, "speed", "utt-1").random()
        True
    """
    return np.random.Generator(np.random.Philox(_entropy(seed, purpose, key)))


def torch_rng_for(seed: int, purpose: str, key: object = "") -> "torch.Generator":
    """A torch CPU generator for one purpose and one key."""
    import torch

    return torch.Generator().manual_seed(_entropy(seed, purpose, key) % 2**63)


def _entropy(seed: int, purpose: str, key: object) -> int:
    digest = hashlib.blake2b(f"{seed}\x1f{purpose}\x1f{key}".encode(), digest_size=16)
    return int.from_bytes(digest.digest(), "little")
