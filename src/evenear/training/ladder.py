# SPDX-License-Identifier: Apache-2.0
"""Where gates begin: what may be left out first, measured before anything is learned.

    order_units(model, heard)                  hidden units by how much they say
    rungs = climb_down(model, heard)           the module whose loss hurts least for what it saves,
    begin_on(model.encoder, rungs)             again and again, until nothing is left

From all modules on, one is left out after another, for all frames: attention of a layer, or the
last part of a feed-forward module that is still on. Each gate then begins with the threshold at
which its module was left out. So before the first update a dial turns, in an order that makes
sense, and learning is left to say for which frames it does not.

Legend: B utterances, T feature frames, F feature width, L layers, N hidden units, K toggles of a
layer, D width, V scores.

Source: our own; greedy backward elimination. Units are ranked by the root mean square of what they
say times the norm of their column, as in magnitude pruning with activations (Sun et al. 2023,
arXiv:2306.11695).
"""

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from evenear.encoders.gated.encoder import GatedTransformer
from evenear.encoders.gated.thrift import reorder_units
from evenear.encoders.transformer import LayerCall
from evenear.models.transducer import Transducer

__all__ = ["Rung", "begin_on", "climb_down", "order_units"]

_Heard = Sequence[tuple[Tensor, Tensor]]
"""Padded features (B, T, F), not normalized, and their lengths."""


class Rung(NamedTuple):
    """A module that was left out, and what is computed without it and all before."""

    layer: int
    part: int
    """Of the feed-forward module; -1: attention."""
    share: float
    distance: float
    """How far what is said then lies from what the dense encoder says."""


@torch.no_grad()
def order_units(model: Transducer, heard: _Heard) -> None:
    """Let the feed-forward modules' hidden units stand by how much they say."""
    encoder = model.encoder
    assert isinstance(encoder, GatedTransformer), "only gates have thrifty layers"
    if not len(encoder.thrifty):
        return
    layers = [encoder.backbone.layers[number] for number in range(len(encoder.thrifty))]
    squares_LN = torch.zeros(len(layers), encoder.config.backbone.ff_dim)

    def hear(number: int) -> object:
        def hook(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            squares_LN[number] += given[0].float().square().flatten(0, -2).sum(dim=0)

        return layers[number].narrow.register_forward_pre_hook(hook)  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]

    hooks = [hear(number) for number in range(len(layers))]
    for features_BTF, lengths_B in heard:
        encoder.backbone(model.normalize(features_BTF), lengths_B)
    for hook in hooks:
        hook.remove()  # pyright: ignore[reportAttributeAccessIssue]
    norms_LN = torch.stack([layer.narrow.weight.norm(dim=0) for layer in layers])  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
    order_LN = (squares_LN.sqrt() * norms_LN).argsort(dim=1, descending=True, stable=True)
    reorder_units([encoder.thrifty_layer(number) for number in range(len(layers))], order_LN)


@torch.no_grad()
def climb_down(model: Transducer, heard: _Heard) -> list[Rung]:
    """Leave out one module after another; the cheapest loss for what it saves goes first.

    Lazily: a module is measured again only when it is next by what was measured before.
    """
    encoder = model.encoder
    assert isinstance(encoder, GatedTransformer), "only gates leave out modules"
    num_layers, parts = encoder.config.backbone.num_layers, encoder.config.gates.ff_parts
    on_LK = torch.ones(num_layers, encoder.toggles_per_layer, dtype=torch.bool)
    dense = [_said(model, on_LK, *each) for each in heard]

    def without(layer: int, part: int) -> Tensor:
        left_LK = on_LK.clone()
        left_LK[layer, parts:] &= part >= 0
        if part >= 0:
            left_LK[layer, part] = False
        return left_LK

    def measured(left_LK: Tensor) -> tuple[float, float]:
        found = [_said(model, left_LK, *each) for each in heard]
        apart = [_apart(one, other) for (one, _), (other, _) in zip(found, dense, strict=True)]
        return sum(apart) / len(apart), sum(share for _, share in found) / len(found)

    rungs: list[Rung] = []
    now, share = 0.0, 1.0
    waiting = [(0.0, -1, layer, part) for layer in range(num_layers) for part in (-1, parts - 1)]
    heapq.heapify(waiting)
    while waiting:
        _, when, layer, part = heapq.heappop(waiting)
        distance, spent = measured(without(layer, part))
        price = (distance - now) / max(share - spent, 1e-9)
        if when < len(rungs) and waiting and price > waiting[0][0]:
            heapq.heappush(waiting, (price, len(rungs), layer, part))
            continue
        on_LK = without(layer, part)
        now, share = distance, spent
        rungs.append(Rung(layer, part, share, distance))
        if part > 0:
            heapq.heappush(waiting, (0.0, -1, layer, part - 1))
    return rungs


