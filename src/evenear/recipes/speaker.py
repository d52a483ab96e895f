# SPDX-License-Identifier: Apache-2.0
"""The recipe of the shipped speaker verifier, networks over frames beside it, and a tiny one."""

from evenear.config import replace
from evenear.data.batching.augmentation import WaveformAugmentation
from evenear.data.batching.crops import CropConfig
from evenear.data.batching.store import StoreConfig
from evenear.encoders.voices.tdnn import TdnnConfig
from evenear.features import FeatureConfig
from evenear.models.speaker import SpeakerConfig, published, published_features
from evenear.training.runs.moments import MomentsTrainingConfig
from evenear.training.settings import OptimizerConfig
from evenear.training.tasks.speaker import (
    SpeakerDataConfig,
    SpeakerTrainingConfig,
)

__all__ = ["continued", "frames", "recipe", "resnet", "tiny"]

_ROOMS_AND_NOISE = WaveformAugmentation(room_chance=0.4, noise_chance=0.7, noise_snr_db=(5.0, 25.0))


def recipe() -> MomentsTrainingConfig:
    """`evenear-speaker`: moments of a recognizer's first layers, solved for, without updates.

    Meant for speechocean762 and synthesized voices together (179 speakers, 4 h).
    """
    return MomentsTrainingConfig(
        name="evenear-speaker",
        data=SpeakerDataConfig(
            store=StoreConfig(
                features=FeatureConfig(kind="whisper", num_mel_bins=80, stack=2),
                copies=2,
                synthesized_copies=2,
                waveform=_ROOMS_AND_NOISE,
            ),
            other_speeds=(),
        ),
    )


def frames() -> SpeakerTrainingConfig:
    """A small network over frames, trained whole. With so few speakers it learns them by heart."""
    return SpeakerTrainingConfig(
        name="evenear-speaker-frames",
        num_updates=1000,
        data=SpeakerDataConfig(
            store=StoreConfig(
                features=FeatureConfig(stack=3),
                copies=2,
                waveform=_ROOMS_AND_NOISE,
            ),
        ),
        crops=CropConfig(num_speakers=64, num_each=2, seconds=2.0),
        model=SpeakerConfig(
            encoder=TdnnConfig(feature_dim=192, stack=3, planes=(16, 32, 32), dim=192),
            pooled_dim=256,
            embedding_dim=192,
        ),
        optimizer=OptimizerConfig(
            peak_rate=2e-3,
            warmup_updates=50,
            decay_from=0.4,
            final_ratio=0.01,
            weight_decay=0.05,
            average_decay=0.98,
        ),
        precision="bfloat16",
        evaluate_every=250,
        snapshot_every=50,
    )


def continued() -> SpeakerTrainingConfig:
    """More updates for such a verifier (`--start-from`): a lower rate that falls at once."""
    base = frames()
    return replace(
        base,
        name="evenear-speaker-frames-continued",
        num_updates=300,
        optimizer=replace(base.optimizer, peak_rate=1e-3, warmup_updates=30, decay_from=0.1),
        evaluate_every=100,
    )


def resnet() -> SpeakerTrainingConfig:
    """The published size (8.0 M parameters): for a GPU. Nobody has run it here."""
    base = frames()
    store = replace(base.data.store, features=published_features())
    return replace(
        base,
        name="evenear-speaker-resnet",
        num_updates=50_000,
        data=replace(base.data, store=store),
        crops=CropConfig(num_speakers=200, num_each=2, seconds=2.0),
        model=published(),
        evaluate_every=2000,
    )


def tiny() -> SpeakerTrainingConfig:
    """A network of some thousand parameters, to see the whole path work in seconds."""
    features = FeatureConfig(num_mel_bins=24, stack=3)
    return SpeakerTrainingConfig(
        name="tiny-speaker",
        num_updates=30,
        data=SpeakerDataConfig(
            store=StoreConfig(features=features, copies=1, augment=False),
            other_speeds=(),
            dev_speakers=2,
        ),
        crops=CropConfig(num_speakers=4, num_each=2, seconds=0.6),
        model=SpeakerConfig(
            encoder=TdnnConfig(
                feature_dim=features.dim, stack=3, planes=(4, 8), dim=16, dilations=(1, 2)
            ),
            attention_dim=8,
            pooled_dim=24,
            embedding_dim=16,
        ),
        optimizer=OptimizerConfig(peak_rate=5e-3, warmup_updates=5, average_decay=0.8),
        evaluate_every=15,
        snapshot_every=10,
    )
