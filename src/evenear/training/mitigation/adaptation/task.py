# SPDX-License-Identifier: Apache-2.0
"""The task of repairing a recognizer: its own losses, on a chosen mix of speakers.

It wraps the task of training a recognizer and adds what mitigations need: statistics that stay as
they are, cohort ids, and weights of groups.

Legend: B utterances, F feature width, T frames.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from evenear.data.batching.batches import Batch
from evenear.losses.reweighting.groups import GroupWeights
from evenear.seeding import torch_rng_for
from evenear.training.loop.task import Losses, Task
from evenear.training.mitigation.adaptation.adapters import hold_statistics
from evenear.training.mitigation.adaptation.embedding import UNKNOWN, CohortRecognizer
from evenear.training.tasks.transducer import TransducerTask

__all__ = ["MitigationTask"]


class MitigationTask(Task):
    """Learn to recognize the speakers of a mix better, from what is known already.

    Args:
        inner: The task of the recognizer on that mix.
        cohorts: The cohort of each utterance, by its id, counted from 0.
        embedding: The recognizer with embeddings of cohorts, if it has them.
        unknown_chance: Chance that such embeddings are not told the cohort.
        groups: Weighs the cohorts, if their weights move.
        seed: The run's seed.
    """

    score_name = "not_measured"

    def __init__(
        self,
        inner: TransducerTask,
        cohorts: Mapping[str, int],
        *,
        embedding: CohortRecognizer | None = None,
        unknown_chance: float = 0.0,
        groups: GroupWeights | None = None,
        seed: int = 0,
    ) -> None:
        self.inner, self.cohorts, self.seed = inner, cohorts, seed
        self.embedding, self.unknown_chance, self.groups = embedding, unknown_chance, groups
        self.model: nn.Module = inner.model if embedding is None else embedding
        self.term_weights = inner.term_weights

    @property
    def identity(self) -> str:
        """That of the recognizer's task: the mix is in it."""
        return self.inner.identity

    def plan(self, epoch: int) -> Sequence[Any]:
        """The batches of an epoch."""
        return self.inner.plan(epoch)

    def batch(self, group: Any, epoch: int) -> Batch:
        """One batch."""
        return self.inner.batch(group, epoch)

    def losses(self, batch: Batch, update: int) -> Losses:
        """The losses of a batch."""
        hold_statistics(self.model)
        if self.embedding is not None:
            ids_B = self._cohorts(batch) + 1
            rng = torch_rng_for(self.seed, "unknown cohort", update)
            hidden_B = torch.rand(len(ids_B), generator=rng) < self.unknown_chance
            ids_B = ids_B.masked_fill(hidden_B.to(ids_B.device), UNKNOWN)
            shifted_BTF = self.embedding.shifted(batch.features_BTF, ids_B)
            batch = batch._replace(features_BTF=shifted_BTF)
        return self.inner.losses(batch, update)

    def total(self, losses: Losses) -> Tensor:
        """The weighted sum of all terms, (B,)."""
        parts = [self.term_weights[name] * term_B for name, term_B in losses.terms.items()]
        return torch.stack(parts).sum(dim=0)

    def weigh(self, batch: Batch, losses: Losses, update: int) -> Tensor:  # noqa: ARG002
        """Weights (B,) of the utterances, by the group that they are of.

        The groups move by the transducer's loss alone: what counts is whether words are heard.
        """
        assert self.groups is not None, "only where groups are weighed"
        told_B = losses.terms["transducer"].detach()
        groups_B = self._cohorts(batch).to("cpu")
        seconds_B = batch.lengths_B.cpu() * self.inner.batches.features.clock.frame_seconds
        return self.groups.weigh(told_B.cpu(), groups_B, seconds_B).to(told_B.device)

    def evaluate(self, model: nn.Module) -> float:  # noqa: ARG002
        """Not here: candidates are measured alike, and once, when they are trained."""
        return float("nan")

    def heard_seconds(self, batch: Batch) -> float:
        """Seconds of speech in a batch."""
        return self.inner.heard_seconds(batch)

    def state_dict(self) -> dict[str, Any]:
        """The weights of groups."""
        return {} if self.groups is None else {"groups": self.groups.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to such weights."""
        if self.groups is not None:
            self.groups.load_state_dict(state["groups"])

    def _cohorts(self, batch: Batch) -> Tensor:
        ids = [self.cohorts[name] for name in batch.utterance_ids]
        return torch.tensor(ids, device=batch.features_BTF.device)
