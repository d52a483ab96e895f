# SPDX-License-Identifier: Apache-2.0
"""Embeddings of speakers' voices, heard once for all seeds of an experiment."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from evenear.atomic import writing
from evenear.audit import Table
from evenear.audit.discovery.voice.embeddings import (
    Embeddings,
    embed_audio,
    read_embeddings,
    with_embeddings,
)

__all__ = ["with_voices"]

_HEARD = 4
"""Utterances of a speaker that make the embedding."""


def with_voices(table: Table, audio: Mapping[str, Path], path: Path) -> Table:
    """The table with embeddings of a few utterances of each speaker.

    Args:
        table: The table.
        audio: The sound of each utterance.
        path: A file of embeddings; those that it lacks are added to it.
    """
    chosen = _some(table, audio)
    known: dict[str, np.ndarray] = {}
    if path.exists():
        kept = read_embeddings(path)
        known = dict(zip(kept.names, kept.vectors_ND, strict=True))
    new = {name: sound for name, sound in chosen.items() if name not in known}
    if new:
        heard = embed_audio(table, new).frame.drop_nulls("embedding")
        vectors = heard["embedding"].to_numpy()
        known |= dict(zip(heard["utterance_id"].to_list(), vectors, strict=True))
        with writing(path) as file:
            np.savez(file, utterance_id=list(known), embedding=np.stack(list(known.values())))
    wanted = tuple(name for name in chosen if name in known)
    return with_embeddings(table, Embeddings(wanted, np.stack([known[n] for n in wanted])))


def _some(table: Table, audio: Mapping[str, Path]) -> dict[str, Path]:
    """The sound of a few utterances of each speaker."""
    taken: dict[str, int] = {}
    chosen = {}
    for name, speaker in table.frame.select("utterance_id", "speaker").iter_rows():
        taken[speaker] = taken.get(speaker, 0) + 1
        if taken[speaker] <= _HEARD and name in audio:
            chosen[name] = audio[name]
    return chosen
