# SPDX-License-Identifier: Apache-2.0
"""Other ways of computing less with the same encoder: what learned gates must beat.

    window     every frame sees itself, its block and a few frames before it (Xie et al.: 10)
    random     parts of layers are switched on by lot, as often as the gates do
    exit       the last layers are left out, for everything
    blank      the last layers are left out for blocks in which CTC hears nothing by then

All decide block by block and keep the stand-ins that the gates were learned with, so what is
compared is the choice alone.

Legend: B utterances, T frames (20 ms), N toggles, D width, F feature width.

Source: window and random of Xie et al. 2022, arXiv:2207.02393; layers that blanks skip after Zhu et
al. 2024, arXiv:2401.02046 (there with a loss for the intermediate layer, here without).
"""

import torch
from torch import Tensor, nn

from evenear.config import replace
from evenear.encoders.gated.encoder import GatedConfig, GatedEncoded, GatedTransformer
from evenear.encoders.gated.run import Rule
from evenear.encoders.transformer import LayerCall
from evenear.models.transducer import Transducer
from evenear.nn.gate import by_block

__all__ = ["blank_rule", "encode_by", "exit_rule", "random_rule", "with_window"]


def encode_by(
    encoder: GatedTransformer,
    features_BTF: Tensor,
    lengths_B: Tensor,
    asked: float,
    rule: Rule | None = None,
) -> GatedEncoded:
    """Encode utterances that all ask for this share; a rule needs any share below 1."""
    asked_B = torch.full((len(lengths_B),), asked)
    return encoder.encode_asked(features_BTF, lengths_B, asked_B, rule)


def with_window(encoder: GatedTransformer, left_frames: int) -> GatedTransformer:
    """The same encoder, dense, with a shorter past."""
    backbone = replace(encoder.config.backbone, left_frames=left_frames)
    shorter = GatedTransformer(GatedConfig(backbone=backbone, gates=encoder.config.gates))
    shorter.load_state_dict(encoder.state_dict())
    return shorter.eval()


def random_rule(encoder: GatedTransformer, chance: float, generator: torch.Generator) -> Rule:
    """Every toggle of every block is on with this chance."""

    def rule(call: LayerCall, x_BTD: Tensor) -> Tensor:
        num_blocks = -(-x_BTD.shape[1] // call.block)
        size = (len(x_BTD), num_blocks, _toggles(encoder, call.number))
        drawn = torch.rand(size, generator=generator) < chance
        return drawn.repeat_interleave(call.block, dim=1)[:, : x_BTD.shape[1]]

    return rule


def exit_rule(encoder: GatedTransformer, num_layers: int) -> Rule:
    """Only the first layers are run."""

    def rule(call: LayerCall, x_BTD: Tensor) -> Tensor:
        each = encoder.toggles_per_layer
        layers = _toggles(encoder, call.number) // each
        on = [call.number + index < num_layers for index in range(layers) for _ in range(each)]
        return torch.tensor(on).expand(*x_BTD.shape[:2], -1)

    return rule


def blank_rule(model: Transducer, num_layers: int, threshold: float) -> Rule:
    """Layers from this number on are run for blocks that are not surely blank by then.

    Needs an arbitrator's share of the layers to begin at that number.
    """
    encoder, ctc = model.encoder, model.ctc
    assert isinstance(encoder, GatedTransformer), "rules switch gates"
    assert isinstance(ctc, nn.Linear), "blanks are those of a CTC head"
    kept: list[Tensor] = []

    def rule(call: LayerCall, x_BTD: Tensor) -> Tensor:
        size = _toggles(encoder, call.number)
        if call.number < num_layers:
            return torch.ones(*x_BTD.shape[:2], size, dtype=torch.bool)
        if call.number == num_layers:
            reduction = encoder.config.backbone.reduction
            joined_BTD = encoder.backbone.norm(x_BTD).unflatten(1, (-1, reduction)).flatten(2)
            blank_BT = ctc(joined_BTD).softmax(dim=2)[:, :, model.blank_id]
            blank_BT1 = blank_BT.repeat_interleave(reduction, dim=1)[:, :, None]
            kept[:] = [by_block(blank_BT1, call.block, call.frames_B) < threshold]
        return kept[0].expand(-1, -1, size)

    return rule


def _toggles(encoder: GatedTransformer, first: int) -> int:
    """Toggles that are decided where this layer begins."""
    return encoder.each_arbitrator()[encoder.starts.index(first)].num_toggles