@torch.no_grad()
def begin_on(encoder: GatedTransformer, rungs: Sequence[Rung], slope: float = 12.0) -> None:
    """Let each gate begin with the threshold at which its module was left out.

    Args:
        encoder: The encoder with gates.
        rungs: As `climb_down` gave them.
        slope: How much more a logit is where all is asked for than where nothing is.
    """
    parts, each = encoder.config.gates.ff_parts, encoder.toggles_per_layer
    threshold_LK = torch.zeros(encoder.config.backbone.num_layers, each)
    before = 1.0
    for rung in rungs:
        own = slice(parts, each) if rung.part < 0 else slice(rung.part, rung.part + 1)
        threshold_LK[rung.layer, own] = (before + rung.share) / 2
        before = rung.share
    ends = [*encoder.starts[1:], len(threshold_LK)]
    arbitrators = encoder.each_arbitrator()
    for first, end, arbitrator in zip(encoder.starts, ends, arbitrators, strict=True):
        threshold_N = threshold_LK[first:end].flatten()
        assert arbitrator.slope_N is not None, "gates that are not told what is asked for have none"
        arbitrator.slope_N.fill_(slope)
        arbitrator.set_biases(slope * (0.5 - threshold_N))


def _said(
    model: Transducer, on_LK: Tensor, features_BTF: Tensor, lengths_B: Tensor
) -> tuple[list[Tensor], float]:
    """What is said with some modules on, frames of all utterances in a row, and what it costs."""
    encoder = model.encoder
    assert isinstance(encoder, GatedTransformer), "only gates leave out modules"
    starts = [*encoder.starts, len(on_LK)]

    def rule(call: LayerCall, x_BTD: Tensor) -> Tensor:
        end = starts[starts.index(call.number) + 1]
        return on_LK[call.number : end].flatten().expand(*x_BTD.shape[:2], -1)

    asked_B = torch.full((len(lengths_B),), 0.5)
    found = encoder.encode_asked(model.normalize(features_BTF), lengths_B, asked_B, rule)
    frames_T = torch.arange(found.encoded.encoded_BTD.shape[1])
    real_BT = frames_T < found.encoded.lengths_B[:, None]
    said_ND = found.encoded.encoded_BTD[real_BT].float()
    heads = [said_ND]
    if model.ctc is not None:
        heads.append(model.ctc(said_ND).log_softmax(dim=1))
    if model.phones is not None:
        phones_NV = model.phone_logits(model.joiner.encoder_proj(said_ND)[None])[0]
        heads.append(phones_NV.log_softmax(dim=1))
    return heads, float(found.spent_BT.sum() / found.dense_BT.sum())


def _apart(found: Sequence[Tensor], dense: Sequence[Tensor]) -> float:
    """Squared distance of frames over their variance, and divergences of what heads say."""
    squared = (found[0] - dense[0]).square().mean() / dense[0].var(dim=0).mean()
    each = [
        (d.exp() * (d - f)).sum(dim=1).mean() for f, d in zip(found[1:], dense[1:], strict=True)
    ]
    return float(squared + sum(each))
