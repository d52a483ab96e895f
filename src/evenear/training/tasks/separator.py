# SPDX-License-Identifier: Apache-2.0
"""The task of a two-channel model: separate and recognize mixtures that are made on the fly.

A recognizer that was trained on single talkers may be frozen while the separator learns, or be
tuned along with it. Its batch normalization keeps the statistics it has either way: half of what
it hears here are channels on which nobody speaks.

Legend: B mixtures, S channels of all mixtures, U tokens.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn

from evenear.config import config, to_json
from evenear.data.conversations.batches import MixtureBatch, MixtureBatchConfig, MixtureBatchMaker
from evenear.metrics.turns import orc_errors
from evenear.metrics.words import WordErrors
from evenear.models.separator import NUM_CHANNELS, SeparatorConfig
from evenear.models.twotalkers import SeparatorTransducer
from evenear.nn.batchnorm import MaskedBatchNorm
from evenear.search import Hypothesis, greedy_search
from evenear.tokenizer import Tokenizer
from evenear.training.loop.task import Losses, Task
from evenear.training.settings import OptimizerConfig
from evenear.training.twotalkers import TwoTalkerObjective, two_talker_losses

__all__ = ["SeparatorTask", "TwoTalkerConfig", "keep_statistics", "read_channels", "turns_of"]


@config
class TwoTalkerConfig:
    """A training run of a two-channel model."""

    name: str
    seed: int = 0
    num_updates: int = Field(ge=1)
    separator: SeparatorConfig
    turns: Literal["none", "between", "start-and-end"] = "start-and-end"
    """Tokens that mark turns (see `models.separator`)."""
    dev_speakers: int = Field(default=10, ge=1)
    """Speakers held out of training to choose the model by."""
    dev_mixtures: int = Field(default=60, ge=1)
    recordings_of_speaker: int = Field(default=1000, ge=1)
    """At most so many recordings of each speaker are decoded."""
    excluded_splits: tuple[str, ...] = ("test",)
    """Recordings whose `split` attribute is one of these are never read."""
    batches: MixtureBatchConfig = MixtureBatchConfig()
    objective: TwoTalkerObjective = TwoTalkerObjective()
    optimizer: OptimizerConfig = OptimizerConfig()
    begins_with: str = "evenear-en-small"
    """The recognizer that hears each channel, if none is named when the run is begun."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the encoders; losses, weights and state stay float32."""
    recognizer: Literal["frozen", "tuned"] = "tuned"
    """Whether the recognition encoder, predictor and joiner move."""
    evaluate_every: int = Field(default=500, ge=1)
    snapshot_every: int = Field(default=200, ge=1)


class SeparatorTask(Task):
    """Learn to hear two talkers.

    Args:
        config: The run.
        model: The model; its recognizer may be trained already.
        batches: Plans and makes the training mixtures.
        dev: Mixtures of speakers who are not trained on.
    """

    def __init__(
        self,
        config: TwoTalkerConfig,
        model: SeparatorTransducer,
        batches: MixtureBatchMaker,
        dev: Sequence[MixtureBatch],
    ) -> None:
        self.config, self.batches, self.dev = config, batches, dev
        self.model: SeparatorTransducer = model
        self.term_weights: Mapping[str, float] = config.objective.weights
        self.score_is_rate = config.objective.learns_text
        self.score_name = "dev_orc_wer" if self.score_is_rate else "dev_distance"
        if config.recognizer == "frozen":
            model.transducer.requires_grad_(False)

    @property
    def identity(self) -> str:
        """A digest of the recordings that mixtures are made of."""
        voices = [(v.utterance_id, v.text) for v in self.batches.sounds.voices]
        plan = json.dumps([voices, to_json(self.config.batches)])
        return hashlib.blake2b(plan.encode(), digest_size=10).hexdigest()

    def plan(self, epoch: int) -> Sequence[Any]:
        """The batches of an epoch, as names of mixtures."""
        return self.batches.plan(epoch)

    def batch(self, group: Any, epoch: int) -> MixtureBatch:
        """Mix a batch."""
        return self.batches.batch(group, epoch)

    def losses(self, batch: MixtureBatch, update: int) -> Losses:
        """The losses of a batch."""
        del update  # nothing here is drawn but dropout
        keep_statistics(self.model, frozen=self.config.recognizer == "frozen")
        eot_id = self.batches.tokenizer.eot_id
        reduced = self.config.precision == "bfloat16"
        device = batch.features_BTF.device.type
        with torch.autocast(device, dtype=torch.bfloat16, enabled=reduced):
            terms = two_talker_losses(self.model, batch, self.config.objective, eot_id=eot_id)
        return Losses(terms)

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> float:
        """ORC-WER of greedy search on the held-out mixtures, or the loss if nothing is recognized.

        The loss is then how far what the channels are given is from what they should be given.
        The references come from the targets, so they are in the tokenizer's words.
        """
        assert isinstance(model, SeparatorTransducer)
        tokenizer, objective = self.batches.tokenizer, self.config.objective
        if not objective.learns_text:
            terms = [two_talker_losses(model, b, objective, eot_id=-1) for b in self.dev]
            named = self.term_weights.items()
            sums = [sum(weight * t[name].mean() for name, weight in named) for t in terms]
            return float(sum(sums)) / len(sums)
        total = WordErrors()
        for batch in self.dev:
            heard = read_channels(model, batch)
            for b in range(len(batch.lengths_B)):
                references = []
                for row in range(b, len(batch.targets_SU), len(batch.lengths_B)):
                    tokens_U = batch.targets_SU[row, : batch.target_lengths_S[row]].tolist()
                    references += turns_of(tokens_U, tokenizer) or [tokenizer.decode(tokens_U)]
                said = [tokenizer.decode(own[b].tokens) for own in heard]
                total += orc_errors([text for text in references if text], said)
        return float("nan") if total.rate is None else total.rate

    def heard_seconds(self, batch: MixtureBatch) -> float:
        """Seconds of sound in a batch."""
        return float(batch.lengths_B.sum()) * self.batches.features.clock.frame_seconds


def keep_statistics(model: SeparatorTransducer, *, frozen: bool) -> None:
    """Put what may not move into evaluation mode: all of a frozen recognizer, or its norms."""
    if frozen:
        model.transducer.eval()
    for module in model.transducer.modules():
        if isinstance(module, MaskedBatchNorm):
            module.eval()


@torch.no_grad()
def read_channels(model: SeparatorTransducer, batch: MixtureBatch) -> tuple[list[Hypothesis], ...]:
    """Greedy readings of each mixture, channel by channel."""
    encoded = model.encode(batch.features_BTF, batch.lengths_B)
    found = greedy_search(model.transducer, encoded)
    size = len(batch.lengths_B)
    return tuple(found[c * size : (c + 1) * size] for c in range(NUM_CHANNELS))


def turns_of(tokens: Sequence[int], tokenizer: Tokenizer) -> list[str]:
    """Texts of the turns of one channel, parted at its marks; none without words."""
    parts: list[list[int]] = [[]]
    for token in tokens:
        if token in (tokenizer.sot_id, tokenizer.eot_id):
            parts.append([])
        else:
            parts[-1].append(token)
    return [text for part in parts if (text := tokenizer.decode(part))]
