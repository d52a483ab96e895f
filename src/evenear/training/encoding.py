# SPDX-License-Identifier: Apache-2.0
"""Stored utterances as a recognizer hears them: whole, unvaried, in batches of like length."""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch

from evenear.data.batching.batches import collate
from evenear.data.batching.store import FrameStore
from evenear.encoders.base import Encoded
from evenear.features import FeatureConfig, stack_frames
from evenear.models.transducer import Transducer

__all__ = ["Precision", "computing", "encode", "plain_batches"]

Precision = Literal["float32", "bfloat16"]


def computing(precision: Precision) -> torch.autocast:
    """A context in which matrices are multiplied so."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16")


def plain_batches(
    store: FrameStore, features: FeatureConfig, *, seconds: float = 120.0
) -> Iterator[tuple[int, ...]]:
    """Places of utterances of like length, so many seconds of speech at once."""
    most = 1000 * seconds / features.hop_milliseconds
    group: list[int] = []
    for place in sorted(range(len(store)), key=lambda i: store.utterances[i].num_frames):
        if group and store.utterances[place].num_frames * (len(group) + 1) > most:
            yield tuple(group)
            group = []
        group.append(place)
    if group:
        yield tuple(group)


def encode(
    model: Transducer, store: FrameStore, places: Sequence[int], features: FeatureConfig
) -> Encoded:
    """Encode whole utterances of a store, as they are stored."""
    frames = [stack_frames(store.frames(place), features) for place in places]
    batch = collate([str(place) for place in places], frames, [[] for _ in places])
    return model.encode(batch.features_BTF, batch.lengths_B)
