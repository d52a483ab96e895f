# SPDX-License-Identifier: Apache-2.0
"""What a two-channel model is trained to lower, named term by term.

    transducer   both channels' transducer losses, with FastEmit and late ends of turns punished
    ctc, phones  the auxiliary losses of each channel, where the model has their heads
    masking      encoder frames of a channel on which nobody speaks, drawn to zero
    separation   for gated models: the channel's features against those of its own sound; for gates
                 that are shares of energy: the cross entropy of the true shares, loud bins first
    activity     where it is decided who speaks: the cross entropy of the four states
    hearing      for gated models: what the recognition encoder makes of the channel, against what
                 it makes of the channel's own sound

Channels are assigned to references in their order (DAT) or in the better order (PIT); the order is
the transducer loss's, or the separation's while no text is learned.

Separation can count more where both speak: where one does, a separator that decides who speaks
hands the mixture on.

Legend: B mixtures, S channels of all mixtures (channel 0 of each, then channel 1 of each), C
channels, R references, T frames, F feature width, D width, U tokens, V vocabulary, N lattice cells,
G groups of frames, A states of who speaks.

Source: Sklyar et al. 2021 and 2022 (see `models.separator`); auxiliary CTC for each channel as in
Raj et al. 2023, SURT 2.0, arXiv:2306.10559. Departs from the papers: `separation` and `hearing`,
which need the sources that a simulation knows, are ours.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from evenear.config import config
from evenear.data.conversations.batches import MixtureBatch
from evenear.encoders.base import Encoded
from evenear.errors import ConfigError
from evenear.losses.assignment import best_assignment, fixed_assignment
from evenear.losses.emission import late_end_penalty, masking_loss
from evenear.losses.transducer.loss import packed_transducer_loss
from evenear.models.activity import state_of
from evenear.models.separator import NUM_CHANNELS, Separated
from evenear.models.twotalkers import SeparatorTransducer

__all__ = ["TwoTalkerObjective", "two_talker_losses"]


_LOUD = 2.0
"""Deviations above the floor from which on a bin counts no more."""
_MOST_NATS = 20.0


@config
class TwoTalkerObjective:
    """The loss; a weight of 0 leaves its term out."""

    transducer_weight: float = Field(default=1.0, ge=0)
    ctc_weight: float = Field(default=0.3, ge=0)
    phone_weight: float = Field(default=0.3, ge=0)
    masking_weight: float = Field(default=0.0, ge=0)
    separation_weight: float = Field(default=0.0, ge=0)
    activity_weight: float = Field(default=0.0, ge=0)
    overlap_factor: float = Field(default=1.0, ge=1)
    """How much more separation counts in frames in which both speak."""
    hearing_weight: float = Field(default=0.0, ge=0)
    fastemit: float = Field(default=0.0, ge=0)
    late_end_weight: float = Field(default=0.0, ge=0)
    """Nats for each frame that an end of turn is late (alpha); 0 does not punish."""
    late_end_buffer_frames: int = Field(default=5, ge=0)
    late_end_most: float = Field(default=20.0, ge=0)
    assignment: Literal["fixed", "best"] = "fixed"
    floor: float = -1.5
    """What counts as silence, in normalized features (deviations below their mean): below it, what
    a channel hears and what its source is count as equal."""

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term that counts."""
        given = {
            "transducer": self.transducer_weight,
            "ctc": self.ctc_weight,
            "phones": self.phone_weight,
            "masking": self.masking_weight,
            "separation": self.separation_weight,
            "activity": self.activity_weight,
            "hearing": self.hearing_weight,
        }
        return {name: weight for name, weight in given.items() if weight}

    @property
    def learns_text(self) -> bool:
        """Whether a term needs what is said, not only how it sounds."""
        return bool(self.weights.keys() - {"separation", "activity", "hearing"})


def two_talker_losses(
    model: SeparatorTransducer, batch: MixtureBatch, settings: TwoTalkerObjective, *, eot_id: int
) -> dict[str, Tensor]:
    """Loss of each mixture, (B,), for each term that counts."""
    weights = settings.weights
    separated = model.separate(batch.features_BTF, batch.lengths_B)
    terms: dict[str, Tensor] = {}
    order_BC: Tensor | None = None
    encoded = None
    if weights.keys() - {"separation", "activity"}:
        encoded = model.recognize(separated, batch.lengths_B)
    if encoded is not None and settings.learns_text:
        losses_BCR = _transducer(model, encoded, batch, settings, eot_id)
        terms["transducer"], order_BC = _assigned(losses_BCR, settings)
        rows_S = _rows(order_BC)
        if "ctc" in weights and model.transducer.ctc is not None:
            logits_STV = model.transducer.ctc(encoded.encoded_BTD)
            targets = (batch.targets_SU[rows_S], batch.target_lengths_S[rows_S])
            terms["ctc"] = _ctc(Encoded(logits_STV, encoded.lengths_B), *targets, model.blank_id)
        if "phones" in weights and model.transducer.phones is not None:
            terms["phones"] = _phones(model, encoded, batch, rows_S)
        if "masking" in weights:
            silent_ST = batch.silent_ST[rows_S][:, : encoded.encoded_BTD.shape[1]]
            terms["masking"] = _sum_of_channels(masking_loss(encoded.encoded_BTD, silent_ST))
    if weights.keys() & {"separation", "activity", "hearing"}:
        losses_BCR = _separation(model, separated, batch, settings)
        if order_BC is None:
            terms["separation"], order_BC = _assigned(losses_BCR, settings)
        else:
            terms["separation"] = losses_BCR.gather(2, order_BC[:, :, None])[..., 0].sum(dim=1)
        if "activity" in weights:
            terms["activity"] = _activity(model, separated, batch)
        if encoded is not None and "hearing" in weights:
            terms["hearing"] = _hearing(model, encoded, batch, _rows(order_BC))
    return {name: terms[name] for name in weights if name in terms}


