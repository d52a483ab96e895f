# SPDX-License-Identifier: Apache-2.0
"""Turn the dial by what is spent: measure what gates cost, and make their table from it.

    model = with_gates(bundle.model, GateConfig(adapter_rank=32))
    ... Trainer(GateTask(...)).run() ...
    calibrate(model, heard)

Legend: B utterances, T feature frames, F feature width.

Source: gates of Xie et al. 2022, arXiv:2207.02393; the calibration is ours.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from evenear.encoders.gated.encoder import GatedTransformer
from evenear.models.transducer import Transducer

__all__ = ["calibrate", "measured_shares"]

_TOLD = (
    *(-0.3, -0.15, 0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3),
    *(0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3),
)
"""What arbitrators are told while it is measured what they then spend."""


@torch.no_grad()
def measured_shares(
    model: Transducer, heard: Iterable[tuple[Tensor, Tensor]], asked: Sequence[float]
) -> list[float]:
    """The share of the dense work that speech costs when these shares are asked for.

    Args:
        model: A recognizer with gates.
        heard: Padded features (B, T, F), not normalized, and their lengths.
        asked: Shares to ask for.
    """
    encoder = model.encoder
    assert isinstance(encoder, GatedTransformer), "only gates have a dial"
    spent, dense = [0.0] * len(asked), [0.0] * len(asked)
    for features_BTF, lengths_B in heard:
        normed_BTF = model.normalize(features_BTF)
        for place, share in enumerate(asked):
            asked_B = torch.full((len(lengths_B),), share)
            found = encoder.encode_asked(normed_BTF, lengths_B, asked_B)
            spent[place] += float(found.spent_BT.double().sum())
            dense[place] += float(found.dense_BT.double().sum())
    return [one / max(all_, 1.0) for one, all_ in zip(spent, dense, strict=True)]


def calibrate(model: Transducer, heard: Sequence[tuple[Tensor, Tensor]]) -> list[float]:
    """Make the table that turns what is asked for into what arbitrators are told.

    Returns:
        What was spent when the arbitrators were told each of the probed values.
    """
    encoder = model.encoder
    assert isinstance(encoder, GatedTransformer), "only gates have a dial"
    if encoder.config.gates.arbitrators.asked:
        told = list(_TOLD)
    else:
        told = [20.0 * value - 10.0 for value in _TOLD]  # added to every logit
    encoder.told_G.copy_(torch.linspace(told[0], told[-1], len(encoder.told_G)))
    first, last = told[0], told[-1]
    spent = measured_shares(model, heard, [(value - first) / (last - first) for value in told[:-1]])
    spent += measured_shares(model, heard, [1.0 - 1e-6])
    encoder.calibrate(told, spent)
    return spent
