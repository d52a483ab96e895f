# SPDX-License-Identifier: Apache-2.0
"""How well a recognizer reads the test, clean and with noise added: counts for each utterance.

The sound of the test is made once for all recognizers: clean, and with noise at some ratios of
signal to noise. Noise is drawn from the utterance's id, so every recognizer hears the same noise,
and at each ratio the same noise again, only louder. Utterances are read whole and greedily, which
the laws of streaming hold equal to a stream.

Legend: B utterances, T frames, F feature width.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from evenear.atomic import write_bytes
from evenear.data.batching.augmentation import WaveformAugmentation
from evenear.data.batching.store import FrameStore, StoreConfig, build_store
from evenear.data.corpora.manifests import Utterance
from evenear.errors import ManifestError
from evenear.features import FeatureConfig
from evenear.metrics.words import normalize, word_errors
from evenear.models.transducer import Transducer
from evenear.search import greedy_search
from evenear.tokenizer import Tokenizer
from evenear.training.encoding import encode, plain_batches

__all__ = [
    "CLEAN",
    "Score",
    "condition_name",
    "listen",
    "read_scores",
    "score",
    "write_scores",
]

CLEAN = "clean"
"""The condition without added noise."""


@dataclass(frozen=True)
class Score:
    """One utterance as one recognizer read it under one condition."""

    condition: str
    utterance_id: str
    speaker: str
    errors: int
    words: int
    hypothesis: str
    tokens: tuple[int, ...]
    frames: tuple[int, ...]
    """Encoder frame at which each token was emitted."""


def condition_name(snr_db: float) -> str:
    """What a condition with noise at this ratio is called."""
    return f"{snr_db:g} dB"


def listen(
    utterances: Sequence[Utterance],
    features: FeatureConfig,
    snrs_db: Sequence[float],
    folder: Path,
    *,
    num_processes: int = 1,
    progress: Callable[[int], None] | None = None,
) -> dict[str, FrameStore]:
    """Store the frames of the test under each condition, or find them stored in `folder`.

    Raises:
        ManifestError: No utterance has words.
    """
    said = [replace(u, text=normalize(u.text, "basic")) for u in utterances]
    said = [u for u in said if u.text]
    if not said:
        raise ManifestError("The test needs utterances with words, got none.")
    conditions: dict[str, float | None] = {CLEAN: None}
    conditions |= {condition_name(snr): snr for snr in snrs_db}
    return {
        name: build_store(
            said, folder, _sound(features, snr), num_processes=num_processes, progress=progress
        )
        for name, snr in conditions.items()
    }


@torch.inference_mode()
def score(
    model: Transducer,
    tokenizer: Tokenizer,
    features: FeatureConfig,
    stores: Mapping[str, FrameStore],
) -> Iterator[Score]:
    """Read every utterance under every condition."""
    for condition, store in stores.items():
        for places in plain_batches(store, features):
            found = greedy_search(model, encode(model, store, places, features))
            for place, reading in zip(places, found, strict=True):
                utterance = store.utterances[place]
                heard = normalize(tokenizer.decode(reading.tokens), "basic")
                counts = word_errors(utterance.text, heard)
                yield Score(
                    condition=condition,
                    utterance_id=utterance.utterance_id,
                    speaker=utterance.speaker,
                    errors=counts.errors,
                    words=counts.reference_words,
                    hypothesis=heard,
                    tokens=reading.tokens,
                    frames=reading.frames,
                )


def write_scores(scores: Sequence[Score], path: Path) -> None:
    """Write scores as JSON lines, in one order whatever that of the batches was."""
    rows = sorted(scores, key=lambda one: (one.condition, one.utterance_id))
    lines = "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows)
    write_bytes(path, lines.encode())


def read_scores(path: Path) -> list[Score]:
    """Read what `write_scores` wrote."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        Score(**{**row, "tokens": tuple(row["tokens"]), "frames": tuple(row["frames"])})
        for row in rows
    ]


def _sound(features: FeatureConfig, snr_db: float | None) -> StoreConfig:
    """How to store the test: as it is, or varied by noise at one ratio and by nothing else."""
    if snr_db is None:
        return StoreConfig(features=features, copies=1, augment=False)
    noise = WaveformAugmentation(
        speeds=(1.0,),
        room_chance=0.0,
        noise_chance=1.0,
        noise_snr_db=(snr_db, snr_db),
        gain_db=(0.0, 0.0),
    )
    return StoreConfig(features=features, copies=1, waveform=noise)
