# SPDX-License-Identifier: Apache-2.0
"""Speakers of tones, half of them children whose tones are higher, and a model that hears badly."""

import itertools
from pathlib import Path

import numpy as np
import soundfile
import torch

from evenear.checkpoint import Bundle, load_model, save_model
from evenear.config import replace
from evenear.data.batching.augmentation import FrameAugmentation
from evenear.encoders.transformer import TransformerConfig
from evenear.evaluation import load_utterances
from evenear.models.transducer import Transducer
from evenear.tokenizer import Tokenizer
from evenear.training.mitigation.cohort import parse_cohort
from evenear.training.mitigation.plan import METHODS, MitigationConfig
from evenear.training.settings import ObjectiveConfig
from tiny_corpora import write_json_lines
from training.tone_words import HERTZ, RATE, config

__all__ = ["plan", "utterances", "write_model", "write_speakers"]


def write_speakers(folder: Path, *, num_speakers: int = 16, first: int = 0) -> Path:
    """Two sentences of two words by each speaker; every other one is a child."""
    rows = []
    for number in range(first, first + num_speakers):
        factor = (1.3 if number % 2 else 1.0) * (1.0 + 0.01 * number)
        for k, words in enumerate(itertools.islice(itertools.product(HERTZ, repeat=2), 0, 9, 5)):
            name = f"s{number:02}-{k}"
            samples_N = np.concatenate([_tone(HERTZ[word] * factor) for word in words])
            (folder / "audio").mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / "audio" / f"{name}.wav", samples_N, RATE)
            rows.append(
                {
                    "utterance_id": name,
                    "speaker": f"s{number:02}",
                    "text": " ".join(words),
                    "audio": f"audio/{name}.wav",
                    "seconds": len(samples_N) / RATE,
                    "age": 8 if number % 2 else 30,
                    "gender": "female" if number % 4 < 2 else "male",
                    "split": "test",
                }
            )
    return write_json_lines(folder / "utterances.jsonl", rows)


def write_model(
    folder: Path, *, layers: int = 1, encoder: TransformerConfig | None = None
) -> Bundle:
    """A model of random weights, saved; it hears nothing, but everything can be done with it.

    Its encoder has so many LSTM layers, or is the one that is given.
    """
    settings = config()
    tokenizer = Tokenizer.train(
        [" ".join(pair) for pair in itertools.product(HERTZ, repeat=2)] * 5,
        settings.data.vocabulary_size,
    )
    stack = replace(settings.model.encoder.lstm, num_layers=layers)
    lstm = replace(settings.model.encoder, lstm=stack)
    shape = replace(settings.model, encoder=encoder or lstm).transducer(
        vocabulary_size=len(tokenizer), blank_id=tokenizer.blank_id, with_ctc=True
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Transducer(shape)
    save_model(
        folder,
        model=model,
        features=settings.data.store.features,
        tokenizer=tokenizer,
        card="# tones\n\nA model of tones.\n",
    )
    return load_model(folder)


def plan(method: str = "ewc", settings: tuple[float, ...] | None = None, **changes):
    """A repair of children, of a few updates."""
    values = {
        "cohort": parse_cohort("age<18"),
        "method": method,
        "settings": settings or METHODS[method].settings[:1],
        "updates": 4,
        "rate": 1e-3,
        "batch_seconds": 3.0,
        "fisher_utterances": 5,
        "objective": ObjectiveConfig(),
        "augmentation": FrameAugmentation(warp_chance=0.0, tempo_chance=0.0),
    }
    return MitigationConfig(**{**values, **changes})


def utterances(folder: Path, **options):
    """The utterances of `write_speakers`."""
    return load_utterances(write_speakers(folder, **options))


def _tone(hz: float) -> np.ndarray:
    time_N = np.arange(round(0.2 * RATE)) / RATE
    return (0.2 * np.sin(2 * np.pi * hz * time_N) * np.hanning(len(time_N))).astype(np.float32)
