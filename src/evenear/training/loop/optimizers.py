# SPDX-License-Identifier: Apache-2.0
"""Which optimizer moves which weights.

AdamW can move all of them. On request Muon moves the matrices between layers: it takes the momentum
of a matrix and sets all its singular values to about 1, so that directions which few frames speak
for are learned as well. Embeddings, the layers that end in scores of tokens, convolutions over
frequency and vectors stay with AdamW, as Muon's author advises.

Source: Loshchilov and Hutter 2019, AdamW, arXiv:1711.05101; Muon: Jordan et al. 2024, scaled to the
steps of AdamW as in Liu et al. 2025, arXiv:2502.16982 (torch.optim.Muon computes it).
"""

import torch
from torch import nn

from evenear.models.transducer import Transducer
from evenear.training.settings import OptimizerConfig

__all__ = ["build_optimizers", "matrices_between_layers"]


def build_optimizers(model: nn.Module, settings: OptimizerConfig) -> list[torch.optim.Optimizer]:
    """Optimizers that together move each parameter once.

    Each of their groups has a `rate_ratio`: its learning rate is that times the schedule's. Muon is
    for transducers: which matrices lie between layers is known of them.
    """
    hidden: list[nn.Parameter] = []
    if settings.muon_ratio:
        assert isinstance(model, Transducer), "only of transducers is known what Muon may move"
        hidden = matrices_between_layers(model)
    taken = {id(parameter) for parameter in hidden}
    of_encoder = {id(p) for name, p in model.named_parameters() if name.startswith("encoder.")}
    parts = [
        (settings.encoder_ratio, [p for p in model.parameters() if id(p) in of_encoder]),
        (1.0, [p for p in model.parameters() if id(p) not in of_encoder]),
    ]
    if settings.encoder_ratio == 1.0:
        parts = [(1.0, list(model.parameters()))]
    groups = [
        {
            "params": [p for p in part if (p.ndim > 1) == decays and id(p) not in taken],
            "weight_decay": settings.weight_decay if decays else 0.0,
            "rate_ratio": ratio,
        }
        for ratio, part in parts
        for decays in (True, False)
    ]
    adam = torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=0.0,
        betas=settings.betas,
        eps=1e-9,
        fused=True,  # a tenth of a small model's update otherwise
    )
    if not hidden:
        return [adam]
    muons = [
        {"params": [p for p in part if id(p) in taken], "rate_ratio": settings.muon_ratio * ratio}
        for ratio, part in parts
    ]
    muon = torch.optim.Muon(
        [group for group in muons if group["params"]],
        lr=0.0,
        weight_decay=settings.weight_decay,
        adjust_lr_fn="match_rms_adamw",
    )
    return [adam, muon]


def matrices_between_layers(model: Transducer) -> list[nn.Parameter]:
    """Weight matrices that read one hidden layer and write another."""
    ends: list[nn.Module] = [m for m in model.modules() if isinstance(m, nn.Embedding)]
    ends += [model.joiner.output, *filter(None, (model.ctc, model.phones))]
    outside = {id(parameter) for module in ends for parameter in module.parameters()}
    return [p for p in model.parameters() if p.ndim == 2 and id(p) not in outside]
