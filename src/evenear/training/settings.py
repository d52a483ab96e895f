# SPDX-License-Identifier: Apache-2.0
"""Everything that decides a training run, as one value that is saved with its results."""

from typing import Literal

from pydantic import Field

from evenear.config import config
from evenear.data.batching.batches import BatchConfig
from evenear.data.batching.store import StoreConfig
from evenear.encoders.configs import EncoderConfig
from evenear.models.transducer import (
    PredictorConfig,
    TransducerConfig,
)

__all__ = ["DataConfig", "ModelConfig", "ObjectiveConfig", "OptimizerConfig", "TrainingConfig"]


@config
class DataConfig:
    """What is learned from, and what is held out."""

    store: StoreConfig = StoreConfig()
    batches: BatchConfig = BatchConfig()
    vocabulary_size: int = Field(default=256, ge=8)
    """Word pieces; fewer are made of texts that do not hold so many."""
    dev_speakers: int = Field(default=12, ge=0)
    """Recorded speakers held out of training to choose checkpoints by; 0: utterances instead."""
    excluded_splits: tuple[str, ...] = ("test",)
    """More splits that are never read, beside those of `evenear.data.corpora.splits`."""


@config
class ModelConfig:
    """A transducer without what the tokenizer decides."""

    encoder: EncoderConfig
    predictor: PredictorConfig = Field(discriminator="kind")
    joiner_dim: int = Field(default=512, ge=1)
    phone_steps: int | None = Field(default=None, ge=1)
    """Steps in which an encoder frame says phones; None: as many as it has feature frames."""

    def transducer(
        self, *, vocabulary_size: int, blank_id: int, with_ctc: bool, phones: int = 0
    ) -> TransducerConfig:
        """The whole config, once the tokenizer is known."""
        return TransducerConfig(
            encoder=self.encoder,
            predictor=self.predictor,
            joiner_dim=self.joiner_dim,
            vocabulary_size=vocabulary_size,
            blank_id=blank_id,
            ctc=with_ctc,
            phones=phones,
            phone_steps=self.phone_steps,
        )


@config
class ObjectiveConfig:
    """The loss."""

    transducer_weight: float = Field(default=1.0, ge=0)
    ctc_weight: float = Field(default=0.3, ge=0)
    """Weight of the auxiliary CTC loss; 0 leaves the head out."""
    phone_weight: float = Field(default=0.3, ge=0)
    """Weight of the auxiliary CTC loss over phones, if pronunciations are given."""
    fastemit: float = Field(default=0.0, ge=0)
    distillation_weight: float = Field(default=0.0, ge=0)
    """Weight of the distance to what a pretrained encoder makes of the whole clean utterance."""
    distilled_part: float = Field(default=1.0, ge=0, le=1)
    """Part of the run in which the teacher is heard; it costs a quarter of an update."""
    detached_updates: int = Field(default=0, ge=0)
    """First updates in which the heads learn and do not move the encoder: fresh heads would destroy
    what a pretrained one knows."""


@config
class OptimizerConfig:
    """AdamW, and Muon if asked for, with a warm-up, a plateau and a decay."""

    peak_rate: float = Field(default=2e-3, gt=0)
    warmup_updates: int = Field(default=500, ge=1)
    decay_from: float = Field(default=0.5, ge=0, le=1)
    """Part of the run after which the rate falls linearly to `final_ratio` of its peak."""
    final_ratio: float = Field(default=0.02, ge=0, le=1)
    muon_ratio: float = Field(default=0.0, ge=0)
    """Muon moves the matrices between layers, at this times the rate; 0 leaves them to AdamW."""
    encoder_ratio: float = Field(default=1.0, ge=0)
    """The encoder's rate is this times that of the rest; 0 freezes it."""
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = Field(default=1e-2, ge=0)
    max_gradient_norm: float = Field(default=5.0, gt=0)
    average_decay: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the moving average of weights that is evaluated and kept."""

    def rate(self, update: int, num_updates: int) -> float:
        """Learning rate of update number `update`, counted from 1."""
        if update < self.warmup_updates:
            return self.peak_rate * update / self.warmup_updates
        start = self.decay_from * num_updates
        if update <= start:
            return self.peak_rate
        left = (num_updates - update) / max(num_updates - start, 1.0)
        return self.peak_rate * (self.final_ratio + (1 - self.final_ratio) * max(left, 0.0))


@config
class TrainingConfig:
    """A training run."""

    name: str
    seed: int = 0
    num_updates: int = Field(ge=1)
    data: DataConfig = DataConfig()
    model: ModelConfig
    objective: ObjectiveConfig = ObjectiveConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the encoder and joiner; the loss, weights and state stay float32."""
    evaluate_every: int = Field(default=500, ge=1)
    snapshot_every: int = Field(default=200, ge=1)
