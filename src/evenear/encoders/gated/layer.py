# SPDX-License-Identifier: Apache-2.0
"""A layer of a Transformer of which parts are off: masked where it learns, skipped where it works.

A layer has three kinds of toggles for each frame: the feed-forward module, the queries of each
head, and the keys and values of each head.

    off             is then                                     and saves
    feed-forward    left out of the sum, whole or from some     its part of both matrices
                    hidden unit on
    query           a head that says nothing at this frame      its rows of two matrices, its scores
    key             a frame that the head never hears           its rows of two matrices, and a
                                                                score of every frame that would

The toggle that hides a key is that of the key's own frame, not of the frame that asks. A frame all
of whose keys are off hears nothing: zeros. A feed-forward module in parts is on up to a part: those
behind one that is off are off.

Legend: B streams, T frames, S frames that may be attended to (P past ones first), N frames of all
streams in a row, D width, H heads, E width of a head, F hidden units of a feed-forward module, G
parts of it.

Source: Xie et al. 2022, arXiv:2207.02393, section 2.1. Departs from the paper's formula, as its
text does: its mask has the index of the query where it must have that of the key.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from evenear.encoders.transformer import LayerCall, TransformerLayer
from evenear.nn.gate import StandIn

__all__ = ["StandIns", "Toggles", "run_masked", "run_skipping", "say"]

_LEAST = 1e-6
"""A soft toggle is taken for at least this before its logarithm."""


class Toggles(NamedTuple):
    """What is on: True or False, or, where it is learned, anything between 0 and 1."""

    ff_BTG: Tensor
    """Never more than the part before."""
    query_BTH: Tensor
    """H is 1 where all heads are switched together."""
    key_BTH: Tensor
    whole: tuple[int, bool, bool] | None = None
    """Parts of the feed-forward module, queries and keys, where each is the same everywhere."""

    @property
    def ff_share(self) -> Tensor:
        """The share (B, T) of the feed-forward module that is on."""
        return self.ff_BTG.float().mean(dim=2)

    def unasked(self) -> Tensor:
        """The share (B, T) of the heads that do not ask."""
        return 1.0 - self.query_BTH.float().mean(dim=2)


class StandIns(nn.Module):
    """What stands in for attention and for the feed-forward module of a layer."""

    def __init__(self, dim: int, narrow_dim: int) -> None:
        super().__init__()
        self.attention = StandIn(dim, narrow_dim)
        self.ff = StandIn(dim, narrow_dim)


def run_masked(
    call: LayerCall,
    x_BTD: Tensor,
    toggles: Toggles,
    present_BPH: Tensor,
    stand_ins: StandIns | None = None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Compute everything and mask what is off, so that gradients reach the toggles.

    Args:
        call: The layer.
        x_BTD: The frames.
        toggles: What is on for them.
        present_BPH: Which keys of the past there are.
        stand_ins: What is added in place of what is off; None: nothing.

    Returns:
        The frames, and their keys and values.
    """
    layer, attention = call.layer, call.layer.attention
    normed_BTD = layer.attention_norm(x_BTD)
    value_BTHE = attention.value(normed_BTD).unflatten(2, (attention.num_heads, -1))
    value_BTHE = value_BTHE * toggles.key_BTH[..., None].to(value_BTHE.dtype)
    own = attention.key(normed_BTD), value_BTHE.flatten(2)
    keys_BSD, values_BSD = (torch.cat(each, dim=1) for each in zip(call.past, own, strict=True))
    key_BSH = torch.cat([present_BPH.float(), toggles.key_BTH.float()], dim=1)
    query_BTHE = attention.query(normed_BTD).unflatten(2, (attention.num_heads, -1))
    gathered_BTHE = _attend(query_BTHE, keys_BSD, values_BSD, call.attend_BTS, key_BSH)
    gathered_BTHE = gathered_BTHE * toggles.query_BTH[..., None].to(gathered_BTHE.dtype)
    added_BTD = layer.dropout(attention.out(gathered_BTHE.flatten(2)))
    if stand_ins is not None:
        added_BTD = added_BTD + toggles.unasked()[..., None] * stand_ins.attention(x_BTD)
    x_BTD = x_BTD + added_BTD
    ff_BTG = toggles.ff_BTG.to(x_BTD.dtype)
    hidden_BTF = F.gelu(layer.widen(layer.ff_norm(x_BTD)))
    hidden_BTF = (hidden_BTF.unflatten(2, (ff_BTG.shape[2], -1)) * ff_BTG[..., None]).flatten(2)
    bias_D = layer.narrow.bias.to(x_BTD.dtype)
    said_BTD = F.linear(hidden_BTF, layer.narrow.weight) + ff_BTG[..., :1] * bias_D
    added_BTD = layer.dropout(said_BTD)
    if stand_ins is not None:
        added_BTD = added_BTD + (1.0 - ff_BTG[..., :1]) * stand_ins.ff(x_BTD)
    return x_BTD + added_BTD, own


