# SPDX-License-Identifier: Apache-2.0
"""What a Transformer with gates remembers and gives; and how batches are parted and joined.

Legend: B streams or utterances, T frames (20 ms), P frames of the past, L layers, H heads, D width.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from evenear.encoders.base import Encoded
from evenear.encoders.gated.layer import Toggles
from evenear.encoders.transformer import TransformerState
from evenear.nn.recurrent import LstmState
from evenear.nn.state import map_state

__all__ = ["GatedEncoded", "GatedState", "all_encoded", "joined", "rows_of"]

S = TypeVar("S", bound=tuple[Any, ...])


class GatedState(NamedTuple):
    """State of a Transformer with gates."""

    backbone: TransformerState
    memories: tuple[LstmState, ...]
    present_BLPH: Tensor
    """Which keys of the past were computed; H is 1 where heads are switched together. Places that
    no frame has filled yet count as computed: nothing attends to them."""
    asked_B: Tensor
    spent_B: Tensor
    """Multiply-accumulates so far."""
    dense_B: Tensor
    """What they would have been without gates."""


class GatedEncoded(NamedTuple):
    """Utterances encoded with gates. Toggles are between 0 and 1 in training."""

    encoded: Encoded
    spent_BT: Tensor
    """Multiply-accumulates of each frame (20 ms), gradients included; padding has none."""
    dense_BT: Tensor
    toggles: tuple[Toggles, ...]
    """Of each layer."""


def rows_of(state: GatedState, rows_B: Tensor) -> GatedState:
    """The state of some streams of a batch."""
    return map_state(lambda tensor: tensor[rows_B], state)


def joined(parts: Sequence[S], rows: Sequence[Tensor]) -> S:
    """Results of some rows each as those of all of them, in order."""
    back_B = torch.cat(list(rows)).argsort()
    return map_state(lambda *tensors: torch.cat(tensors, dim=0)[back_B], *parts)


def all_encoded(parts: Sequence[GatedEncoded], rows: Sequence[Tensor]) -> GatedEncoded:
    """Some rows of a batch, each encoded apart, as the whole batch."""
    bare = [
        (*part.encoded[:2], part.spent_BT, part.dense_BT, tuple(each[:3] for each in part.toggles))
        for part in parts
    ]
    encoded_BTD, lengths_B, spent_BT, dense_BT, toggles = joined(bare, rows)
    whole = Encoded(encoded_BTD, lengths_B)
    return GatedEncoded(whole, spent_BT, dense_BT, tuple(Toggles(*each) for each in toggles))
