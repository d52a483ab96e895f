# SPDX-License-Identifier: Apache-2.0
"""A language whose words are tones, so that a model can learn it within seconds.

Three speakers say two or three words at a time; each transposes the tones a little. The words and
their tones are all there is to know, so the loss must fall, and soon.
"""

import itertools
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import soundfile

from evenear.config import replace
from evenear.data.batching.augmentation import FrameAugmentation
from evenear.data.batching.batches import BatchConfig, BatchMaker
from evenear.data.batching.store import StoreConfig
from evenear.encoders.lstm import LstmEncoderConfig
from evenear.features import FeatureConfig
from evenear.metrics.words import WordErrors
from evenear.models.transducer import LstmPredictorConfig, Transducer
from evenear.nn.recurrent import LstmStackConfig
from evenear.recipes import recipe
from evenear.training.loop.optimizers import build_optimizers
from evenear.training.loop.trainer import Trainer
from evenear.training.runs.preparation import Corpus, Source, build_model, prepare
from evenear.training.settings import DataConfig, ModelConfig, OptimizerConfig, TrainingConfig
from evenear.training.tasks.transducer import TransducerTask
from tiny_corpora import write_json_lines

__all__ = ["HERTZ", "config", "corpus", "learning_config", "trainer", "write_corpus"]

HERTZ: Mapping[str, float] = MappingProxyType({"LOW": 400.0, "MID": 1000.0, "HIGH": 2600.0})
RATE = 16_000
WORD_SECONDS = 0.18
GAP_SECONDS = 0.06


def write_corpus(folder: Path) -> Path:
    """Sentences of two and three words by each of three speakers, as an `utterances.jsonl`."""
    rows = []
    for number, speaker in enumerate(("ann", "bob", "cy")):
        sentences = [*itertools.product(HERTZ, repeat=2)]
        sentences += [*itertools.product(HERTZ, repeat=3)][number::9]
        for k, words in enumerate(sentences):
            name = f"{speaker}-{k}"
            samples_N = np.concatenate([_word(HERTZ[w] * (0.95 + 0.05 * number)) for w in words])
            (folder / "audio").mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / "audio" / f"{name}.wav", samples_N, RATE)
            rows.append(
                {
                    "utterance_id": name,
                    "speaker": speaker,
                    "text": " ".join(words),
                    "audio": f"audio/{name}.wav",
                    "seconds": len(samples_N) / RATE,
                }
            )
    return write_json_lines(folder / "utterances.jsonl", rows)


def config(**changes) -> TrainingConfig:
    """A run of seconds with all that makes a run hard to repeat: dropout, hiding, masks, Muon."""
    layers = LstmStackConfig(num_layers=1, hidden_dim=32, dim=24, dropout=0.05, layer_norm=True)
    predictor = LstmPredictorConfig(
        embedding_dim=12, lstm=LstmStackConfig(num_layers=1, hidden_dim=24), token_dropout=0.1
    )
    features = FeatureConfig(num_mel_bins=20)
    data = DataConfig(
        store=StoreConfig(features=features, copies=2),
        batches=BatchConfig(seconds=4.0, augmentation=FrameAugmentation(warp_chance=0.0)),
        vocabulary_size=16,
        dev_speakers=1,
    )
    model = ModelConfig(
        encoder=LstmEncoderConfig(feature_dim=features.dim, lstm=layers),
        predictor=predictor,
        joiner_dim=24,
    )
    base = replace(
        recipe("tiny"),
        name="tones",
        num_updates=12,
        data=data,
        model=model,
        optimizer=OptimizerConfig(peak_rate=1e-2, muon_ratio=1.0, warmup_updates=5),
        evaluate_every=6,
        snapshot_every=3,
    )
    return replace(base, **changes)


def learning_config() -> TrainingConfig:
    """A run that is long and plain enough to learn the three words, in a few seconds.

    Seeds 0 to 3 have 11 % of the words wrong or fewer from update 300 on, whatever the processor.
    """
    base = config(num_updates=500, evaluate_every=100, snapshot_every=100)
    lstm = replace(base.model.encoder.lstm, hidden_dim=64, dropout=0.0)
    return replace(
        base,
        data=replace(base.data, batches=BatchConfig(seconds=6.0, augmentation=None)),
        model=replace(
            base.model,
            encoder=replace(base.model.encoder, lstm=lstm),
            predictor=replace(base.model.predictor, token_dropout=0.0),
        ),
        optimizer=OptimizerConfig(peak_rate=3e-3, warmup_updates=10, average_decay=0.95),
    )


def corpus(folder: Path, settings: TrainingConfig) -> Corpus:
    """The corpus of `write_corpus`, prepared under `folder`."""
    sources = [Source(write_corpus(folder / "tones"))]
    return prepare(sources, settings.data, folder / "prepared", seed=settings.seed)


def trainer(settings: TrainingConfig, known: Corpus, folder: Path) -> Trainer:
    """A fresh trainer. What it evaluates is a number that changes with every weight."""
    features = settings.data.store.features
    batches = BatchMaker(
        known.train,
        known.tokenizer,
        settings.data.batches,
        features,
        seed=settings.seed,
        repeats=known.repeats,
    )
    model = build_model(settings, known)
    task = TransducerTask(settings, model, batches, _weight_errors)
    return Trainer(task, build_optimizers(model, settings.optimizer), settings, folder)


def _weight_errors(model: Transducer) -> WordErrors:
    total = sum(float(tensor.detach().double().abs().sum()) for tensor in model.parameters())
    return WordErrors(substitutions=int(total * 1e3), reference_words=10**6)


def _word(hz: float) -> np.ndarray:
    time_N = np.arange(round(WORD_SECONDS * RATE)) / RATE
    tone_N = 0.2 * np.sin(2 * np.pi * hz * time_N) * np.hanning(len(time_N))
    return np.concatenate([tone_N, np.zeros(round(GAP_SECONDS * RATE))]).astype(np.float32)
