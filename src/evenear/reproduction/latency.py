# SPDX-License-Identifier: Apache-2.0
"""How late recognizers emit their tokens, measured against one alignment for all of them.

Nobody marked by hand where each word piece of the test was said. As a proxy, the best recognizer of
all (the one with the lowest word error rate on held-out speakers) is made to say the reference, and
the most probable path through its lattice tells at which frame it would emit each token (Viterbi).
A recognizer's delay is the time from that frame to the one at which it emitted the same token in
its own reading. Only tokens that it read right count, so recognizers are measured on somewhat
different tokens; and the zero of the scale is the best recognizer's own habit, not the sound.
Differences between recognizers mean something; the delays as such do not.

Legend: B utterances, T frames, U tokens or columns of a lattice, D width, V vocabulary.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from evenear.data.batching.store import FrameStore
from evenear.errors import TokenizerError
from evenear.features import FeatureConfig
from evenear.metrics.words import align_words
from evenear.models.transducer import Transducer
from evenear.reproduction.scoring import Score
from evenear.search import emission_frames
from evenear.tokenizer import Tokenizer
from evenear.training.encoding import encode, plain_batches
from evenear.units import Seconds

__all__ = ["Delays", "Reference", "delays", "force_alignments"]


@dataclass(frozen=True)
class Reference:
    """The tokens of an utterance, and when the aligning recognizer would emit them."""

    tokens: tuple[int, ...]
    seconds: tuple[Seconds, ...]


@dataclass(frozen=True)
class Delays:
    """Seconds from the aligned frame of each token that was read right to its emission."""

    seconds: tuple[Seconds, ...]
    num_tokens: int
    """Tokens of the references, whether read right or not."""

    def percentile_milliseconds(self, percent: float) -> float | None:
        """The delay that `percent` of the tokens do not exceed; None without tokens."""
        return 1000 * float(np.percentile(self.seconds, percent)) if self.seconds else None

    @property
    def mean_milliseconds(self) -> float | None:
        """The mean delay; None without tokens."""
        return 1000 * float(np.mean(self.seconds)) if self.seconds else None


@torch.inference_mode()
def force_alignments(
    model: Transducer, tokenizer: Tokenizer, features: FeatureConfig, store: FrameStore
) -> dict[str, Reference]:
    """When this recognizer would emit the tokens of each reference, by utterance id.

    A reference with a character that no word piece covers has no alignment, and is left out.
    """
    frame_seconds = features.clock.frame_seconds * model.encoder.stride
    found = {}
    for places in plain_batches(store, features):
        encoded = encode(model, store, places, features)
        projected_BTD = model.joiner.encoder_proj(encoded.encoded_BTD)
        for b, place in enumerate(places):
            try:
                tokens = tokenizer.encode(store.utterances[place].text)
            except TokenizerError:
                continue
            projected_TD = projected_BTD[b, : int(encoded.lengths_B[b])]
            frames = emission_frames(model, projected_TD, tokens)
            reference = Reference(tuple(tokens), tuple(frame * frame_seconds for frame in frames))
            found[store.utterances[place].utterance_id] = reference
    return found


def delays(
    scores: Iterable[Score], references: Mapping[str, Reference], frame_seconds: Seconds
) -> Delays:
    """How late a recognizer emitted what it read right.

    Args:
        scores: What it read under one condition.
        references: By utterance id; utterances without one do not count.
        frame_seconds: Seconds between two of its encoder frames.
    """
    found, num_tokens = [], 0
    for one in scores:
        reference = references.get(one.utterance_id)
        if reference is None:
            continue
        num_tokens += len(reference.tokens)
        for said, heard in _matches(reference.tokens, one.tokens):
            found.append(one.frames[heard] * frame_seconds - reference.seconds[said])
    return Delays(tuple(found), num_tokens)


def _matches(said: Sequence[int], heard: Sequence[int]) -> list[tuple[int, int]]:
    """Places of the tokens that an alignment of the fewest errors puts beside their equals."""
    pairs = align_words(" ".join(map(str, said)), " ".join(map(str, heard)))
    found, s, h = [], 0, 0
    for pair in pairs:
        if not pair.is_error:
            found.append((s, h))
        s += pair.reference is not None
        h += pair.hypothesis is not None
    return found
