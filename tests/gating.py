# SPDX-License-Identifier: Apache-2.0
"""Gates for tiny models, undecided enough that some are on and some are off.

Legend: B streams, T frames, N toggles, D width.
"""

import torch
from torch import nn

from evenear.config import replace
from evenear.encoders.gated import GateConfig
from evenear.encoders.gated.speech import Plan, SpeechGate, SpeechGateConfig
from evenear.nn.adapter import AdaptedLinear
from evenear.nn.gate import Arbitrator, ArbitratorConfig, StandIn

__all__ = ["BLOCKS", "FRAMES", "SPARING", "THRIFTY", "make_undecided"]

BLOCKS = GateConfig(
    arbitrators=ArbitratorConfig(hidden_dim=9, count=2, bias=0.0), compute=0.5, stand_in_dim=3
)
THRIFTY = GateConfig(
    arbitrators=ArbitratorConfig(hidden_dim=9, count=2, bias=0.0, slope=0.0),
    compute=0.5,
    ff_parts=4,
    adapter_rank=2,
)
SPARING = replace(THRIFTY, speech=SpeechGateConfig(hidden_dim=6))
FRAMES = GateConfig(
    arbitrators=ArbitratorConfig(kind="lstm", hidden_dim=9, bias=0.0, asked=False),
    each_head=True,
    by_block=False,
    compute=0.5,
)


@torch.no_grad()
def make_undecided(module: nn.Module, rng: torch.Generator) -> None:
    """Let every toggle of an arbitrator be on for about half of the frames."""
    if isinstance(module, SpeechGate):
        module.output.weight.mul_(10.0)
        x_BTF = torch.randn(8, 8 * module.stride, module.feature_dim, generator=rng)
        logits_BK, _ = module.step(x_BTF, module.initial_state(8))
        module.threshold.copy_(logits_BK.quantile(0.8))  # two groups of frames make a block
        module.silence_D.normal_(generator=rng)
        module.put_plans([Plan(0.2, 16, 0.3), Plan(0.5, 16, 0.999), Plan(0.7, 8, 1.0)])
    if isinstance(module, AdaptedLinear):
        module.up_OR.normal_(std=0.3, generator=rng)
        if module.order_N is not None:
            module.reorder(torch.randperm(len(module.order_N), generator=rng))
    if isinstance(module, StandIn):
        module.up.weight.normal_(std=0.3, generator=rng)
    if not isinstance(module, Arbitrator):
        return
    module.output.weight.mul_(10.0)
    x_BTD = torch.randn(8, 8, module.dim, generator=rng)
    logits_BTN, _ = module.step(x_BTD, torch.full((8,), 0.5), module.initial_state(8))
    module.output.bias.sub_(logits_BTN.mean(dim=(0, 1)))
