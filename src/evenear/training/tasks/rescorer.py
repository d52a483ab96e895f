# SPDX-License-Identifier: Apache-2.0
"""The task of a rescorer: what was said, piece by piece, from frames that were heard before.

    loss = cross-entropy of the pieces of each text and of its end, with smoothed labels

The recognizer whose frames it reads stays as it is, so they are heard once and stored (as a repair
does). Some pieces that the decoder reads are replaced by others at random: in a search it reads
what others found, not what was said. Stretches of frames are hidden.

Legend: B utterances, T encoder frames, F feature width, U pieces, V pieces in the vocabulary.

Source: Zhang et al. 2020 (U2), arXiv:2012.05481; labels smoothed as in Szegedy et al. 2015,
arXiv:1512.00567.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from evenear.config import config
from evenear.data.batching.batches import Batch, BatchMaker
from evenear.models.rescorer import Rescorer
from evenear.models.transducer import Transducer
from evenear.seeding import torch_rng_for
from evenear.training.loop.task import Losses, Task
from evenear.training.settings import OptimizerConfig

__all__ = ["RescorerTask", "RescorerTraining"]


@config
class RescorerTraining:
    """How a rescorer is learned."""

    seed: int = 0
    num_updates: int = Field(default=3000, ge=1)
    smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Probability that labels give to all other pieces together."""
    wrong_pieces: float = Field(default=0.1, ge=0, lt=1)
    """Chance that a piece is read as another one."""
    optimizer: OptimizerConfig = OptimizerConfig(
        peak_rate=1e-4,
        warmup_updates=50,
        decay_from=0.5,
        max_gradient_norm=20.0,
        average_decay=0.995,
    )
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    evaluate_every: int = Field(default=500, ge=1)
    snapshot_every: int = Field(default=100, ge=1)


class RescorerTask(Task):
    """Learn to judge readings.

    Args:
        config: How.
        model: The rescorer.
        upper: What is left of the recognizer above the frames that are stored; it stays as is.
        batches: Plans and makes the training batches; their texts are not needed.
        dev: The same of held-out speakers.
        pieces: The pieces of a text, or None where it cannot be written or is longer than the
            rescorer's places, marks before and after it included.
        texts: The text of each utterance id.
    """

    score_name = "dev_nats_per_word"
    score_is_rate = False
    term_weights: Mapping[str, float] = {"pieces": 1.0}

    def __init__(
        self,
        config: RescorerTraining,
        model: Rescorer,
        upper: Transducer,
        batches: BatchMaker,
        dev: BatchMaker,
        pieces: Callable[[str], Sequence[int] | None],
        texts: Mapping[str, str],
    ) -> None:
        self.config, self.batches, self.dev = config, batches, dev
        self.model: Rescorer = model
        self.upper = upper.eval()
        self._texts = texts
        self._pieces = {text: pieces(text) for text in set(texts.values())}
        self._is_narrow = config.precision == "bfloat16"

    @property
    def identity(self) -> str:
        """The speech that is planned."""
        return " ".join(part.name for part in self.batches.store.parts)

    def plan(self, epoch: int) -> Sequence[Any]:
        """The batches of an epoch, as places in the store."""
        return self.batches.plan(epoch)

    def batch(self, group: Any, epoch: int) -> Batch:
        """One batch, varied afresh for this epoch."""
        return self.batches.batch(group, epoch)

    def losses(self, batch: Batch, update: int) -> Losses:
        """Nats of what each utterance says, 0 where its text cannot be written."""
        given_BU, wanted_BU, counts_BU = self._targets(batch)
        config = self.model.config
        rng = torch_rng_for(self.config.seed, "wrong pieces", update)
        is_wrong_BU = torch.rand(given_BU.shape, generator=rng) < self.config.wrong_pieces
        is_wrong_BU[:, : len(config.start)] = False
        others_BU = torch.randint(config.vocabulary_size, given_BU.shape, generator=rng)
        given_BU = torch.where(is_wrong_BU.to(given_BU.device), others_BU.to(given_BU), given_BU)
        logits_BUV = self._logits(self.model, batch, given_BU)
        nats_BU = F.cross_entropy(
            logits_BUV.transpose(1, 2),
            wanted_BU,
            reduction="none",
            label_smoothing=self.config.smoothing,
        )
        return Losses({"pieces": (nats_BU * counts_BU).sum(dim=1)})

    @torch.inference_mode()
    def evaluate(self, model: nn.Module) -> float:
        """Nats for each word that held-out speakers said."""
        assert isinstance(model, Rescorer)
        nats, words = 0.0, 0
        for group in self.dev.plan(0):
            batch = self.dev.batch(group, 0)
            given_BU, wanted_BU, counts_BU = self._targets(batch)
            logits_BUV = self._logits(model, batch, given_BU)
            each_BU = F.cross_entropy(logits_BUV.transpose(1, 2), wanted_BU, reduction="none")
            nats += float((each_BU * counts_BU).sum())
            texts = (self._texts[name] for name in batch.utterance_ids)
            words += sum(len(text.split()) for text in texts if self._pieces[text] is not None)
        return nats / words if words else float("nan")

    def heard_seconds(self, batch: Batch) -> float:
        """Seconds of speech in a batch."""
        return float(batch.lengths_B.sum()) * self.batches.features.clock.frame_seconds

    def _logits(self, model: Rescorer, batch: Batch, given_BU: Tensor) -> Tensor:
        device_type = batch.features_BTF.device.type
        with torch.autocast(device_type, torch.bfloat16, self._is_narrow):
            with torch.no_grad():
                encoded = self.upper.encode(batch.features_BTF, batch.lengths_B)
                frames_BTF = self.upper.joiner.encoder_proj(encoded.encoded_BTD)
            return model(given_BU, frames_BTF, encoded.lengths_B).float()

    def _targets(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Pieces to read, those that follow them, and which of these count, each (B, U)."""
        config, rows = self.model.config, []
        for name in batch.utterance_ids:
            pieces = self._pieces[self._texts[name]]
            rows.append([*config.start, *(pieces or ()), config.end_id])
        longest = max(map(len, rows))
        every_BU = torch.full((len(rows), longest), config.end_id, dtype=torch.int64)
        counts_BU = torch.zeros(len(rows), longest)
        for b, (name, row) in enumerate(zip(batch.utterance_ids, rows, strict=True)):
            every_BU[b, : len(row)] = torch.tensor(row)
            if self._pieces[self._texts[name]] is not None:
                counts_BU[b, len(config.start) : len(row)] = 1.0
        device = batch.features_BTF.device
        every_BU, counts_BU = every_BU.to(device), counts_BU.to(device)
        return every_BU[:, :-1], every_BU[:, 1:], counts_BU[:, 1:]
