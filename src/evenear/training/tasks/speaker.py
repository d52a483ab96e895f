# SPDX-License-Identifier: Apache-2.0
"""The task of a speaker verifier: crops of voices, softmax and metric losses, judged by its EER.

The metric loss compares the utterances of a batch: prototypical (which speaker's prototype is it?)
or pairwise (is it the same speaker?, over all pairs). With adversarial reweighting, an adversary
weighs the utterances; it is given to the trainer as `weigh` and lives in the task's part of the
snapshot. Nothing here knows a group: batches hold sound and numbers of speakers.

Legend: B utterances (N times M), N speakers of a batch, M utterances of each, D width of an
embedding, T frames, F feature width, P pairs.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from evenear.config import config
from evenear.data.batching.crops import CropConfig, CropMaker, SpeakerBatch
from evenear.data.batching.store import FrameStore, StoreConfig
from evenear.errors import ConfigError
from evenear.features import FeatureConfig, stack_frames
from evenear.losses.prototypical import AamSoftmax, AngularPrototypical
from evenear.losses.reweighting.arw import (
    Reweighting,
    ReweightingConfig,
    accumulated_pairwise,
    row_shares,
)
from evenear.metrics.verification import ScoreOrder
from evenear.models.speaker import SpeakerConfig, SpeakerModel
from evenear.training.loop.task import Losses, Task
from evenear.training.settings import OptimizerConfig

__all__ = [
    "SpeakerDataConfig",
    "SpeakerHeads",
    "SpeakerLearner",
    "SpeakerObjectiveConfig",
    "SpeakerTask",
    "SpeakerTrainingConfig",
    "all_pairs",
    "embed_store",
]

_BANK = 2048
"""Embeddings of the latest utterances, from which regions are found anew each epoch."""
_AT_ONCE = 32


@config
class SpeakerDataConfig:
    """What is learned from, and who is held out."""

    store: StoreConfig = StoreConfig()
    other_speeds: tuple[float, ...] = (0.9, 1.1)
    """Each makes another speaker of every speaker, from one varied copy of each utterance."""
    dev_speakers: int = Field(default=15, ge=2)
    """Recorded speakers held out of training to follow it by."""
    excluded_splits: tuple[str, ...] = ("test",)
    """More splits that are never read, beside those of `evenear.data.corpora.splits`."""


@config
class SpeakerObjectiveConfig:
    """The losses, and who weighs them."""

    softmax_weight: float = Field(default=1.0, ge=0)
    margin: float = Field(default=0.2, ge=0, lt=1.5)
    """Additive angular margin of the softmax over training speakers, in radians."""
    softmax_scale: float = Field(default=30.0, gt=0)
    metric_weight: float = Field(default=1.0, ge=0)
    metric: Literal["prototypical", "pairwise"] = "prototypical"
    reweighting: ReweightingConfig | None = None
    """None: all utterances count alike, with weight 1."""

    def __post_init__(self) -> None:
        needed = {"aps": "pairwise", "aps-similar": "pairwise", "pw": "pairwise"}
        needed["pw-row"] = "prototypical"
        variant = self.reweighting.variant if self.reweighting is not None else ""
        if needed.get(variant, self.metric) != self.metric:
            raise ConfigError(
                f"The variant {variant} weighs the {needed[variant]} loss, got {self.metric}.",
                hint=f"--set objective.metric={needed[variant]}",
            )


@config
class SpeakerTrainingConfig:
    """A training run of a speaker verifier."""

    name: str
    seed: int = 0
    num_updates: int = Field(ge=1)
    data: SpeakerDataConfig = SpeakerDataConfig()
    crops: CropConfig = CropConfig()
    model: SpeakerConfig = SpeakerConfig()
    objective: SpeakerObjectiveConfig = SpeakerObjectiveConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the network; losses, weights and statistics stay float32."""
    evaluate_every: int = Field(default=500, ge=1)
    snapshot_every: int = Field(default=100, ge=1)


