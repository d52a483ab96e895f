# SPDX-License-Identifier: Apache-2.0
"""From manifests to what a run needs: speakers held out, a tokenizer, stored frames, their mean.

Legend: T frames, M mel bins, F feature width.
"""

import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evenear.atomic import write_bytes
from evenear.data.batching.store import FrameStore, build_store
from evenear.data.corpora.manifests import Utterance, load_cuts, utterance
from evenear.data.corpora.splits import HELD_BACK, in_words, is_held_back
from evenear.errors import ConfigError, ManifestError
from evenear.metrics.words import normalize
from evenear.models.transducer import Transducer
from evenear.seeding import rng_for, torch_rng_for
from evenear.tokenizer import Tokenizer
from evenear.training.settings import DataConfig, TrainingConfig

__all__ = [
    "TOKENIZER_NAME",
    "Corpus",
    "Source",
    "build_model",
    "check_widths",
    "feature_statistics",
    "held_out_speakers",
    "nothing_left",
    "prepare",
    "split_speakers",
]

TOKENIZER_NAME = "tokenizer.model"
"""The run folder's tokenizer; one that is there already is used, not learned again."""


@dataclass(frozen=True)
class Corpus:
    """Training and held-out utterances, stored, with the tokenizer learned from the former."""

    train: FrameStore
    dev: FrameStore
    tokenizer: Tokenizer
    repeats: dict[str, float]
    """Times a training utterance occurs in an epoch, by its id."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """How many rows of the sources were not taken, by why."""

    @property
    def held_out(self) -> str:
        """Who is held out, in words."""
        many = len({u.speaker for u in self.dev.utterances})
        if {u.speaker for u in self.dev.utterances} & {u.speaker for u in self.train.utterances}:
            return (
                f"{_many(len(self.dev), 'held-out utterance')} of {_many(many, 'speaker')} "
                "trained on as well: strangers will be heard worse"
            )
        return f"{_many(len(self.dev), 'held-out utterance')} of {_many(many, 'other speaker')}"


@dataclass(frozen=True)
class Source:
    """A manifest, and how often its utterances occur in an epoch."""

    manifest: Path
    repeats: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.repeats < math.inf:
            raise ManifestError(
                f"Utterances can occur 0 times or more often in an epoch, got {self.repeats} "
                f"for {self.manifest}.",
                hint="Example: cuts.jsonl.gz:2.5",
            )

    @classmethod
    def parse(cls, text: str) -> "Source":
        """Read `PATH` or `PATH:REPEATS`, as the command line takes it."""
        path, colon, repeats = text.rpartition(":")
        try:
            return cls(Path(path), float(repeats)) if colon else cls(Path(text))
        except ValueError:
            return cls(Path(text))


def check_widths(config: TrainingConfig) -> None:
    """Refuse an encoder that was not made for the features, before any of them is stored.

    Raises:
        ConfigError: The widths differ.
    """
    stored, expected = config.data.store.features.dim, config.model.encoder.feature_dim
    if stored != expected:
        raise ConfigError(
            f"The encoder reads features of width {expected}, and those stored have {stored}.",
            hint=f"--set model.encoder.feature_dim={stored} beside "
            "--set data.store.features.num_mel_bins=… (their product with stack is the width).",
        )


def prepare(
    sources: Sequence[Source],
    settings: DataConfig,
    folder: Path,
    *,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> Corpus:
    """Read sources, hold speakers out, learn word pieces and store the frames under `folder`.

    Raises:
        ManifestError: Nothing is left to train on or to hold out, or two utterances share an id.
    """
    utterances, repeats, left_out = _read(sources, settings.excluded_splits)
    train, dev = split_speakers(utterances, settings.dev_speakers, seed=seed)
    tokenizer = _tokenizer(train, settings.vocabulary_size, folder / TOKENIZER_NAME)
    cores = os.cpu_count() or 1
    parts = folder / "frames"
    kept = settings.store
    train_store = build_store(train, parts, kept, num_processes=cores, progress=progress)
    plain = replace(kept, augment=False)
    dev_store = build_store(dev, parts, plain, num_processes=cores, progress=progress)
    return Corpus(train_store, dev_store, tokenizer, repeats, left_out)


def held_out_speakers(
    sources: Sequence[Source],
    num_dev: int,
    *,
    seed: int,
    excluded_splits: Sequence[str] = ("test",),
) -> set[str]:
    """The speakers that a run of this seed on these sources holds out.

    Raises:
        ManifestError: As `prepare`.
    """
    utterances, _, _ = _read(sources, excluded_splits)
    return {u.speaker for u in split_speakers(utterances, num_dev, seed=seed)[1]}


def split_speakers(
    utterances: Sequence[Utterance], num_dev: int, *, seed: int
) -> tuple[list[Utterance], list[Utterance]]:
    """Hold out `num_dev` recorded speakers; none of their utterances is trained on.

    They are drawn from those with at least half as much speech as the one with the most: a speaker
    of a few commands says little about a model of sentences.

    Of a single recorded speaker, and if `num_dev` is 0, a tenth of the recorded utterances is held
    out instead, with all others of the same text.

    Raises:
        ManifestError: There are too few speakers, or there is one utterance.
    """
    seconds: dict[str, float] = {}
    for u in utterances:
        if not u.attributes.get("synthesized", False):
            seconds[u.speaker] = seconds.get(u.speaker, 0.0) + u.seconds
    if num_dev == 0 or len(seconds) == 1:
        return _split_utterances(utterances, seed=seed)
    if len(seconds) <= num_dev:
        raise ManifestError(
            f"Holding out {num_dev} recorded speakers needs more of them, got {len(seconds)}.",
            hint=f"Give more data, or --set data.dev_speakers={max(0, len(seconds) - 1)}; "
            "0 holds out utterances instead.",
        )
    most = max(seconds.values())
    heard = [s for s in seconds if 2 * seconds[s] >= most]
    pool = heard if len(heard) > num_dev else list(seconds)
    held = set(sorted(pool, key=lambda s: rng_for(seed, "dev speaker", s).random())[:num_dev])
    return (
        [u for u in utterances if u.speaker not in held],
        [u for u in utterances if u.speaker in held],
    )


def _split_utterances(
    utterances: Sequence[Utterance], *, seed: int
) -> tuple[list[Utterance], list[Utterance]]:
    """Hold out a tenth of what was recorded, text by text, and at least one text."""
    recorded = [u for u in utterances if not u.attributes.get("synthesized", False)]
    texts = sorted({u.text for u in recorded})
    # One text said many times: then utterances are all that can be told apart.
    keys = {u.utterance_id: u.text if len(texts) > 1 else u.utterance_id for u in utterances}
    found = sorted({keys[u.utterance_id] for u in recorded})
    if len(found) < 2:
        raise ManifestError(
            f"Holding out utterances needs at least two recorded ones, got {len(recorded)}.",
            hint="Record more: minutes to adapt a model, hours to train one.",
        )
    found.sort(key=lambda key: rng_for(seed, "dev utterance", key).random())
    held = set(found[: max(1, len(found) // 10)])
    return (
        [u for u in utterances if keys[u.utterance_id] not in held],
        [u for u in recorded if keys[u.utterance_id] in held],
    )


def feature_statistics(store: FrameStore, stack: int) -> tuple[Tensor, Tensor]:
    """Mean and inverse deviation of stacked features (F,), from up to 2,000 utterances."""
    step = max(1, len(store) // 2000)
    frames_TM = np.concatenate([store.frames(i) for i in range(0, len(store), step)])
    mean_M = torch.from_numpy(frames_TM.mean(axis=0, dtype=np.float64)).float()
    scale_M = torch.from_numpy(1.0 / (frames_TM.std(axis=0, dtype=np.float64) + 1e-5)).float()
    return mean_M.repeat(stack), scale_M.repeat(stack)


def build_model(config: TrainingConfig, corpus: Corpus, *, phones: int = 0) -> Transducer:
    """A fresh model, initialized from the run's seed, that knows the features' statistics."""
    transducer = config.model.transducer(
        vocabulary_size=len(corpus.tokenizer),
        blank_id=corpus.tokenizer.blank_id,
        with_ctc=config.objective.ctc_weight > 0,
        phones=phones if config.objective.phone_weight > 0 else 0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.random.set_rng_state(torch_rng_for(config.seed, "weights").get_state())
        model = Transducer(transducer)
    if config.data.store.features.kind == "whisper":
        return model  # these come scaled, as the pretrained encoders know them
    mean_F, scale_F = feature_statistics(corpus.train, config.data.store.features.stack)
    model.mean_F.copy_(mean_F)
    model.scale_F.copy_(scale_F)
    return model


def _tokenizer(train: Sequence[Utterance], vocabulary_size: int, path: Path) -> Tokenizer:
    """The tokenizer that is there, if it has the size that fits, or else a new one."""
    there = Tokenizer.load(path) if path.exists() else None
    if there is not None and len(there) == vocabulary_size:
        return there
    tokenizer = Tokenizer.train([u.text for u in train], vocabulary_size)
    if there is not None and len(there) == len(tokenizer):
        return there
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, tokenizer.model)
    return tokenizer


def _read(
    sources: Sequence[Source], excluded_splits: Sequence[str]
) -> tuple[list[Utterance], dict[str, float], Counter[str]]:
    """Utterances with text, normalized, of splits to train on; their repeats; what was left out."""
    utterances: list[Utterance] = []
    left_out: Counter[str] = Counter()
    repeats: dict[str, float] = {}
    ids: set[str] = set()
    for source in sources:
        for cut in iter(load_cuts(source.manifest)):
            u = utterance(cut)
            text, split = normalize(u.text, "basic"), u.attributes.get("split")
            if is_held_back(split) or split in excluded_splits:
                left_out[f"of the split {split}"] += 1
                continue
            if not text:
                left_out["without text"] += 1
                continue
            if u.utterance_id in ids:
                raise ManifestError(
                    f"Each utterance needs an id of its own; {u.utterance_id!r} in "
                    f"{source.manifest} has come before.",
                    hint="Give each source once, or put its name before its ids.",
                )
            ids.add(u.utterance_id)
            utterances.append(replace(u, text=text))
            if source.repeats != 1.0:
                repeats[u.utterance_id] = source.repeats
    if not utterances:
        raise nothing_left(left_out)
    return utterances, repeats, left_out


def nothing_left(left_out: Mapping[str, int]) -> ManifestError:
    """The error where no row can be trained on."""
    if not left_out:
        return ManifestError("The data to train on has no rows.")
    return ManifestError(
        f"Nothing is left to train on: all rows were left out, {in_words(left_out)}.",
        hint=f"Splits whose names begin with {', '.join(HELD_BACK)} are never trained on. Give "
        "other data, or name the split of rows to learn from otherwise.",
    )


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
