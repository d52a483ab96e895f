# SPDX-License-Identifier: Apache-2.0
"""One block of one stream, whose frames all share their decisions: the path of live streams.

It gives what `GatedRun` gives. But a decision is a Python number here, what is off is not touched
at all, and attention has a mask only where keys are missing.

Legend: T frames (20 ms) of the block, S frames that are there to attend to, P frames of the past,
D width, H heads, E width of a head, L layers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from evenear.encoders.gated.gates import Gated
from evenear.encoders.gated.layer import say
from evenear.encoders.transformer import LayerCall
from evenear.nn.recurrent import LstmState

__all__ = ["BlockRun"]


class BlockRun:
    """A pass through the layers for one block of one stream that asks for less than all.

    Args:
        encoder: The encoder with gates that decide by block and for all heads.
        asked_1: The share of the computation that the stream asks for.
        present_1LPH: Which keys of the past there are.
        memories: What its arbitrators remember.
    """

    def __init__(
        self,
        encoder: Gated,
        asked_1: Tensor,
        present_1LPH: Tensor,
        memories: Sequence[LstmState],
    ) -> None:
        self.encoder, self.present_1LPH = encoder, present_1LPH
        self.told = encoder.told_number(float(asked_1))
        self.memories = list(memories)
        self.call: LayerCall | None = None
        self.spent = 0
        """Multiply-accumulates of a frame in all layers so far."""
        self.answered: list[bool] = []
        self.first = 0
        self.plan: list[tuple[int, bool, bool]] = []

    def __call__(self, call: LayerCall, x_1TD: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run a layer, as far as it is on."""
        encoder = self.encoder
        call = call._replace(layer=encoder.thrifty_layer(call.number))
        if call.number in encoder.starts:
            self.first = call.number
            self.plan = self._decided(x_1TD)
        if self.call is None:
            num_past = call.past[0].shape[1]
            unused = self.present_1LPH.shape[2] - num_past
            past_LP = self.present_1LPH[0, :, unused:, 0]
            self.counts = past_LP.sum(dim=1).tolist()
            self.absent_LP = ~past_LP
            self.nothing_1TD = x_1TD.new_zeros(x_1TD.shape)
        self.call = call
        parts, asks, answers = self.plan[call.number - self.first]
        layer, attention, width = call.layer, call.layer.attention, x_1TD.shape[2]
        stand_ins, narrow = encoder.stand_ins_of(call.number), encoder.config.gates.stand_in_dim
        normed_1TD = layer.attention_norm(x_1TD) if asks or answers else x_1TD
        own = self.nothing_1TD, self.nothing_1TD
        if answers:
            own = attention.key(normed_1TD), attention.value(normed_1TD)
            self.spent += 2 * width * width
        self.answered.append(answers)
        if asks:
            gathered_1TD, heard = self._gathered(call, normed_1TD, own if answers else None)
            after_1TD = x_1TD + attention.out(gathered_1TD)
            self.spent += 2 * width * width + 2 * width * heard
        else:
            after_1TD = x_1TD + attention.out.bias
            if stand_ins is not None:
                after_1TD = after_1TD + stand_ins.attention(x_1TD)
                self.spent += 2 * width * narrow
        if parts:
            num_parts = encoder.config.gates.ff_parts
            self.spent += 2 * width * encoder.config.backbone.ff_dim * parts // num_parts
            return after_1TD + say(layer, after_1TD, parts, num_parts), own
        if stand_ins is not None:
            self.spent += 2 * width * narrow
            return after_1TD + stand_ins.ff(after_1TD), own
        return after_1TD, own

    def totals(self) -> tuple[float, float]:
        """Multiply-accumulates of the block, and those without gates."""
        assert self.call is not None, "only what was computed costs anything"
        _, num_frames, num_seen = self.call.attend_BTS.shape
        arbitrators = sum(each.macs_per_frame for each in self.encoder.each_arbitrator())
        stem, dense = self.encoder.dense_macs(num_seen)
        return num_frames * float(stem + arbitrators + self.spent), num_frames * float(dense)

    def present(self, many: int) -> Tensor:
        """Which keys of the last `many` frames there are, (1, L, P, H)."""
        assert self.call is not None, "only what was computed is remembered"
        num_new = min(self.call.attend_BTS.shape[1], many)
        new_L = self.present_1LPH.new_tensor(self.answered)
        new_1LTH = new_L[None, :, None, None].expand(-1, -1, num_new, self.present_1LPH.shape[3])
        return torch.cat([self.present_1LPH[:, :, num_new:], new_1LTH], dim=2)

    def _decided(self, x_1TD: Tensor) -> list[tuple[int, bool, bool]]:
        """Of each layer of an arbitrator: parts of its feed-forward module, asks, answers."""
        encoder, gates = self.encoder, self.encoder.config.gates
        index = encoder.starts.index(self.first)
        arbitrator = encoder.each_arbitrator()[index]
        logits, self.memories[index] = arbitrator.of_block(x_1TD, self.told, self.memories[index])
        more = 0.0 if gates.arbitrators.asked else self.told
        on = [logit + more > 0 for logit in logits]
        each, parts = encoder.toggles_per_layer, gates.ff_parts
        plan = []
        for begin in range(0, len(on), each):
            ff, rest = on[begin : begin + parts], on[begin + parts : begin + each]
            asks = rest[0] if gates.attention in ("queries", "both") else True
            answers = rest[-1] if gates.attention in ("keys", "both") else True
            plan.append((ff.index(False) if False in ff else parts, asks, answers))
        return plan

    def _gathered(
        self, call: LayerCall, normed_1TD: Tensor, own: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, int]:
        """What the frames gather from the keys that there are, and how many those are."""
        attention, count = call.layer.attention, self.counts[call.number]
        absent_S = self.absent_LP[call.number] if count < call.past[0].shape[1] else None
        keys_1SD, values_1SD = call.past
        if own is not None:
            keys_1SD = torch.cat([keys_1SD, own[0]], dim=1)
            values_1SD = torch.cat([values_1SD, own[1]], dim=1)
            count += own[0].shape[1]
            if absent_S is not None:
                absent_S = F.pad(absent_S, (0, own[0].shape[1]), value=False)
        query_1TD = attention.query(normed_1TD)
        if not count:
            return torch.zeros_like(query_1TD), 0
        query_HTE, keys_HSE, values_HSE = (
            each[0].unflatten(1, (attention.num_heads, -1)).transpose(0, 1)
            for each in (query_1TD, keys_1SD, values_1SD)
        )
        scores_HTS = query_HTE @ keys_HSE.transpose(1, 2) * query_HTE.shape[2] ** -0.5
        if absent_S is not None:
            scores_HTS = scores_HTS.masked_fill(absent_S, -torch.inf)
        gathered_HTE = scores_HTS.softmax(dim=2) @ values_HSE
        return gathered_HTE.transpose(0, 1).flatten(1)[None], count