class SpeakerHeads(nn.Module):
    """The losses, with what they learn: classes of training speakers, a scale and an offset."""

    def __init__(
        self, dim: int, objective: SpeakerObjectiveConfig, *, num_speakers: int, num_each: int
    ) -> None:
        super().__init__()
        self.objective, self.num_each = objective, num_each
        self.softmax = AamSoftmax(
            dim, num_speakers, margin=objective.margin, scale=objective.softmax_scale
        )
        self.prototypical = AngularPrototypical()

    def forward(self, embeddings_BD: Tensor, speakers_B: Tensor) -> dict[str, Tensor]:
        """The loss of each utterance by name, each (B,); those of a speaker follow each other."""
        return {
            "softmax": self.softmax(embeddings_BD, speakers_B),
            "metric": self._metric(embeddings_BD, speakers_B),
        }

    def _metric(self, embeddings_BD: Tensor, speakers_B: Tensor) -> Tensor:
        if self.objective.metric == "pairwise":
            logits_BB = self.prototypical.scaled(embeddings_BD @ embeddings_BD.T)
            return accumulated_pairwise(logits_BB, speakers_B)
        losses_NM = self.prototypical(embeddings_BD.unflatten(0, (-1, self.num_each)))
        reweighting = self.objective.reweighting
        if reweighting is not None and reweighting.variant == "pw-row":
            losses_NM = row_shares(losses_NM)
        return losses_NM.flatten()


class SpeakerLearner(nn.Module):
    """The network and the heads of its losses, which training needs and nobody after it."""

    def __init__(self, config: SpeakerTrainingConfig, num_speakers: int) -> None:
        super().__init__()
        self.speaker = SpeakerModel(config.model)
        self.heads = SpeakerHeads(
            config.model.embedding_dim,
            config.objective,
            num_speakers=num_speakers,
            num_each=config.crops.num_each,
        )


