# SPDX-License-Identifier: Apache-2.0
"""Two talkers: a small separator in front of a trained recognizer, in two stages.

    evenear train evenear-en-duo --data RECORDINGS --out FIRST
    evenear train evenear-en-duo-turns --data RECORDINGS --start-from FIRST/model --out SECOND

Departs from Separator-Transducer-Segmenter (arXiv:2205.05199), which learns everything from the
transducer losses: what a simulation knows of each channel's own sound teaches the separator first,
which takes minutes instead of days, and the recognizer is one that was trained already.
"""

from evenear.config import replace
from evenear.data.conversations.batches import MixtureBatchConfig
from evenear.data.conversations.mixtures import MixtureConfig
from evenear.encoders.lstm import LstmEncoderConfig
from evenear.models.separator import SeparatorConfig
from evenear.nn.recurrent import LstmStackConfig
from evenear.training.settings import OptimizerConfig
from evenear.training.tasks.separator import TwoTalkerConfig
from evenear.training.twotalkers import TwoTalkerObjective

__all__ = ["recipe", "tiny", "turns"]


def recipe() -> TwoTalkerConfig:
    """Separate, with the recognizer frozen: features of each channel against its own sound."""
    return TwoTalkerConfig(
        name="evenear-en-duo",
        num_updates=1000,
        separator=_separator(320, 192, 192, 128),
        turns="none",
        recordings_of_speaker=12,
        batches=MixtureBatchConfig(
            mixtures=MixtureConfig(num_turns=(1, 4), max_seconds=14.0),
            num_mixtures=1500,
            seconds=40.0,
        ),
        objective=TwoTalkerObjective(
            transducer_weight=0.0, ctc_weight=0.0, phone_weight=0.0, separation_weight=1.0
        ),
        optimizer=OptimizerConfig(peak_rate=1.5e-3, warmup_updates=100, average_decay=0.99),
        recognizer="frozen",
        evaluate_every=100,
        snapshot_every=50,
    )


def turns() -> TwoTalkerConfig:
    """Then tune everything to say words and the marks of turns on each channel."""
    return replace(
        recipe(),
        name="evenear-en-duo-turns",
        num_updates=300,
        turns="start-and-end",
        objective=TwoTalkerObjective(
            separation_weight=20.0, phone_weight=0.3, fastemit=0.005, masking_weight=0.1
        ),
        optimizer=OptimizerConfig(peak_rate=3e-4, warmup_updates=20, average_decay=0.98),
        recognizer="tuned",
        evaluate_every=50,
        snapshot_every=25,
    )


def tiny() -> TwoTalkerConfig:
    """A run of minutes, to see everything work on one's own recordings."""
    return replace(
        recipe(),
        name="tiny-duo",
        num_updates=200,
        separator=_separator(128, 96, 96, 64),
        recordings_of_speaker=8,
        dev_speakers=2,
        dev_mixtures=12,
        evaluate_every=50,
        snapshot_every=50,
    )


def _separator(hidden: int, dim: int, channel_hidden: int, channel_dim: int) -> SeparatorConfig:
    """One LSTM layer for the mixture, one for each channel, and gates."""
    mixture = LstmStackConfig(
        num_layers=1, hidden_dim=hidden, dim=dim, dropout=0.05, layer_norm=True
    )
    channel = LstmStackConfig(
        num_layers=1, hidden_dim=channel_hidden, dim=channel_dim, dropout=0.05, layer_norm=True
    )
    return SeparatorConfig(
        mixture=LstmEncoderConfig(lstm=mixture),
        separation=LstmEncoderConfig(feature_dim=dim, lstm=channel),
        output="gated",
    )
