# SPDX-License-Identifier: Apache-2.0
"""A small embedder with random weights that knows the statistics of buzzing speakers.

Dimensions: T frames, F feature width.
"""

import functools

import numpy as np
import torch

from evenear.checkpoint.speakers import SpeakerBundle
from evenear.features import extract
from evenear.verification.listening import Embedder
from tiny_speakers import buzz
from tiny_voices import FEATURES, tiny_speaker

__all__ = ["tiny_bundle", "tiny_embedder"]


@functools.cache
def tiny_bundle(seed: int = 0) -> SpeakerBundle:
    """A network of random weights."""
    model = tiny_speaker(seed)
    frames_TF = np.concatenate([extract(buzz(speaker, 0), FEATURES) for speaker in range(6)])
    model.mean_F.copy_(torch.from_numpy(frames_TF.mean(axis=0)))
    model.scale_F.copy_(torch.from_numpy(1.0 / frames_TF.std(axis=0)))
    return SpeakerBundle(
        model=model, features=FEATURES, card="", name="tiny", version=f"tiny-{seed}"
    )


def tiny_embedder(seed: int = 0) -> Embedder:
    """The same, ready to listen."""
    return Embedder(tiny_bundle(seed))
