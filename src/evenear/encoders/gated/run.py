# SPDX-License-Identifier: Apache-2.0
"""One pass through the layers of a Transformer with gates: decide, run, count.

A layer's toggles are decided when its arbitrator's share of the layers begins, so an arbitrator may
hear what the layers below have said. Counted is what each frame had computed for it; a score counts
where it is wanted: its query and its key are on.

Legend: B streams or utterances, T frames (20 ms), S frames that may be attended to, P frames of the
past, D width, H heads, L layers, N toggles of an arbitrator, K toggles of a layer, G parts of a
feed-forward module.

Source: Xie et al. 2022, arXiv:2207.02393, section 2; the count is written out in the tests.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from evenear.encoders.gated.gates import Gated
from evenear.encoders.gated.layer import Toggles, run_masked, run_skipping
from evenear.encoders.transformer import LayerCall
from evenear.nn.gate import Sampling, by_block, gumbel_sigmoid, logistic_noise
from evenear.nn.recurrent import LstmState

__all__ = ["GatedRun", "Rule"]

Rule = Callable[[LayerCall, Tensor], Tensor]
"""Decides without arbitrators: from a layer's call and the frames below it."""


class GatedRun:
    """A pass through the layers: decides as it goes, and remembers what was decided.

    Args:
        encoder: The encoder with gates.
        asked_B: The share of the computation that each stream asks for.
        present_BLPH: Which keys of the past there are.
        memories: What its arbitrators remember.
        sampling: How toggles are drawn in training; None: they are decided.
        rule: Decides the toggles (B, T, N), as bools, of the layers from a call on, in place of
            arbitrators; then nothing is charged for deciding.
    """

    def __init__(
        self,
        encoder: Gated,
        asked_B: Tensor,
        present_BLPH: Tensor,
        memories: Sequence[LstmState],
        sampling: Sampling | None = None,
        rule: Rule | None = None,
    ) -> None:
        self.encoder, self.asked_B, self.sampling = encoder, asked_B, sampling
        self.rule = rule
        self.present_BLPH = present_BLPH
        self.is_dense = sampling is None and bool((asked_B >= 1).all())
        self.is_whole = self.is_dense and bool(present_BLPH.all())
        self.memories = list(memories)
        self.toggles: list[Toggles] = []
        self.call: LayerCall | None = None
        self.planned_BTLK = asked_B
        self.first = 0
        self.same: list[list[bool]] | None = None

    def __call__(self, call: LayerCall, x_BTD: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run a layer, as far as it is on."""
        self.call = call
        if self.is_dense:
            self.toggles.append(self.toggles[0] if self.toggles else self._all(x_BTD))
            if self.is_whole:
                return call(x_BTD)
        else:
            call = call._replace(layer=self.encoder.thrifty_layer(call.number))
            if call.number in self.encoder.starts:
                self._decide(call, x_BTD)
            self.toggles.append(self._of_layer(call.number))
        present_BPH = self._there(call)
        skips = self.encoder.skips and self.sampling is None
        stand_ins = self.encoder.stand_ins_of(call.number)
        run = run_skipping if skips else run_masked
        return run(call, x_BTD, self.toggles[-1], present_BPH, stand_ins)

    def costs(self) -> tuple[Tensor, Tensor]:
        """Multiply-accumulates of each frame, and those without gates: (B, T) each."""
        if self.call is None:
            nothing_BT = torch.zeros(len(self.asked_B), 0, device=self.asked_B.device)
            return nothing_BT, nothing_BT
        settings, width = self.encoder.config.backbone, self.encoder.config.backbone.dim
        attend_BTS = self.call.attend_BTS.float()
        seen_BT = attend_BTS.sum(dim=2).expand(len(self.asked_B), -1)
        stem, dense_BT = self.encoder.dense_macs(seen_BT)
        real_BT = torch.ones_like(dense_BT)
        if self.call.frames_B is not None:
            places_T = torch.arange(dense_BT.shape[1], device=dense_BT.device)
            real_BT = (places_T < self.call.frames_B[:, None]).float()
        if self.is_dense:
            return dense_BT * real_BT, dense_BT * real_BT
        hears = sum(each.macs_per_frame for each in self.encoder.each_arbitrator())
        if self.rule is not None:
            hears = 0
        arbitrators_BT = hears * (self.asked_B < 1).float()[:, None].expand_as(dense_BT)
        query_BTLH = torch.stack([each.query_BTH for each in self.toggles], dim=2).float()
        key_BTLH = torch.stack([each.key_BTH for each in self.toggles], dim=2).float()
        ff_BTL = torch.stack([each.ff_share for each in self.toggles], dim=2)
        none_BTL = torch.stack([1.0 - each.ff_BTG[..., 0].float() for each in self.toggles], dim=2)
        past_BPLH = torch.stack(
            [self._there(self.call, number) for number in range(len(self.toggles))], dim=2
        )
        keys_BSN = torch.cat([past_BPLH.float(), key_BTLH], dim=1).flatten(2)
        heard_BTLH = (attend_BTS @ keys_BSN).view_as(query_BTLH)
        on_BTLH = width * (query_BTLH + key_BTLH) + query_BTLH * heard_BTLH
        per_head = 2 * width / query_BTLH.shape[3]
        spent_BT = stem + arbitrators_BT + per_head * on_BTLH.sum(dim=(2, 3))
        spent_BT = spent_BT + 2 * width * settings.ff_dim * ff_BTL.sum(dim=2)
        narrow = 2 * width * self.encoder.config.gates.stand_in_dim
        if narrow:
            unasked_BTL = 1.0 - query_BTLH.mean(dim=3)
            if self.sampling is None:
                unasked_BTL = (unasked_BTL > 0).float()
            spent_BT = spent_BT + narrow * (none_BTL + unasked_BTL).sum(dim=2)
        return spent_BT * real_BT, dense_BT * real_BT

    def totals(self) -> tuple[Tensor, Tensor]:
        """Both, over all frames: (B,) each, in float64."""
        spent_BT, dense_BT = self.costs()
        return spent_BT.double().sum(dim=1), dense_BT.double().sum(dim=1)

    def present(self, many: int) -> Tensor:
        """Which keys of the last `many` frames there are, (B, L, P, H)."""
        new_BLTH = torch.stack([each.key_BTH for each in self.toggles], dim=1)
        new_BLTH = new_BLTH[:, :, max(0, new_BLTH.shape[2] - many) :]
        return torch.cat([self.present_BLPH[:, :, new_BLTH.shape[2] :], new_BLTH], dim=2)

    def _there(self, call: LayerCall, number: int | None = None) -> Tensor:
        """Which keys of the past there are for a layer, (B, P, H)."""
        unused = self.present_BLPH.shape[2] - call.past[0].shape[1]
        return self.present_BLPH[:, call.number if number is None else number, unused:]

    def _all(self, x_BTD: Tensor) -> Toggles:
        """Everything on."""
        heads, parts = self.present_BLPH.shape[3], self.encoder.config.gates.ff_parts
        every_BT1 = x_BTD.new_ones((*x_BTD.shape[:2], 1), dtype=torch.bool)
        every_BTH = every_BT1.expand(-1, -1, heads)
        return Toggles(every_BT1.expand(-1, -1, parts), every_BTH, every_BTH)

    def _decide(self, call: LayerCall, x_BTD: Tensor) -> None:
        """Let the arbitrator of the layers from here on hear the frames."""
        gates = self.encoder.config.gates
        if self.rule is not None:
            on_BTN = self.rule(call, x_BTD) | (self.asked_B >= 1)[:, None, None]
        else:
            on_BTN = self._arbitrate(call, x_BTD)
        self.first = call.number
        self.same = None
        is_one = len(x_BTD) == 1 and x_BTD.shape[1] <= call.block and self.rule is None
        if self.sampling is None and is_one and gates.by_block and not gates.each_head:
            self.same = on_BTN[0, 0].unflatten(0, (-1, self.encoder.toggles_per_layer)).tolist()
        self.planned_BTLK = on_BTN.unflatten(2, (-1, self.encoder.toggles_per_layer))

    def _arbitrate(self, call: LayerCall, x_BTD: Tensor) -> Tensor:
        """What an arbitrator switches on, (B, T, N)."""
        gates, index = self.encoder.config.gates, self.encoder.starts.index(call.number)
        told_B = self.encoder.told(self.asked_B)
        arbitrator = self.encoder.each_arbitrator()[index]
        logits_BTN, memory = arbitrator.step(x_BTD, told_B, self.memories[index])
        self.memories[index] = memory
        if not gates.arbitrators.asked:
            logits_BTN = logits_BTN + told_B[:, None, None]
        if gates.by_block:
            logits_BTN = by_block(logits_BTN, call.block, call.frames_B)
        if self.sampling is None:
            return (logits_BTN > 0) | (self.asked_B >= 1)[:, None, None]
        noise_BTN = logistic_noise(logits_BTN)
        if gates.arbitrators.together:
            noise_BTN = noise_BTN[:, :, :1].expand_as(logits_BTN)
        if gates.by_block:
            places_T = torch.arange(x_BTD.shape[1], device=x_BTD.device)
            noise_BTN = noise_BTN[:, places_T // call.block * call.block]
        on_BTN = gumbel_sigmoid(logits_BTN, noise_BTN, self.sampling)
        return on_BTN.masked_fill((self.asked_B >= 1)[:, None, None], 1.0)

    def _of_layer(self, number: int) -> Toggles:
        """The toggles of a layer that were decided below it."""
        attention, num_parts = (
            self.encoder.config.gates.attention,
            self.encoder.config.gates.ff_parts,
        )
        ff_BTG, *switched = self.planned_BTLK[:, :, number - self.first].split(
            [num_parts, *self._sizes()], dim=2
        )
        if num_parts > 1:
            ff_BTG = ff_BTG.to(torch.uint8 if ff_BTG.dtype == torch.bool else ff_BTG.dtype)
            ff_BTG = ff_BTG.cumprod(dim=2).to(self.planned_BTLK.dtype)
        heads = self.present_BLPH.shape[3]
        query_BTH = key_BTH = torch.ones_like(ff_BTG[..., :1]).expand(-1, -1, heads)
        if attention in ("queries", "both"):
            query_BTH = switched[0]
        if attention in ("keys", "both"):
            key_BTH = switched[-1]
        whole = None
        if self.same is not None:
            own = self.same[number - self.first]
            parts, rest = own[:num_parts], own[num_parts:]
            many = parts.index(False) if False in parts else num_parts
            asks = rest[0] if attention in ("queries", "both") else True
            answers = rest[-1] if attention in ("keys", "both") else True
            whole = (many, bool(asks), bool(answers))
        return Toggles(ff_BTG, query_BTH, key_BTH, whole)

    def _sizes(self) -> list[int]:
        gates = self.encoder.config.gates
        each = self.encoder.config.backbone.num_heads if gates.each_head else 1
        parts = self.encoder.config.gates.ff_parts
        return [each] * ((self.encoder.toggles_per_layer - parts) // each)
