# SPDX-License-Identifier: Apache-2.0
"""A streaming Transformer that hears each block twice: at once, and when it knows what follows.

    right = RightContext(encoder, right_frames=32)
    settled_BTD, ahead_BTD, state = right.step(features_BTF, right.initial_state(1))

As soon as a block is there, its frames are encoded, good enough for a first guess (`ahead`). When
the blocks on their right have come, they are encoded again, together with those, and are settled.
So a guess is as early as without right context and what it becomes is better; the price is
`right_frames` more delay of what is settled, and that a block is computed once for each place in a
window:

    blocks      |  1  |  2  |  3  |  4  |        right_frames = one block, two phases
    phase 1           [ settled ahead ]          windows of two blocks, and their own past
    phase 2     [ 1st ][ settled ahead ]...      the same, a block later

Each phase is the encoder itself with blocks as long as a window, and remembers its own past: what
it computes is what it was trained to compute, no look-ahead adds up over the layers, and windows
lie at multiples of a block, so chunks change nothing.

Legend: B streams, T feature frames or encoder frames, W feature frames that wait to be settled,
F feature width, D encoder width.

Source: right context as in Shi et al. 2021 (Emformer), arXiv:2010.10759; first guesses from fewer
frames as in Narayanan et al. 2020 (cascaded encoders), arXiv:2010.14606.
Departs from the papers: one set of weights, trained with blocks of several lengths and never with
right context, does both; a window sees the past of its own phase.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from evenear.encoders.transformer import (
    TransformerConfig,
    TransformerEncoder,
    TransformerState,
)
from evenear.errors import ConfigError
from evenear.units import Frames

__all__ = ["HearBlocks", "Heard", "RightContext", "RightState", "window_macs"]

HearBlocks = Callable[[Tensor, TransformerState, int], tuple[Tensor, TransformerState]]
"""What hears frames in blocks of so many feature frames, as `TransformerEncoder.hear` does."""


class RightState(NamedTuple):
    """State of streams that have heard equally many blocks."""

    phases: tuple[TransformerState, ...]
    """Of the encoder in each phase; the first one hears the next window."""
    waiting_BWF: Tensor
    """Features that were heard and wait for those on their right."""


class Heard(NamedTuple):
    """What a chunk made known."""

    settled_BTD: Tensor
    """Encoder frames with all their right context, behind those settled before."""
    ahead_BTD: Tensor
    """Encoder frames behind them, with what right context there is; they will come again."""
    state: RightState


class RightContext:
    """Runs a Transformer encoder with right context. It keeps nothing of any stream.

    Args:
        encoder: The encoder; its blocks decide when something is heard.
        right_frames: Feature frames behind a block that it waits for: whole blocks.

    Raises:
        ConfigError: They are no whole blocks.
    """

    def __init__(self, encoder: TransformerEncoder, right_frames: Frames) -> None:
        if right_frames < 1 or right_frames % encoder.block_frames:
            raise ConfigError(
                f"Right context must be whole blocks of {encoder.block_frames} feature frames, "
                f"got {right_frames} frames.",
                hint="A feature frame is 10 ms.",
            )
        self.encoder, self.right_frames = encoder, right_frames

    def initial_state(self, batch_size: int) -> RightState:
        """The state of streams that have heard nothing."""
        count = self.right_frames // self.encoder.block_frames + 1
        phases = tuple(self.encoder.initial_state(batch_size) for _ in range(count))
        nothing_BWF = self.encoder.norm.weight.new_zeros(batch_size, 0, self.encoder.feature_dim)
        return RightState(phases, nothing_BWF)

    def step(self, features_BTF: Tensor, state: RightState) -> Heard:
        """Hear whole blocks."""
        block = self.encoder.block_frames
        ahead_BTD = features_BTF.new_zeros(len(features_BTF), 0, self.encoder.dim)
        settled = [ahead_BTD]
        for start in range(0, features_BTF.shape[1], block):
            heard_BTD, kept_BTD, state = self._hear(features_BTF[:, start : start + block], state)
            settled.append(heard_BTD)
            ahead_BTD = kept_BTD
        return Heard(torch.cat(settled, dim=1), ahead_BTD, state)

    def finish(self, features_BTF: Tensor, state: RightState) -> tuple[Tensor, RightState]:
        """Hear the last frames, of any number, and settle all that waits."""
        whole = features_BTF.shape[1] - features_BTF.shape[1] % self.encoder.block_frames
        settled_BTD, _, state = self.step(features_BTF[:, :whole], state)
        if not state.waiting_BWF.shape[1] and whole == features_BTF.shape[1]:
            return settled_BTD, state
        heard_BTD, kept_BTD, state = self._hear(features_BTF[:, whole:], state)
        return torch.cat([settled_BTD, heard_BTD, kept_BTD], dim=1), state

    def whole(self, features_BTF: Tensor, hear: HearBlocks | None = None) -> Tensor:
        """All that `step` and `finish` settle of whole streams, each phase heard at one go.

        Args:
            features_BTF: Streams of the same length from their beginning to their end.
            hear: What hears them instead of the encoder; it says as many frames.
        """
        hear = hear or self.encoder.hear
        block, num_frames = self.encoder.block_frames, features_BTF.shape[1]
        window = block + self.right_frames
        phases = []
        for first in range(block, window + 1, block):
            state = self.encoder.initial_state(len(features_BTF))
            heard_BTD, state = hear(features_BTF[:, :first], state, window)
            if first < num_frames:
                rest_BTD, _ = hear(features_BTF[:, first:], state, window)
                heard_BTD = torch.cat([heard_BTD, rest_BTD], dim=1)
            phases.append(heard_BTD)
        frames_T = torch.arange(phases[0].shape[1])
        ends_T = frames_T * self.encoder.stride // block + len(phases)  # where it is the oldest
        ends_T = ends_T.clamp_max(num_frames // block + 1)  # at the end, one window settles all
        phase_T = (ends_T - 1) % len(phases)
        return torch.stack(phases)[phase_T, :, frames_T].transpose(0, 1)

    def _hear(self, features_BTF: Tensor, state: RightState) -> tuple[Tensor, Tensor, RightState]:
        """What a block, or the rest of one, settles, and what is ahead of that."""
        window_BTF = torch.cat([state.waiting_BWF.to(features_BTF), features_BTF], dim=1)
        encoded_BTD, phase = self.encoder.hear(window_BTF, state.phases[0])
        settled = max(0, window_BTF.shape[1] - self.right_frames)
        settled_BTD = encoded_BTD[:, : settled // self.encoder.stride]
        ahead_BTD = encoded_BTD[:, settled // self.encoder.stride :]
        after = RightState((*state.phases[1:], phase), window_BTF[:, settled:])
        return settled_BTD, ahead_BTD, after


def window_macs(
    config: TransformerConfig,
    *,
    block_frames: Frames,
    right_frames: Frames,
    num_frames: Frames,
    heard: Frames = 0,
) -> float:
    """Multiply-accumulates for feature frames of a stream behind those that it has heard.

    Each block is computed for each of its places in a window; without right context, once.

    Args:
        config: Of a Transformer with convolutions.
        block_frames: Feature frames of a block.
        right_frames: Right context, in feature frames.
        num_frames: Feature frames to count.
        heard: Feature frames before them.
    """
    width, places = config.dim, right_frames // block_frames + 1
    window = places * block_frames // 2
    stem = 6 * config.feature_dim * width + 3 * width * width
    layer = 4 * width * width + 2 * width * config.ff_dim
    total = 0.0
    for start in range(heard, heard + num_frames, block_frames):
        new = min(block_frames, heard + num_frames - start) / 2
        seen = min(start // 2, config.left_frames) + window
        total += places * new * (stem + config.num_layers * (layer + 2 * width * seen))
    return total
