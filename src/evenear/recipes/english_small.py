# SPDX-License-Identifier: Apache-2.0
"""The recipe of the shipped English model, its rivals of equal size, and a tiny one to try."""

from evenear.config import replace
from evenear.data.batching.augmentation import FrameAugmentation
from evenear.data.batching.batches import BatchConfig
from evenear.data.batching.store import StoreConfig
from evenear.encoders.configs import EncoderConfig
from evenear.encoders.conformer import ConformerConfig
from evenear.encoders.convrnn import ConvRnnConfig, GlobalCnnConfig, LocalCnnConfig
from evenear.encoders.lstm import LstmEncoderConfig
from evenear.models.transducer import (
    LstmPredictorConfig,
)
from evenear.nn.recurrent import LstmStackConfig
from evenear.training.settings import (
    DataConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimizerConfig,
    TrainingConfig,
)

__all__ = ["conformer", "continued", "lstm", "recipe", "tiny", "words"]


def recipe() -> TrainingConfig:
    """`evenear-en-small`: ConvRNN-T of 6 M parameters on read and synthesized English.

    The first stage of the shipped model; its card tells of the stages that followed.
    """
    layers = LstmStackConfig(num_layers=4, hidden_dim=384, dim=256, layer_norm=True, residual=True)
    encoder = ConvRnnConfig(
        local=LocalCnnConfig(channels=(16, 32, 32, 32), planes=3, frequency_strides=(2, 2, 2, 1)),
        global_cnn=GlobalCnnConfig(num_blocks=2, separable=True, se_reduction=4),
        lstm=layers,
        reduction=2,
    )
    predictor = LstmPredictorConfig(
        embedding_dim=128,
        lstm=LstmStackConfig(num_layers=1, hidden_dim=256, dim=256, dropout=0.2),
        token_dropout=0.1,
    )
    return TrainingConfig(
        name="evenear-en-small",
        num_updates=12_000,
        data=DataConfig(
            store=StoreConfig(copies=8, synthesized_copies=1),
            batches=BatchConfig(
                seconds=40.0,
                easy_epochs=2,
                augmentation=FrameAugmentation(
                    warp_chance=0.5, tempo_chance=0.5, max_frequency_ratio=0.25
                ),
            ),
            vocabulary_size=128,
        ),
        model=ModelConfig(encoder=encoder, predictor=predictor, joiner_dim=256),
        optimizer=OptimizerConfig(peak_rate=1.5e-3, warmup_updates=300, max_gradient_norm=20.0),
        precision="bfloat16",
    )


def continued() -> TrainingConfig:
    """More updates for a model that listens already (`--start-from`): larger batches, varied less.

    Meant for mostly recorded speech: `--data REAL:10 --data SYNTHESIZED:0.25`.
    """
    base = recipe()
    varied = FrameAugmentation(warp_chance=0.3, tempo_chance=0.3, max_frequency_ratio=0.15)
    batches = BatchConfig(seconds=96.0, augmentation=varied)
    return replace(
        base,
        name="evenear-en-small-continued",
        num_updates=2000,
        evaluate_every=250,
        data=replace(base.data, batches=batches),
        optimizer=replace(base.optimizer, peak_rate=1e-3, warmup_updates=50, decay_from=0.05),
    )


def words() -> TrainingConfig:
    """More updates for such a model that also learn phones, so that it can search for words.

    Meant for `--start-from MODEL --splice-with MODEL --pronunciations DICTIONARY` and mostly
    recorded speech: the last stage of the shipped model.
    """
    base = continued()
    varied = FrameAugmentation(warp_chance=0.5, tempo_chance=0.5, max_frequency_ratio=0.25)
    return replace(
        base,
        name="evenear-en-small-words",
        num_updates=8500,
        evaluate_every=500,
        data=replace(base.data, batches=BatchConfig(seconds=64.0, augmentation=varied)),
        objective=ObjectiveConfig(phone_weight=1.0),
        optimizer=replace(
            base.optimizer,
            peak_rate=6e-4,
            muon_ratio=2.0,
            warmup_updates=50,
            decay_from=0.15,
        ),
    )


def lstm() -> TrainingConfig:
    """The same run with the RNN-T baseline's encoder."""
    layers = LstmStackConfig(num_layers=5, hidden_dim=384, dim=256, layer_norm=True, residual=True)
    return _with_encoder("evenear-en-small-lstm", LstmEncoderConfig(lstm=layers, reduction=2))


def conformer() -> TrainingConfig:
    """The same run with a causal Conformer. One run of 1,100 updates had not begun to align."""
    encoder = ConformerConfig(
        dim=192, num_layers=8, ff_dim=768, kernel=15, left_frames=64, reduction=2
    )
    return _with_encoder("evenear-en-small-conformer", encoder)


def _with_encoder(name: str, encoder: EncoderConfig) -> TrainingConfig:
    base = recipe()
    return replace(base, name=name, model=replace(base.model, encoder=encoder))


def tiny() -> TrainingConfig:
    """A 0.3 M parameter LSTM transducer, to see the whole path work in a minute."""
    layers = LstmStackConfig(num_layers=2, hidden_dim=96, dim=64, dropout=0.0, layer_norm=True)
    return TrainingConfig(
        name="tiny",
        num_updates=60,
        data=DataConfig(
            store=StoreConfig(copies=1),
            batches=BatchConfig(seconds=30.0, augmentation=None),
            vocabulary_size=48,
            dev_speakers=1,
        ),
        model=ModelConfig(
            encoder=LstmEncoderConfig(lstm=layers, reduction=2),
            predictor=LstmPredictorConfig(
                embedding_dim=32, lstm=LstmStackConfig(num_layers=1, hidden_dim=64, dim=64)
            ),
            joiner_dim=64,
        ),
        optimizer=OptimizerConfig(warmup_updates=10),
        evaluate_every=30,
        snapshot_every=20,
    )
