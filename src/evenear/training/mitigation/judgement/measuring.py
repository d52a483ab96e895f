# SPDX-License-Identifier: Apache-2.0
"""How a recognizer, or one for each cohort, hears some speakers: rows that an audit reads.

Two ways give them, both with the search that the model's folder recommends: streamed, as a listener
would get it; and whole utterances, many at once, much quicker, to choose among candidates. A file
of rows that is there is not measured again; of speakers who are streamed, each one's rows are kept
when they are there, so whoever is killed goes on with the next speaker.
"""

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import torch

from evenear.atomic import write_bytes
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

__all__ = ["Members", "measured", "measured_by_speaker", "streamed", "whole"]

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


def measured_by_speaker(
    path: Path,
    name: str,
    utterances: Sequence[Utterance],
    rows: Callable[[Sequence[Utterance]], Sequence[Row]],
) -> Table:
    """The table of a file of rows, whose speakers are measured one by one if it is not there.

    Args:
        path: The file; until it is written, a folder beside it holds what is measured already.
        name: The table's name.
        utterances: What is measured.
        rows: Measures some of it.
    """
    if not path.exists():
        by_speaker: dict[str, list[Utterance]] = {}
        for u in utterances:
            by_speaker.setdefault(u.speaker, []).append(u)
        folder, parts = path.with_suffix(""), list[Path]()
        for number, own in enumerate(by_speaker.values()):
            parts.append(folder / f"{number:05}.jsonl")
            if not parts[-1].exists():
                write_rows(rows(own), parts[-1])
        write_bytes(path, b"".join(part.read_bytes() for part in parts))
    shutil.rmtree(path.with_suffix(""), ignore_errors=True)
    return read_table(path, name=name)


def streamed(
    bundle: Bundle,
    repaired: Repaired,
    members: Members,
    *,
    progress: Callable[[int], None] | None = None,
) -> Callable[[Sequence[Utterance]], list[Row]]:
    """What gives rows of utterances: each is streamed to the recognizer of its speaker's side."""

    @cache
    def recognizer(side: bool | None) -> Recognizer:
        return Recognizer(dataclasses.replace(bundle, model=repaired.of(side)))

    def rows(utterances: Sequence[Utterance]) -> list[Row]:
        heard = []
        for u in utterances:
            listener = recognizer(members(u.speaker))
            heard += recognize(listener, [u], chunk_seconds=_CHUNK_SECONDS)
            if progress is not None:
                progress(1)
        return heard

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
