# SPDX-License-Identifier: Apache-2.0
"""A layer of a Transformer as it computes for those who ask for less than all of it.

It begins as the layer itself and owns only what it has learned besides: low-rank additions to the
matrices, vectors of its own, and an order of the feed-forward module's hidden units in which those
come first that matter most. So what is left out of the module lies at its end.

Legend: L layers, N hidden units.

Source: low-rank additions of Hu et al. 2021, arXiv:2106.09685; narrower modules inside wider ones
after Yu et al. 2019 (slimmable networks), arXiv:1812.08928.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from evenear.encoders.transformer import TransformerConfig, TransformerLayer
from evenear.nn.adapter import AdaptedLinear

__all__ = ["adapted_layer", "as_plain", "begin_as", "reorder_units"]


def adapted_layer(base: TransformerLayer, config: TransformerConfig, rank: int) -> TransformerLayer:
    """A layer that says what another says, and can learn to say it in part."""
    with torch.device("meta"):
        layer = TransformerLayer(config)
    for name in ("query", "key", "value", "out"):
        setattr(layer.attention, name, AdaptedLinear(getattr(base.attention, name), rank))
    setattr(layer, "widen", AdaptedLinear(base.widen, rank, reordered="outputs"))  # noqa: B010
    setattr(layer, "narrow", AdaptedLinear(base.narrow, rank, reordered="inputs"))  # noqa: B010
    layer.attention_norm, layer.ff_norm = nn.LayerNorm(config.dim), nn.LayerNorm(config.dim)
    begin_as(base, layer)
    return layer


@torch.no_grad()
def as_plain(layer: TransformerLayer, config: TransformerConfig) -> TransformerLayer:
    """An ordinary layer that says what an adapted one says; it owns its matrices."""
    with torch.device("meta"):
        plain = TransformerLayer(config)
    weights = {}
    for name in plain.state_dict():
        place, _, leaf = name.rpartition(".")
        weights[name] = getattr(layer.get_submodule(place), leaf).detach()
    plain.load_state_dict(weights, assign=True)
    return plain.requires_grad_(False).eval()


@torch.no_grad()
def begin_as(base: TransformerLayer, layer: TransformerLayer) -> None:
    """Forget what an adapted layer has learned: its vectors are those of its base again."""
    own = dict(layer.named_modules())
    for name, module in base.named_modules():
        bias = getattr(module, "bias", None)
        if isinstance(bias, Tensor):
            own[name].bias.copy_(bias)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
        if isinstance(module, nn.LayerNorm):
            own[name].weight.copy_(module.weight)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]


def reorder_units(layers: Sequence[TransformerLayer], order_LN: Tensor) -> None:
    """Let the hidden units of feed-forward modules stand in this order, as they begin."""
    for layer, order_N in zip(layers, order_LN, strict=True):
        for module in (layer.widen, layer.narrow):
            assert isinstance(module, AdaptedLinear), "only adapted layers have an order"
            module.reorder(order_N)
