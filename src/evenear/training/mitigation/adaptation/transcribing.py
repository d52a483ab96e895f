# SPDX-License-Identifier: Apache-2.0
"""Speech of the cohort without transcripts, written down by the recognizer that is to be repaired.

    confidence = geometric mean of the probabilities of an utterance's tokens, as they were emitted

Only the surer part is kept: a recognizer that learns from its own doubts learns its mistakes. The
texts are of the model before the repair, once; nothing is transcribed again as training goes on.

Source: Dheram et al. 2022, arXiv:2207.11345, which adds machine-transcribed speech of the bottom
cohort. How they filter it is not public: our reading.
"""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from evenear.atomic import write_bytes
from evenear.checkpoint import Bundle
from evenear.config import replace
from evenear.data.batching.store import StoreConfig, build_store
from evenear.data.corpora.manifests import Utterance
from evenear.metrics.words import normalize
from evenear.search import greedy_search
from evenear.training.encoding import encode, plain_batches

__all__ = ["MachineText", "confident", "machine_texts"]


class MachineText(NamedTuple):
    """What the recognizer wrote of an utterance, and how sure it was."""

    utterance_id: str
    text: str
    confidence: float


@torch.inference_mode()
def machine_texts(
    bundle: Bundle,
    utterances: Sequence[Utterance],
    folder: Path,
    *,
    progress: Callable[[int], None] | None = None,
) -> list[MachineText]:
    """Transcribe utterances, or read what was transcribed before.

    Args:
        bundle: The recognizer.
        utterances: Speech; texts are not looked at.
        folder: Where frames and `machine-texts.jsonl` go.
        progress: Called with the number of utterances that were transcribed.
    """
    path = folder / "machine-texts.jsonl"
    if not path.exists():
        unheard = [replace(u, text="") for u in utterances]
        how = StoreConfig(features=bundle.features, augment=False)
        store = build_store(unheard, folder / "frames", how)
        rows = []
        for places in plain_batches(store, bundle.features):
            encoded = encode(bundle.model, store, places, bundle.features)
            for place, reading in zip(places, greedy_search(bundle.model, encoded), strict=True):
                text = normalize(bundle.tokenizer.decode(reading.tokens), "basic")
                scores = reading.log_probs
                sure = math.exp(sum(scores) / len(scores)) if scores else 0.0
                rows.append([store.utterances[place].utterance_id, text, sure])
            if progress is not None:
                progress(len(places))
        write_bytes(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
    lines = path.read_text(encoding="utf-8").splitlines()
    return [MachineText(*json.loads(line)) for line in lines]


def confident(
    utterances: Sequence[Utterance], texts: Sequence[MachineText], keep: float
) -> list[Utterance]:
    """The surest utterances with their machine texts; those without any word are never kept.

    Args:
        utterances: The utterances.
        texts: What was written of them.
        keep: Share of all utterances to keep at most.
    """
    ranked = sorted((t for t in texts if t.text), key=lambda t: (-t.confidence, t.utterance_id))
    kept = {t.utterance_id: t.text for t in ranked[: round(keep * len(texts))]}
    return [
        replace(
            u,
            text=kept[u.utterance_id],
            attributes={**u.attributes, "machine_transcribed": True},
        )
        for u in utterances
        if u.utterance_id in kept
    ]
