# SPDX-License-Identifier: Apache-2.0
"""Self-attention that hears a bounded past: each frame attends to itself and a few before it.

The state is the keys and values of those frames, so it never grows, and a stream of hours costs as
much a second as one of seconds. Positions are rotary: a score depends on the distance of two frames
and on nothing else, so it does not matter where in a stream, or in a chunk, they lie.

Legend: B streams, T frames of a chunk, S frames that may be attended to, P frames of the past,
D width, H heads, E width of a head, L layers.

Source: Vaswani et al. 2017, arXiv:1706.03762; rotary positions of Su et al. 2021, arXiv:2104.09864.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from evenear.errors import ConfigError

__all__ = ["AttentionState", "BlockAttention", "CausalAttention", "block_mask", "slid"]

_SLOWEST = 10_000.0
"""Wavelength, in frames over 2 pi, of the slowest rotation."""


class AttentionState(NamedTuple):
    """Keys, not yet rotated, and values of the last P frames; the last `count` of them are real."""

    keys_BPD: Tensor
    values_BPD: Tensor
    count_B: Tensor


class CausalAttention(nn.Module):
    """Multi-head attention over a frame and the `left_frames` before it.

    Args:
        dim: Width.
        num_heads: Heads; each is `dim // num_heads` wide, an even number.
        left_frames: Frames of the past that are heard.
    """

    def __init__(self, dim: int, num_heads: int, left_frames: int) -> None:
        super().__init__()
        if dim % (2 * num_heads):
            raise ConfigError(
                f"Rotary attention needs heads of equal and even width, got {dim} for {num_heads}.",
                hint=f"Make the width a multiple of {2 * num_heads}.",
            )
        self.dim, self.num_heads, self.left_frames = dim, num_heads, left_frames
        self.project_in = nn.Linear(dim, 3 * dim)
        self.project_out = nn.Linear(dim, dim)

    @property
    def macs_per_frame(self) -> int:
        """Multiply-accumulates of scores and weighted values, with the whole past there."""
        return 2 * self.dim * (self.left_frames + 1)

    @property
    def sees_each_frame(self) -> nn.Module:
        """The layer through which each frame goes once."""
        return self.project_in

    def initial_state(self, batch_size: int) -> AttentionState:
        """Nothing heard yet."""
        weight = self.project_out.weight
        past_BPD = weight.new_zeros(batch_size, self.left_frames, self.dim)
        count_B = torch.zeros(batch_size, dtype=torch.int64, device=weight.device)
        return AttentionState(past_BPD, past_BPD.clone(), count_B)

    def step(self, x_BTD: Tensor, state: AttentionState) -> tuple[Tensor, AttentionState]:
        """Attend from a chunk of any length; return as many frames, and the state."""
        num_frames = x_BTD.shape[1]
        if num_frames == 0:
            return x_BTD, state
        query_BTD, key_BTD, value_BTD = self.project_in(x_BTD).chunk(3, dim=2)
        keys_BSD = torch.cat([state.keys_BPD.to(key_BTD.dtype), key_BTD], dim=1)
        values_BSD = torch.cat([state.values_BPD.to(key_BTD.dtype), value_BTD], dim=1)
        first_kept = keys_BSD.shape[1] - self.left_frames
        after = AttentionState(
            keys_BSD[:, first_kept:].float(),
            values_BSD[:, first_kept:].float(),
            (state.count_B + num_frames).clamp_max(self.left_frames),
        )
        num_past = int(state.count_B.max()) if len(state.count_B) else 0
        unused = self.left_frames - num_past  # places that no stream of the batch has filled
        attended_BTD = self._attend(
            query_BTD, keys_BSD[:, unused:], values_BSD[:, unused:], num_past - state.count_B
        )
        return self.project_out(attended_BTD), after

    def _attend(
        self, query_BTD: Tensor, keys_BSD: Tensor, values_BSD: Tensor, unreal_B: Tensor
    ) -> Tensor:
        """Attend where the first `unreal_B[b]` of the S frames of stream b are not real."""
        num_frames, num_all = query_BTD.shape[1], keys_BSD.shape[1]
        places_S = torch.arange(num_all, device=keys_BSD.device)
        distance_TS = places_S[num_all - num_frames :, None] - places_S
        attend_BTS = ((distance_TS >= 0) & (distance_TS <= self.left_frames))[None]
        if unreal_B.any():
            attend_BTS = attend_BTS & (places_S >= unreal_B[:, None])[:, None]
        cosine_SE, sine_SE = self._rotation(places_S)
        query_BHTE = _rotated(
            self._heads(query_BTD), cosine_SE[-num_frames:], sine_SE[-num_frames:]
        )
        keys_BHSE = _rotated(self._heads(keys_BSD), cosine_SE, sine_SE)
        scores_BHTS = query_BHTE @ keys_BHSE.transpose(2, 3) * query_BHTE.shape[3] ** -0.5
        # By hand: torch's fused attention takes three times as long on a CPU where there is a mask.
        weights_BHTS = scores_BHTS.masked_fill(~attend_BTS[:, None], -torch.inf).softmax(dim=3)
        attended_BHTE = weights_BHTS.to(keys_BHSE.dtype) @ self._heads(values_BSD)
        return attended_BHTE.transpose(1, 2).flatten(2)

    def _heads(self, x_BTD: Tensor) -> Tensor:
        return x_BTD.unflatten(2, (self.num_heads, -1)).transpose(1, 2)

    def _rotation(self, places_S: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine (S, E / 2) of the angles at these places."""
        half = self.dim // self.num_heads // 2
        powers_E = torch.arange(half, device=places_S.device, dtype=torch.float32) / half
        angles_SE = places_S[:, None].float() * _SLOWEST**-powers_E
        return angles_SE.cos(), angles_SE.sin()


