# SPDX-License-Identifier: Apache-2.0
"""What a recognizer is trained to lower: the transducer loss and an auxiliary CTC loss.

    loss = mean over utterances of  transducer + ctc_weight * ctc + phone_weight * phones

`ctc` is over tokens, `phones` over the phones of a pronunciation dictionary: they tell few frames
of few speakers apart by what they share with others, which spelling hides. Utterances with a word
that the dictionary does not have add nothing to it.

Legend: B utterances, T frames, D width, U tokens, V vocabulary, N lattice cells in a row.

Source: Graves 2012, arXiv:1211.3711; Graves et al. 2006 (CTC); joint training as in Jeon and Kim
2021, arXiv:2005.11445.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from evenear.data.batches import Batch
from evenear.encoders.base import Encoded
from evenear.losses.transducer import packed_transducer_loss
from evenear.models.transducer import Transducer
from evenear.training.settings import ObjectiveConfig

__all__ = ["Losses", "TransducerObjective"]


class Losses(NamedTuple):
    """Mean losses of a batch, in nats for each utterance; `total` is what to differentiate."""

    total: Tensor
    transducer: Tensor
    ctc: Tensor
    phones: Tensor


class TransducerObjective(nn.Module):
    """A transducer and its training loss, as one module so that wrappers see a `forward`."""

    def __init__(
        self, model: Transducer, config: ObjectiveConfig, *, autocast: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.model, self.config, self.autocast = model, config, autocast

    def forward(self, batch: Batch, hidden_tokens: Tensor | None = None) -> Losses:
        """Losses of a batch. `hidden_tokens` (B, U) marks tokens the predictor may not see."""
        device_type = batch.features_BTF.device.type
        enabled = self.autocast is not None
        with torch.autocast(device_type, dtype=self.autocast, enabled=enabled):
            encoded = self.model.encode(batch.features_BTF, batch.lengths_B)
            predicted_BUD = self.model.predict(batch.targets_BU, hidden_tokens)
            logits_NV = self.model.packed_logits(encoded, predicted_BUD, batch.target_lengths_B)
            ctc_logits_BTV = self.model.ctc(encoded.encoded_BTD) if self.model.ctc else None
            phones = self._phones(encoded) if self.model.phones else None
        transducer_B = packed_transducer_loss(
            logits_NV,
            batch.targets_BU,
            encoded.lengths_B,
            batch.target_lengths_B,
            blank_id=self.model.blank_id,
            fastemit=self.config.fastemit,
        )
        transducer = transducer_B.mean()
        ctc = phone = torch.zeros_like(transducer)
        if ctc_logits_BTV is not None:
            ctc = _ctc(
                Encoded(ctc_logits_BTV, encoded.lengths_B),
                batch.targets_BU,
                batch.target_lengths_B,
                self.model.blank_id,
            ).mean()
        if phones is not None and batch.phones_BP is not None and batch.phone_lengths_B is not None:
            phone_B = _ctc(phones, batch.phones_BP, batch.phone_lengths_B, 0)
            phone = phone_B.masked_fill(batch.phone_lengths_B == 0, 0.0).mean()
        total = transducer + self.config.ctc_weight * ctc + self.config.phone_weight * phone
        return Losses(total, transducer, ctc, phone)

    def _phones(self, encoded: Encoded) -> Encoded:
        """Scores of phones, and how many steps of each utterance are real."""
        projected_BTD = self.model.joiner.encoder_proj(encoded.encoded_BTD)
        stride = self.model.encoder.stride
        return Encoded(self.model.phone_logits(projected_BTD), encoded.lengths_B * stride)


def _ctc(logits: Encoded, targets_BU: Tensor, lengths_B: Tensor, blank_id: int) -> Tensor:
    """CTC losses (B,) of padded logits."""
    return F.ctc_loss(
        logits.encoded_BTD.float().log_softmax(dim=2).transpose(0, 1),
        targets_BU,
        logits.lengths_B,
        lengths_B,
        blank=blank_id,
        reduction="none",
        zero_infinity=True,
    )
