# SPDX-License-Identifier: Apache-2.0
"""The two-channel models that are compared, and how each is trained.

All begin with one model that was trained on single talkers (as the paper's do) and differ in their
turn tokens and in what the loss adds; architecture, mixtures and number of updates are the same.

Source: Sklyar, Piunova, Osendorfer 2022, arXiv:2205.05199, tables 1 to 3. Our reading: the weight
of the masking loss is said nowhere (0.3 here). Departs from the paper: sizes; an auxiliary CTC
loss, the same for all, without which so short a training reads nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from evenear.config import replace
from evenear.data.conversations.batches import MixtureBatchConfig
from evenear.data.conversations.mixtures import MixtureConfig
from evenear.encoders.lstm import LstmEncoderConfig
from evenear.features import FeatureConfig
from evenear.models.separator import SeparatorConfig
from evenear.models.transducer import LstmPredictorConfig, TransducerConfig
from evenear.models.twotalkers import SeparatorTransducerConfig
from evenear.nn.recurrent import LstmStackConfig
from evenear.training.settings import OptimizerConfig
from evenear.training.tasks.separator import TwoTalkerConfig
from evenear.training.twotalkers import TwoTalkerObjective

__all__ = [
    "BUFFERS",
    "MIXTURES",
    "VARIANTS",
    "Variant",
    "config_behind",
    "first_config",
    "model_config",
    "variant_config",
]

BUFFERS = (3, 5, 7, 10)
"""Frames of 30 ms by which an end of turn may be late before it is punished."""

MIXTURES = MixtureConfig(
    num_turns=(1, 5),
    overlap_chance=0.7,
    overlap_part=(0.1, 0.7),
    min_delay_seconds=0.25,
    gap_seconds=(0.1, 0.6),
    room_chance=0.0,
    noise_chance=0.0,
    max_seconds=16.0,
)
"""Conversations to train and test on; turns may be as short as a word."""


@dataclass(frozen=True)
class Variant:
    """One way to train a two-channel model."""

    label: str
    turns: Literal["none", "between", "start-and-end"]
    objective: Mapping[str, Any] = field(default_factory=dict)


def _penalized(buffer: int) -> Variant:
    changes = {"late_end_weight": 1.0, "late_end_buffer_frames": buffer}
    return Variant(f"STS + end-of-turn penalty from {buffer} frames on", "start-and-end", changes)


VARIANTS: dict[str, Variant] = {
    "none": Variant("no token (MS-RNN-T)", "none"),
    "cot": Variant("<cot> (MT-RNN-T)", "between"),
    "sts": Variant("<sot>, <eot> (STS)", "start-and-end"),
    "fastemit": Variant("STS + FastEmit", "start-and-end", {"fastemit": 0.005}),
    "masking": Variant(
        "STS + FastEmit + masking", "start-and-end", {"fastemit": 0.005, "masking_weight": 0.3}
    ),
    **{f"penalty-{buffer}": _penalized(buffer) for buffer in BUFFERS},
}
"""What is compared, in the paper's order."""


def model_config(
    features: FeatureConfig, *, vocabulary_size: int, blank_id: int, turns: Any
) -> SeparatorTransducerConfig:
    """A two-channel model of the paper's shape and a thousandth of its size."""
    return SeparatorTransducerConfig(
        separator=SeparatorConfig(
            mixture=_layers(features.dim, 160, 96), separation=_layers(96, 96, 96)
        ),
        transducer=TransducerConfig(
            encoder=_layers(96, 160, 96),
            predictor=LstmPredictorConfig(
                embedding_dim=32,
                lstm=LstmStackConfig(num_layers=1, hidden_dim=48, dim=48, dropout=0.1),
            ),
            joiner_dim=64,
            vocabulary_size=vocabulary_size,
            blank_id=blank_id,
            ctc=True,
        ),
        turns=turns,
    )


def config_behind(
    recognizer: TransducerConfig, *, width: int, turns: Any
) -> SeparatorTransducerConfig:
    """A two-channel model that reads the frames of a recognizer's encoder, and ends as it does.

    Gates for each channel, an LSTM layer beside the frames that are handed on, then a predictor and
    a joiner like the recognizer's.

    Args:
        recognizer: Its settings.
        width: Width of its encoder's frames.
        turns: Tokens that mark turns.
    """
    beside = LstmStackConfig(num_layers=1, hidden_dim=96, dim=width, dropout=0.1, residual=True)
    return SeparatorTransducerConfig(
        separator=SeparatorConfig(
            mixture=None, separation=_layers(width, 128, 96), output="gated", floor=0.0
        ),
        transducer=replace(
            recognizer,
            encoder=LstmEncoderConfig(feature_dim=width, lstm=beside),
            ctc=True,
            phones=0,
            phone_steps=None,
        ),
        turns=turns,
    )


def _layers(feature_dim: int, hidden: int, dim: int) -> LstmEncoderConfig:
    stack = LstmStackConfig(num_layers=1, hidden_dim=hidden, dim=dim, dropout=0.1, layer_norm=True)
    return LstmEncoderConfig(feature_dim=feature_dim, lstm=stack)


def first_config(separator: SeparatorConfig, *, updates: int, seed: int) -> TwoTalkerConfig:
    """The training on single talkers that all variants of a seed begin with."""
    return TwoTalkerConfig(
        name="single talkers",
        seed=seed,
        num_updates=updates,
        separator=separator,
        turns="none",
        batches=MixtureBatchConfig(
            mixtures=replace(MIXTURES, num_turns=(1, 3), num_speakers=(1, 1), overlap_chance=0.0),
            num_mixtures=600,
            seconds=60.0,
        ),
        objective=_OBJECTIVE,
        optimizer=OptimizerConfig(peak_rate=4e-3, warmup_updates=max(1, updates // 10)),
        evaluate_every=max(1, updates // 2),
        snapshot_every=max(1, updates // 4),
    )


def variant_config(
    name: str, separator: SeparatorConfig, *, updates: int, seed: int, peak_rate: float = 3e-3
) -> TwoTalkerConfig:
    """The training of a variant on conversations."""
    variant = VARIANTS[name]
    return replace(
        first_config(separator, updates=updates, seed=seed),
        name=name,
        turns=variant.turns,
        batches=MixtureBatchConfig(mixtures=MIXTURES, num_mixtures=600, seconds=60.0),
        objective=replace(_OBJECTIVE, **variant.objective),
        optimizer=OptimizerConfig(
            peak_rate=peak_rate, warmup_updates=max(1, updates // 10), average_decay=0.98
        ),
    )


_OBJECTIVE = TwoTalkerObjective(phone_weight=0.0, ctc_weight=0.3)