def _transducer(
    model: SeparatorTransducer,
    encoded: Encoded,
    batch: MixtureBatch,
    settings: TwoTalkerObjective,
    eot_id: int,
) -> Tensor:
    """Transducer losses (B, C, R); those off the diagonal only where they are needed."""
    size = len(batch.lengths_B)
    predicted_SUD = model.transducer.predict(batch.targets_SU)
    losses = {}
    for shift in range(NUM_CHANNELS if settings.assignment == "best" else 1):
        rows_S = torch.arange(NUM_CHANNELS * size).roll(-shift * size)
        targets_SU, lengths_S = batch.targets_SU[rows_S], batch.target_lengths_S[rows_S]
        penalty_STU = None
        if settings.late_end_weight:
            penalty_STU = late_end_penalty(
                targets_SU,
                batch.ends_SU[rows_S],
                encoded.encoded_BTD.shape[1],
                eot_id=eot_id,
                alpha=settings.late_end_weight,
                buffer_frames=settings.late_end_buffer_frames,
                most=settings.late_end_most,
            )
        logits_NV = model.transducer.packed_logits(encoded, predicted_SUD[rows_S], lengths_S)
        loss_S = packed_transducer_loss(
            logits_NV,
            targets_SU,
            encoded.lengths_B,
            lengths_S,
            blank_id=model.blank_id,
            fastemit=settings.fastemit,
            label_penalty=penalty_STU,
        )
        for channel, loss_B in enumerate(loss_S.chunk(NUM_CHANNELS)):
            losses[channel, (channel + shift) % NUM_CHANNELS] = loss_B
    unknown_B = torch.zeros(size)
    every = range(NUM_CHANNELS)
    rows = [torch.stack([losses.get((c, r), unknown_B) for r in every], dim=1) for c in every]
    return torch.stack(rows, dim=1)


def _assigned(losses_BCR: Tensor, settings: TwoTalkerObjective) -> tuple[Tensor, Tensor]:
    if settings.assignment == "best":
        return best_assignment(losses_BCR)
    order_BC = torch.arange(NUM_CHANNELS).expand(len(losses_BCR), -1)
    return fixed_assignment(losses_BCR), order_BC


def _rows(order_BC: Tensor) -> Tensor:
    """For each row of channels the row of its reference."""
    size = len(order_BC)
    return (order_BC.t() * size + torch.arange(size)).flatten()


def _separation(
    model: SeparatorTransducer,
    separated: Separated,
    batch: MixtureBatch,
    settings: TwoTalkerObjective,
) -> Tensor:
    """Distance (B, C, R) between what a channel is given and a source: of features, or of shares.

    Squares, not sizes: most of the time nobody speaks on the second channel, and the median of what
    it may be is silence, where a separator that minds only sizes stays.
    """
    mixture_BTF = model.normalize(batch.features_BTF)
    sources_STF = model.normalize(batch.sources_STF)
    if model.separator.gives_shares:
        heard_STF, wanted_STF = separated.gates_STF, _shares(model, mixture_BTF, sources_STF)
        assert heard_STF is not None
        loud_BTF = (mixture_BTF - settings.floor).clamp(0.0, _LOUD)
    else:
        gated_STF = separated.channels_STD if separated.gated_STF is None else separated.gated_STF
        heard_STF = gated_STF.clamp(min=settings.floor)
        wanted_STF = sources_STF.clamp(min=settings.floor)
        loud_BTF = None
    frames_T = torch.arange(wanted_STF.shape[1])
    valid_BT = (frames_T < batch.lengths_B[:, None]).float()
    counts_B = batch.lengths_B
    if settings.overlap_factor > 1:
        both_BT = _active(model, batch).all(dim=2)
        valid_BT = torch.where(both_BT, settings.overlap_factor, valid_BT)
    if loud_BTF is not None:
        counts_B = valid_BT.sum(dim=1)
    heard, wanted = heard_STF.chunk(NUM_CHANNELS), wanted_STF.chunk(NUM_CHANNELS)
    rows = []
    for heard_BTF in heard:
        columns = []
        for wanted_BTF in wanted:
            if loud_BTF is not None:
                wrong_BTF = F.binary_cross_entropy(heard_BTF, wanted_BTF, reduction="none")
                distance_BT = (wrong_BTF * loud_BTF).mean(dim=2) * valid_BT
            else:
                distance_BT = (heard_BTF - wanted_BTF).square().mean(dim=2) * valid_BT
            columns.append(distance_BT.sum(dim=1) / counts_B)
        rows.append(torch.stack(columns, dim=1))
    return torch.stack(rows, dim=1)


