# SPDX-License-Identifier: Apache-2.0
"""How a recognizer, or one for each cohort, hears some speakers: rows that an audit reads.

Two ways give them. Streamed, as a listener would get it, with the search that the model's folder
recommends; and whole utterances at once with a greedy search, many times quicker, to choose among
candidates. A file of rows that is there is not measured again.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from evenear.audit import Table, read_table
from evenear.checkpoint import Bundle
from evenear.data.batching.store import FrameStore
from evenear.data.corpora.manifests import Utterance
from evenear.evaluation import Row, recognize, write_rows
from evenear.metrics.latency import ComputeTime
from evenear.models.transducer import Transducer
from evenear.search import greedy_search
from evenear.streaming import Recognizer
from evenear.training.encoding import encode, plain_batches
from evenear.training.mitigation.adaptation.candidates import Repaired

__all__ = ["Members", "measured", "streamed", "whole"]

Members = Callable[[str], bool | None]
"""Whether a speaker is in the cohort."""

_CHUNK_SECONDS = 0.96


def measured(path: Path, name: str, rows: Callable[[], Sequence[Row]]) -> Table:
    """The table of a file of rows, which is measured and written first if it is not there."""
    if not path.exists():
        write_rows(rows(), path)
    return read_table(path, name=name)


def streamed(
    bundle: Bundle,
    repaired: Repaired,
    utterances: Sequence[Utterance],
    members: Members,
    *,
    progress: Callable[[int], None] | None = None,
) -> list[Row]:
    """Rows of utterances, heard chunk by chunk by the recognizer of their speakers' side."""
    rows = []
    for side in (True, False, None):
        own = [u for u in utterances if members(u.speaker) is side]
        if not own:
            continue
        recognizer = Recognizer(dataclasses.replace(bundle, model=repaired.of(side)))
        for row in recognize(recognizer, own, chunk_seconds=_CHUNK_SECONDS):
            rows.append(row)
            if progress is not None:
                progress(1)
    return rows


@torch.inference_mode()
def whole(
    bundle: Bundle,
    repaired: Repaired,
    store: FrameStore,
    members: Members,
    *,
    progress: Callable[[int], None] | None = None,
) -> list[Row]:
    """Rows of stored utterances, each heard at once, with a greedy search for tokens."""
    rows = []
    for places in plain_batches(store, bundle.features):
        for side in (True, False, None):
            own = [p for p in places if members(store.utterances[p].speaker) is side]
            if own:
                rows += _rows(bundle, repaired.of(side), store, own)
        if progress is not None:
            progress(len(places))
    return rows


def _rows(bundle: Bundle, model: Transducer, store: FrameStore, places: list[int]) -> list[Row]:
    encoded = encode(model, store, places, bundle.features)
    rows = []
    readings = greedy_search(model, encoded)
    for place, reading in zip(places, readings, strict=True):
        u = store.utterances[place]
        seconds = u.num_frames * bundle.features.hop_milliseconds / 1000
        heard = bundle.tokenizer.decode(reading.tokens)
        rows.append(Row.of(u, heard, ComputeTime(seconds, ()), normalizer="basic"))
    return rows