def run_skipping(
    call: LayerCall,
    x_BTD: Tensor,
    toggles: Toggles,
    present_BPH: Tensor,
    stand_ins: StandIns | None = None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Compute only what is on; the same numbers as masking what is off. Toggles are bools."""
    layer, attention = call.layer, call.layer.attention
    queries, answers = _groups(toggles, 1), _groups(toggles, 2)
    normed_ND = x_BTD.flatten(0, 1)
    if queries or answers:
        normed_ND = layer.attention_norm(normed_ND)
    heads = toggles.key_BTH.shape[2]
    new_keys_BTD = _heads_out(attention.key, normed_ND, answers, heads).view_as(x_BTD)
    new_values_BTD = _heads_out(attention.value, normed_ND, answers, heads).view_as(x_BTD)
    if queries:
        keys_BSD = torch.cat([call.past[0].to(new_keys_BTD), new_keys_BTD], dim=1)
        values_BSD = torch.cat([call.past[1].to(new_keys_BTD), new_values_BTD], dim=1)
        query_BTD = _heads_out(attention.query, normed_ND, queries, heads).view_as(x_BTD)
        query_BTHE = query_BTD.unflatten(2, (attention.num_heads, -1))
        key_BSH = torch.cat([present_BPH, toggles.key_BTH], dim=1)
        gathered_BTHE = _attend(query_BTHE, keys_BSD, values_BSD, call.attend_BTS, key_BSH)
        gathered_ND = gathered_BTHE.flatten(2).flatten(0, 1)
        after_BTD = x_BTD + _heads_in(attention.out, gathered_ND, queries, heads).view_as(x_BTD)
    else:
        after_BTD = x_BTD + attention.out.bias.to(x_BTD.dtype)
    if stand_ins is not None:
        after_BTD = _instead(after_BTD, x_BTD, toggles, 1, stand_ins.attention)
    x_BTD = _feed_forward(call, after_BTD, toggles)
    if stand_ins is not None:
        x_BTD = _instead(x_BTD, after_BTD, toggles, 0, stand_ins.ff)
    return x_BTD, (new_keys_BTD, new_values_BTD)


def say(layer: TransformerLayer, x: Tensor, many: int, num_parts: int) -> Tensor:
    """What the first so many parts of a feed-forward module say to frames (…, D)."""
    if many == num_parts:
        return layer.feed_forward(x)
    units = layer.widen.out_features // num_parts * many
    hidden = F.linear(layer.ff_norm(x), layer.widen.weight[:units], layer.widen.bias[:units])
    return F.linear(F.gelu(hidden), layer.narrow.weight[:, :units], layer.narrow.bias)


def _attend(
    query_BTHE: Tensor, keys_BSD: Tensor, values_BSD: Tensor, attend_BTS: Tensor, key_BSH: Tensor
) -> Tensor:
    """What each frame gathers from the keys that there are; zeros where it may see none."""
    heads, dtype = query_BTHE.shape[2], query_BTHE.dtype
    query_BHTE = query_BTHE.transpose(1, 2)
    keys_BHSE = keys_BSD.unflatten(2, (heads, -1)).transpose(1, 2).to(dtype)
    values_BHSE = values_BSD.unflatten(2, (heads, -1)).transpose(1, 2).to(dtype)
    scores_BHTS = query_BHTE @ keys_BHSE.transpose(2, 3) * query_BHTE.shape[3] ** -0.5
    hidden_BHTS = ~attend_BTS[:, None]
    if key_BSH.dtype == torch.bool:
        if not key_BSH.all():
            hidden_BHTS = hidden_BHTS | ~key_BSH.transpose(1, 2)[:, :, None]
    else:
        key_BHS = key_BSH.transpose(1, 2)
        scores_BHTS = scores_BHTS + key_BHS.clamp_min(_LEAST).log()[:, :, None]
        hidden_BHTS = hidden_BHTS | (key_BHS <= 0)[:, :, None]
    scores_BHTS = scores_BHTS.masked_fill(hidden_BHTS, torch.finfo(scores_BHTS.dtype).min)
    weights_BHTS = scores_BHTS.softmax(dim=3).masked_fill(hidden_BHTS, 0.0)
    return (weights_BHTS.to(dtype) @ values_BHSE).transpose(1, 2)


def _groups(toggles: Toggles, kind: int) -> list[tuple[Tensor | None, int, int]]:
    """Neighboring heads that are on for the same frames: those frames (None: all), first, end."""
    on_BTH = toggles.query_BTH if kind == 1 else toggles.key_BTH
    num_heads = on_BTH.shape[2]
    if toggles.whole is not None:
        return [(None, 0, num_heads)] if toggles.whole[kind] else []
    on_NH, first, groups = on_BTH.flatten(0, 1), 0, []
    for head in range(1, num_heads + 1):
        if head < num_heads and torch.equal(on_NH[:, head], on_NH[:, first]):
            continue
        rows_N = on_NH[:, first].nonzero()[:, 0]
        if len(rows_N):
            groups.append((None if len(rows_N) == len(on_NH) else rows_N, first, head))
        first = head
    return groups


def _is_whole(groups: list[tuple[Tensor | None, int, int]], heads: int) -> bool:
    """Whether all heads are on for all frames."""
    return len(groups) == 1 and groups[0][0] is None and groups[0][1:] == (0, heads)


def _heads_out(
    linear: nn.Linear, x_ND: Tensor, groups: list[tuple[Tensor | None, int, int]], heads: int
) -> Tensor:
    """What a matrix gives for the heads that are on; zeros elsewhere."""
    if _is_whole(groups, heads):
        return linear(x_ND)
    width = linear.out_features // heads
    out_ND = x_ND.new_zeros(len(x_ND), linear.out_features)
    for rows_N, first, end in groups:
        part = slice(first * width, end * width)
        bias = None if linear.bias is None else linear.bias[part]
        given_ND = F.linear(x_ND if rows_N is None else x_ND[rows_N], linear.weight[part], bias)
        out_ND = out_ND.to(given_ND.dtype)
        if rows_N is None:
            out_ND[:, part] = given_ND
        else:
            out_ND[rows_N, part] = given_ND
    return out_ND


def _heads_in(
    linear: nn.Linear, x_ND: Tensor, groups: list[tuple[Tensor | None, int, int]], heads: int
) -> Tensor:
    """A matrix over the heads that are on, as if the others were zero."""
    if _is_whole(groups, heads):
        return linear(x_ND)
    width = linear.in_features // heads
    out_ND = linear.bias.to(x_ND.dtype).repeat(len(x_ND), 1)
    for rows_N, first, end in groups:
        part = slice(first * width, end * width)
        given_ND = F.linear(
            x_ND[:, part] if rows_N is None else x_ND[rows_N, part], linear.weight[:, part]
        )
        if rows_N is None:
            out_ND += given_ND
        else:
            out_ND.index_add_(0, rows_N, given_ND.to(out_ND.dtype))
    return out_ND


def _feed_forward(call: LayerCall, x_BTD: Tensor, toggles: Toggles) -> Tensor:
    """Add what the feed-forward module says of the frames that it is on for, as far as it is on."""
    num_parts = toggles.ff_BTG.shape[2]
    if toggles.whole is not None:
        many = toggles.whole[0]
        return x_BTD + say(call.layer, x_BTD, many, num_parts) if many else x_BTD
    parts_N = toggles.ff_BTG.flatten(0, 1).sum(dim=1)
    flat_ND = x_BTD.flatten(0, 1)
    said_ND = flat_ND
    for many in parts_N.unique().tolist():
        if many:
            rows_N = (parts_N == many).nonzero()[:, 0]
            everywhere = len(rows_N) == len(parts_N)
            added_ND = say(call.layer, flat_ND if everywhere else flat_ND[rows_N], many, num_parts)
            said_ND = said_ND.index_add(0, rows_N, added_ND.to(flat_ND.dtype))
    return said_ND.view_as(x_BTD)


def _instead(
    to_BTD: Tensor, x_BTD: Tensor, toggles: Toggles, kind: int, stand_in: StandIn
) -> Tensor:
    """Add what stands in for a module at the frames where it is off, as far as it is."""
    if toggles.whole is not None:
        return to_BTD if toggles.whole[kind] else to_BTD + stand_in(x_BTD)
    off_N = (toggles.unasked() if kind else 1.0 - toggles.ff_BTG[..., 0].float()).flatten()
    rows_N = off_N.nonzero()[:, 0]
    if len(rows_N) == 0:
        return to_BTD
    added_ND = stand_in(x_BTD.flatten(0, 1)[rows_N]) * off_N[rows_N, None]
    flat_ND = to_BTD.flatten(0, 1)
    return flat_ND.index_add(0, rows_N, added_ND.to(flat_ND.dtype)).view_as(to_BTD)
