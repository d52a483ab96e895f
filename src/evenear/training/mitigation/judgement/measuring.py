# SPDX-License-Identifier: Apache-2.0
"""How a recognizer, or one for each cohort, hears some speakers: rows that an audit reads.

Two ways give them, both with the search that the model's folder recommends: streamed, as a listener
would get it; and whole utterances, many at once, much quicker, to choose among candidates. A file
of rows that is there is not measured again.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import torch

from evenear.audit import Table, read_table
from evenear.checkpoint import Bundle
from evenear.data.batching.store import FrameStore
from evenear.data.corpora.manifests import Utterance
from evenear.evaluation import Row, recognize, write_rows
from evenear.metrics.latency import ComputeTime
from evenear.models.transducer import Transducer
from evenear.search import Search
from evenear.streaming import Recognizer
from evenear.streaming.searches import build_search, recommended
from evenear.training.encoding import Precision, computing, encode, plain_batches
from evenear.training.mitigation.adaptation.candidates import Repaired

__all__ = ["Members", "measured", "streamed", "whole"]

Members = Callable[[str], bool | None]
"""Whether a speaker is in the cohort."""

_CHUNK_SECONDS = 0.96
_SECONDS_AT_ONCE = 600.0
"""A greedy search takes as long for many utterances as for few, nearly."""


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
    precision: Precision = "float32",
    progress: Callable[[int], None] | None = None,
) -> list[Row]:
    """Rows of stored utterances, each heard at once."""
    rows = []

    @cache
    def search(side: bool | None) -> Search:
        own = dataclasses.replace(bundle, model=repaired.of(side))
        return build_search(own, recommended(bundle, None), None)

    for places in plain_batches(store, bundle.features, seconds=_SECONDS_AT_ONCE):
        for side in (True, False, None):
            own = [p for p in places if members(store.utterances[p].speaker) is side]
            if own:
                rows += _rows(bundle, repaired.of(side), search(side), store, own, precision)
        if progress is not None:
            progress(len(places))
    return rows


def _rows(
    bundle: Bundle,
    model: Transducer,
    search: Search,
    store: FrameStore,
    places: list[int],
    precision: Precision,
) -> list[Row]:
    with computing(precision):
        encoded = encode(model, store, places, bundle.features)
    encoded = encoded._replace(encoded_BTD=encoded.encoded_BTD.float())
    rows = []
    for place, reading in zip(places, search.read(encoded), strict=True):
        u = store.utterances[place]
        seconds = u.num_frames * bundle.features.hop_milliseconds / 1000
        heard = bundle.tokenizer.decode(reading.tokens)
        rows.append(Row.of(u, heard, ComputeTime(seconds, ()), normalizer="basic"))
    return rows
