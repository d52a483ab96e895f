# SPDX-License-Identifier: Apache-2.0
"""The recipe of `evenear-en`: a pretrained encoder made to stream, and heads of its own."""

from evenear.config import replace
from evenear.data.batching.augmentation import FrameAugmentation, WaveformAugmentation
from evenear.data.batching.batches import BatchConfig
from evenear.data.batching.store import StoreConfig
from evenear.encoders.transformer import TransformerConfig
from evenear.features import FeatureConfig
from evenear.models.transducer import LstmPredictorConfig
from evenear.nn.recurrent import LstmStackConfig
from evenear.training.settings import (
    DataConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimizerConfig,
    TrainingConfig,
)

__all__ = ["heads", "recipe", "tuned"]


def recipe() -> TrainingConfig:
    """`evenear-en`, first stage: the encoder learns to stream while the heads learn to read it.

    Meant for `--encoder-from WHISPER-TINY.EN --pronunciations DICTIONARY`. At first the heads learn
    from an encoder that only its teacher moves; then all move together, the encoder slowly. The
    shipped model's run was stopped after 800 of the updates.
    """
    features = FeatureConfig.whisper()
    encoder = TransformerConfig(
        feature_dim=features.dim, right_frames=32, training_blocks=(16, 32, 64, 128), dropout=0.05
    )
    predictor = LstmPredictorConfig(
        embedding_dim=128,
        lstm=LstmStackConfig(num_layers=1, hidden_dim=256, dim=256, dropout=0.2),
        token_dropout=0.1,
    )
    waveform = WaveformAugmentation(
        speeds=(1.0,),
        room_chance=0.2,
        noise_chance=0.4,
        noise_snr_db=(3.0, 30.0),
        gain_db=(-40.0, 6.0),
        telephone_chance=0.15,
        music_chance=0.1,
        aside_chance=0.15,
    )
    batches = BatchConfig(
        seconds=48.0,
        max_seconds=16.0,
        trim_chance=0.5,
        join_chance=0.2,
        augmentation=FrameAugmentation(
            warp_chance=0.0, tempo_chance=0.0, max_frequency_ratio=0.2, time_mask_ratio=0.04
        ),
    )
    return TrainingConfig(
        name="evenear-en",
        num_updates=1100,
        data=DataConfig(
            store=StoreConfig(features=features, copies=4, synthesized_copies=2, waveform=waveform),
            batches=batches,
            vocabulary_size=128,
        ),
        model=ModelConfig(encoder=encoder, predictor=predictor, joiner_dim=320, phone_steps=1),
        objective=ObjectiveConfig(
            ctc_weight=0.5,
            phone_weight=0.5,
            distillation_weight=30.0,
            distilled_part=0.35,
            detached_updates=300,
        ),
        optimizer=OptimizerConfig(
            peak_rate=2e-3,
            encoder_ratio=0.1,
            warmup_updates=100,
            decay_from=0.5,
            max_gradient_norm=20.0,
            average_decay=0.997,
        ),
        precision="bfloat16",
        evaluate_every=200,
        snapshot_every=50,
    )


def heads() -> TrainingConfig:
    """The second stage (`--start-from`): the heads learn to read an encoder that stays as it is.

    They need many more updates than the encoder, and without it an update costs a third.
    """
    base = recipe()
    varied = FrameAugmentation(
        warp_chance=0.3, tempo_chance=0.3, max_frequency_ratio=0.2, time_mask_ratio=0.04
    )
    return replace(
        base,
        name="evenear-en-heads",
        num_updates=1000,
        data=replace(base.data, batches=replace(base.data.batches, augmentation=varied)),
        objective=replace(base.objective, distillation_weight=0.0, detached_updates=0),
        optimizer=replace(
            base.optimizer, peak_rate=2e-3, encoder_ratio=0.0, warmup_updates=20, decay_from=0.5
        ),
    )


def tuned() -> TrainingConfig:
    """The third stage (`--start-from`): all moves together, gently.

    Its last weights hear hardly better than those it began with; the mean of both does
    (`evenear average`), which is what is shipped.
    """
    base = heads()
    return replace(
        base,
        name="evenear-en-tuned",
        num_updates=700,
        evaluate_every=175,
        optimizer=replace(
            base.optimizer,
            peak_rate=2e-4,
            encoder_ratio=1.0,
            warmup_updates=40,
            decay_from=0.3,
            average_decay=0.995,
        ),
    )
