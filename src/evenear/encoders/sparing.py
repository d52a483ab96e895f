# SPDX-License-Identifier: Apache-2.0
"""Hears one stream with right context for less: leaves out what says nothing, hears the rest once.

    sparing = SparingHearing(gated, right_frames=32)
    settled_1TD, state = sparing.step(block_1TF, sparing.initial_state(0.4))

Right context hears every block twice. Here blocks wait until enough of them are there, and one
window hears them together, so that all but the last are settled at once:

    blocks    |  1  |  2  |  3  |  4  |  5  |  6  |  7  |    . silent  = speech
              |  .  |  =  |  =  |  =  |  =  |  =  |  .  |
    windows   | nothing |[ settled      right ]          |   three blocks at once
              |         |               [ settled        ]   a pause ends a window early

Blocks in which the speech gate hears nothing are not encoded at all: what the encoder says of
silence stands for them, and the stream goes on as if they had not been. A pause ends a window: what
is silent needs no right context. Below what that saves, the encoder's own gates are asked for less.

What is settled is as good as with right context, or nearly so. The price is delay: words are shown
only when they are settled, up to a window's length after they were said.

Counted is what the windows, the gates and the speech gate multiply, over what right context would
for the same sound.

Legend: B streams (1), T feature frames or encoder frames, F feature width, D width, L layers, P
frames of the past, H heads, K blocks that wait.

Source: ours; it spends computation where the speech is, as Xie et al. 2022, arXiv:2207.02393.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from evenear.encoders.gated.encoder import GatedTransformer
from evenear.encoders.gated.state import GatedState
from evenear.encoders.rightcontext import window_macs
from evenear.errors import ConfigError
from evenear.units import Frames

__all__ = ["SparingHearing", "SparingState"]


class SparingState(NamedTuple):
    """State of one stream."""

    gated: GatedState
    """Behind all that is settled."""
    memory_BH: Tensor
    """Of the speech gate."""
    waiting_BTF: Tensor
    """Features of blocks that wait."""
    speech_BK: Tensor
    """Whether there is speech in each of them."""
    hop_B: Tensor
    """Blocks that a window settles at once."""
    heard_B: Tensor
    """Feature frames heard, silent ones too."""
    spent_B: Tensor
    """Multiply-accumulates so far."""
    full_B: Tensor
    """What they would have been with right context."""


class SparingHearing:
    """Runs an encoder with gates for streams that ask for less than all. It keeps nothing of any.

    Args:
        encoder: The encoder; its blocks decide when something is decided.
        right_frames: Feature frames behind a block that it waits for: whole blocks, or none.

    Raises:
        ConfigError: The encoder has no speech gate, its gates remember or decide frame by frame or
            head by head, or the right context is no whole blocks.
    """

    def __init__(self, encoder: GatedTransformer, right_frames: Frames) -> None:
        gates = encoder.config.gates
        if encoder.speech is None:
            raise ConfigError("Only an encoder with a speech gate can hear sparingly.")
        if gates.arbitrators.kind != "feed-forward" or gates.each_head or not gates.by_block:
            raise ConfigError("Hearing sparingly needs gates that decide anew, block by block.")
        if right_frames < 0 or right_frames % encoder.block_frames:
            raise ConfigError(
                f"Right context must be whole blocks of {encoder.block_frames} feature frames, "
                f"got {right_frames} frames."
            )
        self.encoder, self.speech = encoder, encoder.speech
        self.right_blocks = right_frames // encoder.block_frames
        self._halving = encoder.stride // encoder.config.backbone.reduction
        past = encoder.config.backbone.left_frames * self._halving // encoder.block_frames
        self._most_blocks = past - self.right_blocks
        if self._most_blocks < 1:
            raise ConfigError(
                f"A window of {right_frames + encoder.block_frames} feature frames is longer than "
                "the past that the encoder remembers.",
                hint="Take shorter blocks, less right context, or larger left_frames.",
            )

    def initial_state(self, asked: float) -> SparingState:
        """The state of a stream that has heard nothing and asks for this share.

        Raises:
            ConfigError: The share is out of range, or the speech gate has no table.
        """
        gated = self.encoder.ask(self.encoder.initial_state(1), asked)
        plan = self.speech.plan(asked)
        weight = self.speech.output.weight
        wanted = plan.hop_frames // self.encoder.block_frames
        hop_blocks = max(1, min(wanted, self._most_blocks))
        nothing_B = weight.new_zeros(1, dtype=torch.float64)
        return SparingState(
            self.encoder.ask(gated, plan.gates),
            self.speech.initial_state(1),
            weight.new_zeros(1, 0, self.encoder.feature_dim),
            weight.new_zeros(1, 0, dtype=torch.bool),
            torch.tensor([hop_blocks], device=weight.device),
            torch.zeros(1, dtype=torch.int64, device=weight.device),
            nothing_B,
            nothing_B,
        )

    def step(self, block_BTF: Tensor, state: SparingState) -> tuple[Tensor, SparingState]:
        """Hear a block; return the encoder frames that are settled now, perhaps none."""
        state = self._listened(block_BTF, state)
        settled_BTD, state = self._skipped(state)
        count = state.speech_BK.shape[1]
        if not count:
            return settled_BTD, state
        hop = int(state.hop_B)
        if not state.speech_BK[0, -1]:
            heard_BTD, state = self._heard(count, state)
        elif count >= hop + self.right_blocks:
            heard_BTD, state = self._heard(hop, state)
        else:
            return settled_BTD, state
        return torch.cat([settled_BTD, heard_BTD], dim=1), state

    def finish(self, rest_BTF: Tensor, state: SparingState) -> tuple[Tensor, SparingState]:
        """Hear the last frames, fewer than a block, and settle all that waits."""
        if rest_BTF.shape[1]:
            state = self._listened(rest_BTF, state)
        settled_BTD, state = self._skipped(state)
        if state.speech_BK.shape[1]:
            heard_BTD, state = self._heard(state.speech_BK.shape[1], state)
            settled_BTD = torch.cat([settled_BTD, heard_BTD], dim=1)
        return settled_BTD, state

    def full_macs(self, num_frames: Frames, heard: Frames = 0) -> float:
        """Multiply-accumulates of right context for feature frames behind those heard."""
        block = self.encoder.block_frames
        return window_macs(
            self.encoder.config.backbone,
            block_frames=block,
            right_frames=self.right_blocks * block,
            num_frames=num_frames,
            heard=heard,
        )

    def _listened(self, block_BTF: Tensor, state: SparingState) -> SparingState:
        """The state when a block, or the rest of one, has come and waits."""
        logits_BK, memory_BH = self.speech.step(block_BTF, state.memory_BH)
        is_speech = self.speech.is_speech(logits_BK[0])
        new_B1 = state.speech_BK.new_full((1, 1), is_speech)
        full = self.full_macs(block_BTF.shape[1], int(state.heard_B))
        return state._replace(
            memory_BH=memory_BH,
            waiting_BTF=torch.cat([state.waiting_BTF, block_BTF], dim=1),
            speech_BK=torch.cat([state.speech_BK, new_B1], dim=1),
            heard_B=state.heard_B + block_BTF.shape[1],
            spent_B=state.spent_B + self.speech.macs * logits_BK.shape[1],
            full_B=state.full_B + full,
        )

    def _skipped(self, state: SparingState) -> tuple[Tensor, SparingState]:
        """What stands for silent blocks before the first speech that waits."""
        speech, block = state.speech_BK[0].tolist(), self.encoder.block_frames
        count = speech.index(True) if True in speech else len(speech)
        num_frames = min(count * block, state.waiting_BTF.shape[1])
        num_encoded = -(-num_frames // self.encoder.stride)
        silence_BTD = self.speech.silence_D.expand(1, num_encoded, -1)
        return silence_BTD, state._replace(
            waiting_BTF=state.waiting_BTF[:, num_frames:], speech_BK=state.speech_BK[:, count:]
        )

    def _heard(self, count: int, state: SparingState) -> tuple[Tensor, SparingState]:
        """Hear all that waits as one window; its first `count` blocks are settled."""
        window_BTF, before = state.waiting_BTF, state.gated
        encoded_BTD, after = self.encoder.hear(window_BTF, before)
        spent_B = state.spent_B + after.spent_B - before.spent_B
        keep = count * self.encoder.block_frames
        if keep < window_BTF.shape[1]:
            after = self._remembered(window_BTF, keep, before, after)
            encoded_BTD = encoded_BTD[:, : keep // self.encoder.stride]
        return encoded_BTD, state._replace(
            gated=after,
            waiting_BTF=window_BTF[:, keep:],
            speech_BK=state.speech_BK[:, count:],
            spent_B=spent_B,
        )

    def _remembered(
        self, window_BTF: Tensor, keep: Frames, before: GatedState, after: GatedState
    ) -> GatedState:
        """The state behind the first frames of a window: what was right of them is forgotten."""
        old, new = before.backbone, after.backbone
        num_new = int(new.heard_B - old.heard_B)
        num_right = num_new - keep // self._halving

        def cut(old_BLPD: Tensor, new_BLPD: Tensor) -> Tensor:
            """The past that ends before the right context."""
            past = old_BLPD.shape[2]
            joined_BLPD = torch.cat([old_BLPD, new_BLPD[:, :, max(0, past - num_new) :]], dim=2)
            end = joined_BLPD.shape[2] - num_right
            return joined_BLPD[:, :, end - past : end]

        convolved_B1D = new.convolved_B1D
        if self.encoder.config.backbone.convolved:
            around_BFT = window_BTF[:, keep - 2 : keep + 1].transpose(1, 2)
            convolved_B1D = F.gelu(self.encoder.backbone.conv1(around_BFT)).transpose(1, 2)
        backbone = new._replace(
            last_B1F=window_BTF[:, keep - 1 : keep],
            convolved_B1D=convolved_B1D,
            keys_BLPD=cut(old.keys_BLPD, new.keys_BLPD),
            values_BLPD=cut(old.values_BLPD, new.values_BLPD),
            heard_B=old.heard_B + keep // self._halving,
        )
        return after._replace(
            backbone=backbone, present_BLPH=cut(before.present_BLPH, after.present_BLPH)
        )
