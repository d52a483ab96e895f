# SPDX-License-Identifier: Apache-2.0
"""Where recorded sentences can be parted between two words, as a recognizer hears them.

A transducer emits the last token of a word after the word was said, and the first of the next after
that began, so the border lies somewhere around: the quietest frame there is taken.

Legend: T frames, M mel bins, B utterances, D width, U tokens.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from evenear.checkpoint import Bundle
from evenear.data.batching.splicing import SplicePoints, read_splice_points, write_splice_points
from evenear.data.batching.store import FrameStore
from evenear.errors import TokenizerError
from evenear.search import emission_frames
from evenear.tokenizer import Tokenizer
from evenear.training.encoding import encode, plain_batches

__all__ = ["find_splice_points", "stored_splice_points"]

_BEFORE_SECONDS = 0.3
"""How long before the last token of a word came the word may have ended."""
_AFTER_SECONDS = 0.06
"""How long before the first token of the next word came that has surely begun."""
_LEAST_SECONDS = 0.05
"""No splice point is nearer to another, or to an end."""


def stored_splice_points(
    bundle: Bundle,
    store: FrameStore,
    folder: Path,
    *,
    progress: Callable[[int], None] | None = None,
) -> SplicePoints:
    """The points that this recognizer finds, from a file in `folder` if it has found them before.

    Raises:
        OSError: The file cannot be written.
    """
    digest = hashlib.blake2b(bundle.tokenizer.model, digest_size=10)
    for tensor in bundle.model.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    for part in store.parts:
        digest.update(part.name.encode())
    for one in store.utterances:
        digest.update(json.dumps([one.utterance_id, one.copy]).encode())
    path = folder / f"splice-points-{digest.hexdigest()}.jsonl"
    if not path.exists():
        write_splice_points(find_splice_points(bundle, store, progress=progress), path)
    return read_splice_points(path)


@torch.inference_mode()
def find_splice_points(
    bundle: Bundle, store: FrameStore, *, progress: Callable[[int], None] | None = None
) -> SplicePoints:
    """Find the splice points of every recorded utterance of two words or more.

    Args:
        bundle: A recognizer; one that has learned these utterances finds them best.
        store: The utterances.
        progress: Called with the number of stored utterances that were looked at.
    """
    model, tokenizer, features = bundle.model, bundle.tokenizer, bundle.features
    hop_seconds = features.hop_milliseconds / 1000
    frame = round(features.clock.frame_seconds * model.encoder.stride / hop_seconds)
    found: dict[tuple[str, int], list[int | None]] = {}
    for places in plain_batches(store, features):
        chosen = [place for place in places if _is_parted(store, place)]
        if chosen:
            encoded = encode(model, store, chosen, features)
            projected_BTD = model.joiner.encoder_proj(encoded.encoded_BTD)
            for b, place in enumerate(chosen):
                one = store.utterances[place]
                try:
                    tokens = tokenizer.encode(one.text)
                except TokenizerError:
                    continue
                projected_TD = projected_BTD[b, : int(encoded.lengths_B[b])]
                ends = [frame * (k + 1) for k in emission_frames(model, projected_TD, tokens)]
                found[one.utterance_id, one.copy] = _splice_points(
                    _borders(tokenizer, tokens, ends), store.frames(place), hop_seconds
                )
        if progress is not None:
            progress(len(places))
    return found


def _is_parted(store: FrameStore, place: int) -> bool:
    one = store.utterances[place]
    return not one.synthesized and len(one.text.split()) > 1


def _borders(
    tokenizer: Tokenizer, tokens: Sequence[int], ends: Sequence[int]
) -> list[tuple[int, int]]:
    """Where the last token of each word but the last came, and the first of the next."""
    spans = tokenizer.word_spans(tokens)
    return [(ends[last - 1], ends[first]) for (_, _, last), (_, first, _) in pairwise(spans)]


def _splice_points(
    borders: Sequence[tuple[int, int]], frames_TM: NDArray[np.float32], hop_seconds: float
) -> list[int | None]:
    """The quietest frame around each border; None where there is no room for one."""
    before, after, least = (
        round(seconds / hop_seconds)
        for seconds in (_BEFORE_SECONDS, _AFTER_SECONDS, _LEAST_SECONDS)
    )
    loudness_T = np.convolve(frames_TM.mean(axis=1), np.full(least, 1 / least), "same")
    splice_points: list[int | None] = []
    previous = 0
    for ended, begun in borders:
        low = max(previous + least, ended - before)
        high = min(len(loudness_T) - least, max(low + least, begun - after))
        if low >= high:
            splice_points.append(None)
            continue
        previous = low + int(loudness_T[low:high].argmin())
        splice_points.append(previous)
    return splice_points
