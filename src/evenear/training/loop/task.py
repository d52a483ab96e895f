# SPDX-License-Identifier: Apache-2.0
"""What the loop trains: a task plans epochs, makes batches, gives losses and evaluates.

    trainer = Trainer(task, optimizers, settings, folder)

A recognizer, a separator of two talkers and an embedding of speakers are trained by one loop, which
knows devices, precision, clipping, averaging and snapshots, and nothing of what is learned. A task
gives its losses utterance by utterance and by name, so that whoever weighs utterances (adversarial
reweighting, group DRO) or adds a penalty (elastic weight consolidation) has a place for it.

Legend: B utterances.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor, nn

__all__ = ["Losses", "Penalty", "Task", "Weigher"]


class Losses(NamedTuple):
    """Losses of a batch, by name; each (B,), one for each utterance."""

    terms: Mapping[str, Tensor]
    side: Mapping[str, Tensor] = MappingProxyType({})
    """What else the model said of the batch (gates, masks), for whoever weighs or logs it."""


Weigher = Callable[[Any, Losses, int], Tensor]
"""Weights (B,) of the utterances of a batch, from the batch, its losses and the update's number."""

Penalty = Callable[[nn.Module], Tensor]
"""A scalar that is added to the loss, from the model alone."""


class Task(ABC):
    """Something to learn, without how."""

    model: nn.Module
    """What is trained, averaged and saved."""
    score_name: str
    """What `evaluate` returns, as the log calls it; lower is better."""
    score_is_rate: bool = True
    """Whether that is a rate, which is shown in percent, or something else."""
    term_weights: Mapping[str, float]
    """Weight of each term of the losses in their sum."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """A digest of what `plan` depends on besides the settings: speech, texts, dictionaries."""

    @abstractmethod
    def plan(self, epoch: int) -> Sequence[Any]:
        """The batches of an epoch, unmade: a pure function of data, seed and epoch."""

    @abstractmethod
    def batch(self, group: Any, epoch: int) -> Any:
        """Make a batch of the plan: a NamedTuple on the CPU. Called ahead, in a thread."""

    @abstractmethod
    def losses(self, batch: Any, update: int) -> Losses:
        """The losses of a batch that lies on the model's device.

        Dropout comes from torch's global generators, which the loop seeds for each update.
        """

    @abstractmethod
    def evaluate(self, model: nn.Module) -> float:
        """How badly a model (of the averaged weights, in evaluation mode) does on held-out data.

        NaN where that cannot be said.
        """

    @abstractmethod
    def heard_seconds(self, batch: Any) -> float:
        """Seconds of sound in a batch, padding left out."""

    def state_dict(self) -> dict[str, Any]:
        """What a snapshot must hold besides the model: an adversary, centroids, a Fisher matrix."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to what `state_dict` gave."""
        del state
