# SPDX-License-Identifier: Apache-2.0
"""The task of a recognizer: transducer and CTC losses over stored speech, judged by its words.

Legend: B utterances, U tokens.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from evenear.data.batching.batches import Batch, BatchMaker
from evenear.metrics.words import WordErrors
from evenear.models.transducer import Transducer
from evenear.seeding import torch_rng_for
from evenear.training.distillation import Teacher
from evenear.training.loop.task import Losses, Task
from evenear.training.objectives import TransducerObjective
from evenear.training.settings import TrainingConfig

__all__ = ["TransducerTask"]


class TransducerTask(Task):
    """Learn to recognize.

    Args:
        config: The run.
        model: The transducer.
        batches: Plans and makes the training batches.
        recognize: Recognizes the held-out speakers with a model; counts words.
        teacher: The encoder that the model's own is to become like; None: nobody.
    """

    score_name = "dev_wer"

    def __init__(
        self,
        config: TrainingConfig,
        model: Transducer,
        batches: BatchMaker,
        recognize: Callable[[Transducer], WordErrors],
        teacher: Teacher | None = None,
    ) -> None:
        self.config, self.batches, self.recognize = config, batches, recognize
        self.model: Transducer = model
        autocast = torch.bfloat16 if config.precision == "bfloat16" else None
        self.objective = TransducerObjective(
            model, config.objective, autocast=autocast, teacher=teacher
        )
        self.term_weights: Mapping[str, float] = self.objective.term_weights

    @property
    def identity(self) -> str:
        """What epochs are planned from, besides the settings; parts are named by what they hold."""
        plan = [
            [part.name for part in self.batches.store.parts],
            sorted(self.batches.repeats.items()),
            sorted(
                (*key, list(splice_points))
                for key, splice_points in (self.batches.splice_points or {}).items()
            ),
            sorted(self.batches.lexicon.pronunciations.items()) if self.batches.lexicon else [],
        ]
        return hashlib.blake2b(json.dumps(plan).encode(), digest_size=10).hexdigest()

    def plan(self, epoch: int) -> Sequence[Any]:
        """The batches of an epoch, as places in the store."""
        return self.batches.plan(epoch)

    def batch(self, group: Any, epoch: int) -> Batch:
        """One batch, varied afresh for this epoch."""
        return self.batches.batch(group, epoch)

    def losses(self, batch: Batch, update: int) -> Losses:
        """The losses of a batch."""
        hidden_BU, chance = None, self.model.config.predictor.token_dropout
        if chance:
            rng = torch_rng_for(self.config.seed, "hidden tokens", update)
            drawn_BU = torch.rand(batch.targets_BU.shape, generator=rng)
            hidden_BU = (drawn_BU < chance).to(batch.targets_BU.device)
        settings = self.config.objective
        return self.objective.losses(
            batch,
            hidden_BU,
            is_detached=update <= settings.detached_updates,
            is_frozen=self.config.optimizer.encoder_ratio == 0,
            is_taught=update <= settings.distilled_part * self.config.num_updates,
        )

    def evaluate(self, model: nn.Module) -> float:
        """WER of the held-out speakers."""
        assert isinstance(model, Transducer)
        rate = self.recognize(model).rate
        return float("nan") if rate is None else rate

    def heard_seconds(self, batch: Batch) -> float:
        """Seconds of speech in a batch."""
        return float(batch.lengths_B.sum()) * self.batches.features.clock.frame_seconds
