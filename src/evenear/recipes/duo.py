# SPDX-License-Identifier: Apache-2.0
"""Two talkers: who speaks, and a small separator, in front of a trained recognizer.

    evenear train evenear-en-duo --data RECORDINGS --out FIRST
    evenear train evenear-en-duo-hearing --data RECORDINGS --start-from FIRST/model --out SECOND
    evenear train evenear-en-duo-turns --data RECORDINGS --start-from FIRST/model --out ANOTHER

Departs from Separator-Transducer-Segmenter (arXiv:2205.05199), which learns everything from the
transducer losses: what a simulation knows of each channel's own sound teaches the separator first,
which takes minutes instead of days, and the recognizer is one that was trained already. In the
first stage no recognizer is run. A turn goes to the first channel that is free: then a single
talker is always on the first, and the second is silent.
"""

from evenear.config import replace
from evenear.data.conversations.batches import MixtureBatchConfig
from evenear.data.conversations.mixtures import MixtureConfig
from evenear.encoders.bandsplit import BandSplitConfig
from evenear.encoders.lstm import LstmEncoderConfig
from evenear.models.activity import ActivityConfig
from evenear.models.separator import SeparatorConfig
from evenear.nn.recurrent import LstmStackConfig
from evenear.training.settings import OptimizerConfig
from evenear.training.tasks.separator import TwoTalkerConfig
from evenear.training.twotalkers import TwoTalkerObjective

__all__ = ["hearing", "recipe", "tiny", "turns"]

_FLOOR = -0.1
"""What counts as silence, in normalized features of Whisper's kind."""


def recipe() -> TwoTalkerConfig:
    """Learn who speaks, and whose each bin is, with the recognizer frozen and not run.

    One recognizer then hears the mixture, and its words are attributed: gates this young part
    voices worse than a recognizer of single talkers follows one.
    """
    return TwoTalkerConfig(
        name="evenear-en-duo",
        num_updates=5000,
        begins_with="evenear-en",
        separator=_banded(BandSplitConfig()),
        turns="none",
        batches=MixtureBatchConfig(
            mixtures=MixtureConfig(
                num_turns=(1, 4),
                overlap_chance=0.85,
                overlap_part=(0.1, 1.5),
                speed=(0.8, 1.25),
                room_chance=0.15,
                noise_chance=0.3,
                max_seconds=12.0,
                assignment="first-free",
            ),
            num_mixtures=1500,
            seconds=32.0,
        ),
        objective=TwoTalkerObjective(
            transducer_weight=0.0,
            ctc_weight=0.0,
            phone_weight=0.0,
            separation_weight=1.0,
            activity_weight=1.0,
            overlap_factor=10.0,
            floor=_FLOOR,
        ),
        optimizer=OptimizerConfig(peak_rate=2e-3, warmup_updates=60, average_decay=0.995),
        recognizer="frozen",
        evaluate_every=300,
        snapshot_every=300,
    )


def hearing() -> TwoTalkerConfig:
    """Then let the frozen encoder judge: what it makes of a channel, against its own sound's."""
    first = recipe()
    return replace(
        first,
        name="evenear-en-duo-hearing",
        num_updates=300,
        separator=_parting(first.separator),
        batches=replace(first.batches, seconds=80.0),
        objective=replace(first.objective, separation_weight=0.3, hearing_weight=1.0),
        optimizer=OptimizerConfig(peak_rate=5e-4, warmup_updates=20, average_decay=0.98),
        precision="bfloat16",
        evaluate_every=50,
        snapshot_every=50,
    )


def turns() -> TwoTalkerConfig:
    """Or tune everything to say words and the marks of turns on each channel."""
    first = recipe()
    return replace(
        first,
        name="evenear-en-duo-turns",
        num_updates=300,
        separator=_parting(first.separator),
        turns="start-and-end",
        batches=replace(first.batches, seconds=40.0),
        objective=TwoTalkerObjective(
            separation_weight=1.0,
            phone_weight=0.3,
            fastemit=0.005,
            masking_weight=0.1,
            floor=first.objective.floor,
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
        separator=_banded(BandSplitConfig(band_dim=48, hidden_dim=48, num_layers=2, ff_dim=96)),
        recordings_of_speaker=8,
        dev_speakers=2,
        dev_mixtures=12,
        evaluate_every=50,
        snapshot_every=50,
    )


def _banded(bands: BandSplitConfig) -> SeparatorConfig:
    """One band-split encoder for both channels, shares of energy, and who speaks."""
    return SeparatorConfig(
        mixture=bands,
        separation=None,
        output="gated",
        joined=bands.joined,
        floor=_FLOOR,
        activity=ActivityConfig(where_both="attributed"),
    )


def _parting(separator: SeparatorConfig) -> SeparatorConfig:
    """The same, where gates part voices: its channels are heard."""
    assert separator.activity is not None
    return replace(separator, activity=replace(separator.activity, where_both="gated"))


def _separator(
    *, feature_dim: int, joined: int, floor: float, widths: tuple[int, int, int, int]
) -> SeparatorConfig:
    """Two LSTM layers for the mixture, one for each channel, and gates.

    Args:
        feature_dim: Width of a feature frame.
        joined: Feature frames that are gated together.
        floor: What closed gates let through, in normalized features.
        widths: Hidden units and output of the mixture's layers, then of each channel's.
    """
    hidden, dim, channel_hidden, channel_dim = widths
    mixture = LstmStackConfig(
        num_layers=2, hidden_dim=hidden, dim=dim, dropout=0.05, layer_norm=True, residual=True
    )
    channel = LstmStackConfig(
        num_layers=1, hidden_dim=channel_hidden, dim=channel_dim, dropout=0.05, layer_norm=True
    )
    return SeparatorConfig(
        mixture=LstmEncoderConfig(feature_dim=joined * feature_dim, lstm=mixture),
        separation=LstmEncoderConfig(feature_dim=dim, lstm=channel),
        output="gated",
        joined=joined,
        floor=floor,
        activity=ActivityConfig(where_both="earlier"),
    )