class SpeakerTask(Task):
    """Learn to tell voices apart.

    Args:
        settings: The run.
        learner: What is trained.
        crops: Plans and makes batches.
        dev: Utterances of held-out speakers, as they are.
    """

    score_name = "dev_eer"

    def __init__(
        self,
        settings: SpeakerTrainingConfig,
        learner: SpeakerLearner,
        crops: CropMaker,
        dev: FrameStore,
    ) -> None:
        self.settings, self.crops, self.dev = settings, crops, dev
        self.model: SpeakerLearner = learner
        objective = settings.objective
        self.term_weights: Mapping[str, float] = {
            "softmax": objective.softmax_weight,
            "metric": objective.metric_weight,
        }
        self.reweighting: Reweighting | None = None
        if objective.reweighting is not None:
            dim = settings.model.embedding_dim
            self.reweighting = Reweighting(objective.reweighting, dim, seed=settings.seed)
        self._bank_BD = torch.zeros(0, settings.model.embedding_dim)
        self._fitted_epoch = -1

    @property
    def identity(self) -> str:
        """What epochs are planned from, besides the settings; parts are named by what they hold."""
        voices = self.crops.voices
        plan = [
            {name: [part.name for part in store.parts] for name, store in voices.stores.items()},
            list(voices.speakers),
        ]
        return hashlib.blake2b(json.dumps(plan).encode(), digest_size=10).hexdigest()

    def plan(self, epoch: int) -> Sequence[Any]:
        """The batches of an epoch, as speakers."""
        return self.crops.plan(epoch)

    def batch(self, group: Any, epoch: int) -> SpeakerBatch:
        """One batch, varied afresh for this epoch."""
        return self.crops.batch(group, epoch)

    def losses(self, batch: SpeakerBatch, update: int) -> Losses:
        """The losses of a batch, for each utterance."""
        del update  # nothing is drawn here
        is_narrow = self.settings.precision == "bfloat16"
        device = batch.features_BTF.device.type
        with torch.autocast(device, torch.bfloat16, enabled=is_narrow):
            embeddings_BD = self.model.speaker(batch.features_BTF)
        embeddings_BD = embeddings_BD.float()
        terms = self.model.heads(embeddings_BD, batch.speakers_B)
        return Losses(terms, {"embeddings": embeddings_BD.detach()})

    def weigh(self, batch: SpeakerBatch, losses: Losses, update: int) -> Tensor:
        """Weights of utterances by the adversary; it learns on the way."""
        assert self.reweighting is not None, "a run without an adversary has no weights"
        embeddings_BD = losses.side["embeddings"]
        self._bank_BD = torch.cat([self._bank_BD, embeddings_BD.cpu()])[-_BANK:]
        self._fit_regions(int(batch.epoch))
        weights = self.term_weights
        total_B = sum(
            (weights[name] * term_B.detach() for name, term_B in losses.terms.items()),
            torch.zeros(len(embeddings_BD), device=embeddings_BD.device),
        )
        return self.reweighting.weigh(embeddings_BD, total_B, batch.speakers_B, update=update)

    def evaluate(self, model: nn.Module) -> float:
        """Equal error rate over all pairs of the held-out speakers' utterances."""
        assert isinstance(model, SpeakerLearner)
        features = self.crops.features
        embeddings_BD = embed_store(model.speaker, self.dev, features)
        scores_P, is_target_P = all_pairs(embeddings_BD, [u.speaker for u in self.dev.utterances])
        curve = ScoreOrder(scores_P, is_target_P).curve()
        return float("nan") if curve is None else curve.eer

    def heard_seconds(self, batch: SpeakerBatch) -> float:
        """Seconds of sound in a batch."""
        size, frames, _ = batch.features_BTF.shape
        return size * frames * self.crops.features.clock.frame_seconds

    def state_dict(self) -> dict[str, Any]:
        """The adversary, the regions and what they were found from."""
        if self.reweighting is None:
            return {}
        return {
            "reweighting": self.reweighting.state_dict(),
            "bank": self._bank_BD,
            "fitted_epoch": self._fitted_epoch,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state_dict` gave."""
        if self.reweighting is not None:
            self.reweighting.load_state_dict(state["reweighting"])
            self._bank_BD, self._fitted_epoch = state["bank"], state["fitted_epoch"]

    def _fit_regions(self, epoch: int) -> None:
        """Regions are found once an epoch, from the embeddings of the latest utterances."""
        assert self.reweighting is not None
        settings = self.reweighting.settings
        is_due = self._fitted_epoch < epoch or self.reweighting.centroids_KD is None
        if settings.sees_regions and is_due:
            self.reweighting.fit_regions(self._bank_BD, epoch=epoch)
            self._fitted_epoch = epoch


@torch.inference_mode()
def embed_store(model: SpeakerModel, store: FrameStore, features: FeatureConfig) -> np.ndarray:
    """Embeddings (B, D) of stored utterances, in their order."""
    lengths = [utterance.num_frames for utterance in store.utterances]
    order = np.argsort(lengths, kind="stable")
    found_BD = np.zeros((len(store), model.config.embedding_dim), np.float32)
    for start in range(0, len(order), _AT_ONCE):
        chosen = order[start : start + _AT_ONCE]
        stacked = [stack_frames(store.frames(int(i)), features) for i in chosen]
        lengths_B = torch.tensor([len(frames_TF) for frames_TF in stacked])
        padded_BTF = torch.zeros(len(chosen), int(lengths_B.max()), features.dim)
        for b, frames_TF in enumerate(stacked):
            padded_BTF[b, : len(frames_TF)] = torch.from_numpy(frames_TF)
        found_BD[chosen] = model(padded_BTF, lengths_B).numpy()
    return found_BD


def all_pairs(embeddings_BD: np.ndarray, speakers: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Scores (P,) of all pairs of utterances, and whether both are of one speaker."""
    first, second = np.triu_indices(len(speakers), k=1)
    names = np.array(speakers)
    scores_P = np.einsum("bd,bd->b", embeddings_BD[first], embeddings_BD[second])
    return scores_P, names[first] == names[second]
