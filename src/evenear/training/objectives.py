# SPDX-License-Identifier: Apache-2.0
"""What a recognizer is trained to lower: the transducer loss and auxiliary CTC losses.

    loss = mean over utterances of
           transducer + ctc_weight * ctc + phone_weight * phones + distillation_weight * distance

`ctc` is over tokens, `phones` over the phones of a pronunciation dictionary: they tell few frames
of few speakers apart by what they share with others, which spelling hides. Utterances with a word
that the dictionary does not have add nothing to it.

Legend: B utterances, T frames, D width, U tokens, V vocabulary, N lattice cells in a row.

Source: Graves 2012, arXiv:1211.3711; Graves et al. 2006 (CTC); joint training as in Jeon and Kim
2021, arXiv:2005.11445.
"""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from evenear.data.batching.batches import Batch
from evenear.encoders.base import Encoded
from evenear.losses.transducer.loss import packed_transducer_loss
from evenear.models.transducer import Transducer
from evenear.training.distillation import Teacher
from evenear.training.loop.task import Losses
from evenear.training.settings import ObjectiveConfig

__all__ = ["TransducerObjective"]


class TransducerObjective:
    """The training losses of a transducer, in nats for each utterance.

    Args:
        model: The transducer.
        config: Weights of the terms, and FastEmit.
        autocast: Arithmetic of encoder and joiner; None: that of the weights.
        teacher: The encoder that the model's own is to become like; None: nobody.
    """

    def __init__(
        self,
        model: Transducer,
        config: ObjectiveConfig,
        *,
        autocast: torch.dtype | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        self.model, self.config, self.autocast = model, config, autocast
        self.teacher = teacher

    @property
    def term_weights(self) -> dict[str, float]:
        """Weights of the terms in their sum."""
        return {
            "transducer": self.config.transducer_weight,
            "ctc": self.config.ctc_weight,
            "phones": self.config.phone_weight,
            "distillation": self.config.distillation_weight,
        }

    def losses(
        self,
        batch: Batch,
        hidden_tokens: Tensor | None = None,
        *,
        is_detached: bool = False,
        is_frozen: bool = False,
        is_taught: bool = True,
    ) -> Losses:
        """Losses of a batch.

        Args:
            batch: The batch.
            hidden_tokens: Marks tokens (B, U) that the predictor may not see.
            is_detached: The heads learn without moving the encoder.
            is_frozen: Nothing moves the encoder, so an update costs a third.
            is_taught: The teacher is heard, if there is one.
        """
        device_type = batch.features_BTF.device.type
        enabled = self.autocast is not None
        terms: dict[str, Tensor] = {}
        with torch.autocast(device_type, dtype=self.autocast, enabled=enabled):
            with torch.set_grad_enabled(torch.is_grad_enabled() and not is_frozen):
                encoded = self.model.encode(batch.features_BTF, batch.lengths_B)
            if self.teacher is not None and is_taught and batch.clean_BTF is not None:
                terms["distillation"] = self.teacher.distances(
                    encoded, batch.clean_BTF, batch.lengths_B
                )
            if is_detached:
                encoded = encoded._replace(encoded_BTD=encoded.encoded_BTD.detach())
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
        terms["transducer"] = transducer_B
        if ctc_logits_BTV is not None:
            terms["ctc"] = _ctc(
                Encoded(ctc_logits_BTV, encoded.lengths_B),
                batch.targets_BU,
                batch.target_lengths_B,
                self.model.blank_id,
            )
        if phones is not None and batch.phones_BP is not None and batch.phone_lengths_B is not None:
            phone_B = _ctc(phones, batch.phones_BP, batch.phone_lengths_B, 0)
            terms["phones"] = phone_B.masked_fill(batch.phone_lengths_B == 0, 0.0)
        return Losses(terms)

    def _phones(self, encoded: Encoded) -> Encoded:
        """Scores of phones, and how many steps of each utterance are real."""
        projected_BTD = self.model.joiner.encoder_proj(encoded.encoded_BTD)
        steps = self.model.phone_steps
        return Encoded(self.model.phone_logits(projected_BTD), encoded.lengths_B * steps)


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