class BlockAttention(nn.Module):
    """Multi-head attention whose caller says what each frame may attend to, and keeps the past.

    Args:
        dim: Width.
        num_heads: Heads of equal width.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ConfigError(
                f"Attention needs heads of equal width, got {dim} for {num_heads}.",
                hint=f"Make the width a multiple of {num_heads}.",
            )
        self.dim, self.num_heads = dim, num_heads
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)

    def read(self, x_BSD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of frames, as `forward` takes them."""
        return self.key(x_BSD), self.value(x_BSD)

    def forward(
        self, x_BTD: Tensor, keys_BSD: Tensor, values_BSD: Tensor, attend_BTS: Tensor
    ) -> Tensor:
        """What each frame gathers from those that it may attend to (at least one)."""
        query_BHTE, keys_BHSE, values_BHSE = (
            each.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for each in (self.query(x_BTD), keys_BSD.to(x_BTD.dtype), values_BSD.to(x_BTD.dtype))
        )
        keys_BHSE, values_BHSE = keys_BHSE.to(query_BHTE.dtype), values_BHSE.to(query_BHTE.dtype)
        if torch.is_grad_enabled():
            # By hand: with gradients, torch's fused attention takes a quarter longer on a CPU; for
            # the few frames of a stream it takes half as long.
            scores_BHTS = query_BHTE @ keys_BHSE.transpose(2, 3) * query_BHTE.shape[3] ** -0.5
            scores_BHTS = scores_BHTS.masked_fill(~attend_BTS[:, None], -torch.inf)
            attended_BHTE = scores_BHTS.softmax(dim=3).to(query_BHTE.dtype) @ values_BHSE
        else:
            attended_BHTE = scaled_dot_product_attention(
                query_BHTE, keys_BHSE, values_BHSE, attn_mask=attend_BTS[:, None]
            )
        return self.out(attended_BHTE.transpose(1, 2).flatten(2))


def block_mask(
    num_frames: int,
    num_past: int,
    block: int,
    left_frames: int,
    known_B: Tensor,
    frames_B: Tensor | None,
) -> Tensor:
    """Which of the frames (past ones first) each frame may attend to, (B or 1, T, S).

    Args:
        num_frames: Frames T, from the beginning of a block on.
        num_past: Frames before them that are at hand.
        block: Frames of a block.
        left_frames: Frames before its block that a frame attends to.
        known_B: How many of the frames before them are real.
        frames_B: How many of the frames themselves are real; None: all.
    """
    places_T = torch.arange(num_frames, device=known_B.device)
    places_S = torch.arange(-num_past, num_frames, device=known_B.device)
    start_T1 = (places_T // block * block)[:, None]
    attend_TS = (places_S >= start_T1 - left_frames) & (places_S < start_T1 + block)
    real_BS = places_S >= -known_B[:, None]
    if frames_B is not None:
        real_BS &= places_S < frames_B[:, None]
    itself_TS = places_S == places_T[:, None]  # padding sees itself: a mean of nothing is no number
    return (attend_TS & real_BS[:, None]) | itself_TS


def _rotated(x_BHTE: Tensor, cosine_TE: Tensor, sine_TE: Tensor) -> Tensor:
    """Turn the first half of each head against the second by the angle of its place."""
    first, second = x_BHTE.chunk(2, dim=3)
    cosine, sine = cosine_TE.to(x_BHTE.dtype), sine_TE.to(x_BHTE.dtype)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=3)


def slid(past_BLPD: Tensor, own: Sequence[Tensor]) -> Tensor:
    """The last P frames of a past and of the frames (B, T, D) of each layer behind it."""
    if not own:
        return past_BLPD
    many = past_BLPD.shape[2]
    own_BLTD = torch.stack([each[:, max(0, each.shape[1] - many) :] for each in own], dim=1)
    return torch.cat([past_BLPD[:, :, own_BLTD.shape[2] :], own_BLTD.float()], dim=2)