def _shares(model: SeparatorTransducer, mixture_BTF: Tensor, sources_STF: Tensor) -> Tensor:
    """Each source's part of the energy of each bin; with noise, the parts make less than all."""
    nats_STF = (sources_STF - torch.cat([mixture_BTF] * NUM_CHANNELS)) / model.separator.nat_F
    parts_STF = nats_STF.clamp(max=_MOST_NATS).exp()
    sums_BTF = torch.stack(parts_STF.chunk(NUM_CHANNELS)).sum(dim=0).clamp(min=1.0)
    return parts_STF / torch.cat([sums_BTF] * NUM_CHANNELS)


def _active(model: SeparatorTransducer, batch: MixtureBatch) -> Tensor:
    """Whether somebody speaks on each channel in each feature frame, (B, T, C)."""
    num_frames = batch.features_BTF.shape[1]
    silent_ST = batch.silent_ST.repeat_interleave(model.stride, dim=1)[:, :num_frames]
    inside_BT = torch.arange(num_frames) < batch.lengths_B[:, None]
    return torch.stack([~own_BT & inside_BT for own_BT in silent_ST.chunk(NUM_CHANNELS)], dim=2)


def _activity(model: SeparatorTransducer, separated: Separated, batch: MixtureBatch) -> Tensor:
    """Mean cross entropy of who speaks over each mixture's groups, (B,)."""
    if separated.talk_BGA is None:
        raise ConfigError(
            "Only a separator that decides who speaks can learn it.",
            hint="Give the separator an activity, or set activity_weight to 0.",
        )
    joined = model.separator.config.joined
    states_BG = state_of(_active(model, batch), joined)
    loss_BG = F.cross_entropy(separated.talk_BGA.transpose(1, 2), states_BG, reduction="none")
    counts_B = (batch.lengths_B + joined - 1) // joined
    inside_BG = torch.arange(loss_BG.shape[1]) < counts_B[:, None]
    return (loss_BG * inside_BG).sum(dim=1) / counts_B


def _hearing(
    model: SeparatorTransducer, encoded: Encoded, batch: MixtureBatch, rows_S: Tensor
) -> Tensor:
    """Mean square distance of encoder frames to those of each channel's own sound, (B,)."""
    lengths_S = batch.lengths_B.repeat(NUM_CHANNELS)
    with torch.no_grad():
        own_STF = model.normalize(batch.sources_STF[rows_S])
        wanted_STD = model.transducer.encoder(own_STF, lengths_S).encoded_BTD
    frames_T = torch.arange(wanted_STD.shape[1], device=wanted_STD.device)
    valid_ST = frames_T < encoded.lengths_B[:, None]
    distance_ST = (encoded.encoded_BTD - wanted_STD).float().square().mean(dim=2) * valid_ST
    return _sum_of_channels(distance_ST.sum(dim=1) / encoded.lengths_B)


def _phones(
    model: SeparatorTransducer, encoded: Encoded, batch: MixtureBatch, rows_S: Tensor
) -> Tensor:
    projected_STD = model.transducer.joiner.encoder_proj(encoded.encoded_BTD)
    steps = model.transducer.encoder.stride
    logits = Encoded(model.transducer.phone_logits(projected_STD), encoded.lengths_B * steps)
    lengths_S = batch.phone_lengths_S[rows_S]
    return _ctc(logits, batch.phones_SP[rows_S], lengths_S, 0, skip_empty=True)


def _ctc(
    logits: Encoded,
    targets_SU: Tensor,
    lengths_S: Tensor,
    blank_id: int,
    *,
    skip_empty: bool = False,
) -> Tensor:
    loss_S = F.ctc_loss(
        logits.encoded_BTD.float().log_softmax(dim=2).transpose(0, 1),
        targets_SU,
        logits.lengths_B,
        lengths_S,
        blank=blank_id,
        reduction="none",
        zero_infinity=True,
    )
    if skip_empty:
        loss_S = loss_S.masked_fill(lengths_S == 0, 0.0)
    return _sum_of_channels(loss_S)


def _sum_of_channels(loss_S: Tensor) -> Tensor:
    return torch.stack(loss_S.chunk(NUM_CHANNELS)).sum(dim=0)
