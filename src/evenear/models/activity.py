# SPDX-License-Identifier: Apache-2.0
"""Who speaks: nobody, the first channel's talker alone, the second's alone, or both.

A head gives logits for the four states; what is decided is followed from group to group of frames,
so that it does not flicker: to change one's mind costs `switch_cost`, and `odd_cost` more where
turns that go to the first free channel cannot change so (nobody, then the second channel alone).
A state's score is the best of all ways to it, as in the algorithm of Viterbi, but nothing is
decided again: the best state of a group is final. Scores differ by no more than the costs of a
change, so what was long ago does not count.

Legend: B streams, G groups of J frames, H groups held, F feature width, D width, C channels, A
states of who speaks, R states before, T frames, S streams of both channels.

Source: states and their order as in turn-taking models with overlap; the decoding is Viterbi's
recursion without its way back. Ours.
"""

from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from evenear.config import config
from evenear.errors import StateError

__all__ = [
    "BOTH",
    "FIRST",
    "NOBODY",
    "NUM_STATES",
    "SECOND",
    "Activity",
    "ActivityConfig",
    "ActivityDecoder",
    "ActivityState",
    "Decided",
    "DecoderState",
    "speaks",
    "state_of",
]

NOBODY, FIRST, SECOND, BOTH = range(4)
NUM_STATES = 4
_LONG = 1_000_000
"""Groups of about a day."""
_USUAL = (
    (NOBODY, FIRST), (FIRST, NOBODY), (FIRST, BOTH), (SECOND, NOBODY), (SECOND, BOTH),
    (BOTH, FIRST), (BOTH, SECOND),
)  # fmt: skip
"""Changes that happen where a turn goes to the first channel that is free."""


@config
class ActivityConfig:
    """How who speaks is decided."""

    ahead_groups: int = Field(default=2, ge=0)
    """Groups of frames that are heard before one is decided: this much later, and surer."""
    switch_cost: float = Field(default=2.0, ge=0)
    """Nats that a change must gain."""
    odd_cost: float = Field(default=4.0, ge=0)
    """Nats more for changes that cannot be."""
    hold_groups: int = Field(default=2, ge=0)
    """For so many groups after it ended, a channel still hears what nobody else does."""
    where_both: Literal["gated", "earlier", "attributed"] = "gated"
    """Where both speak, gates part them; or whoever began earlier hears the mixture, as a
    recognizer of single talkers would, and the other channel begins when it is alone; or nothing is
    parted: one recognizer hears the mixture, and each word goes to whoever speaks. In training
    gates part them in any case, so that they learn."""


class DecoderState(NamedTuple):
    """Who spoke so far in streams."""

    scores_BA: Tensor
    """Of each state; the best is 0."""
    since_BC: Tensor
    """Groups since each channel was last decided to speak, at most `hold_groups` and one more."""
    spoken_BC: Tensor
    """Groups for which each channel has been speaking, at most `_LONG`."""


class ActivityDecoder(nn.Module):
    """Follows who speaks. It keeps nothing of any stream and learns nothing."""

    def __init__(self, config: ActivityConfig) -> None:
        super().__init__()
        self.config = config
        costs_RA = torch.full((NUM_STATES, NUM_STATES), config.switch_cost + config.odd_cost)
        costs_RA.fill_diagonal_(0.0)
        for before, after in _USUAL:
            costs_RA[before, after] = config.switch_cost
        self.costs_RA: Tensor
        self.register_buffer("costs_RA", costs_RA, persistent=False)

    def initial_state(self, batch_size: int) -> DecoderState:
        """Nobody has spoken yet."""
        scores_A = -self.costs_RA[NOBODY]
        long_ago_BC = torch.full((batch_size, 2), self.config.hold_groups + 1)
        return DecoderState(
            scores_A.repeat(batch_size, 1), long_ago_BC, torch.zeros_like(long_ago_BC)
        )

    def step(self, talk_BGA: Tensor, state: DecoderState) -> tuple[Tensor, Tensor, DecoderState]:
        """Decide on groups of frames.

        Returns:
            Who speaks, (B, 2, G); to whom the mixture belongs, (B, 2, G): who speaks, or spoke a
            moment ago while nobody else does, or began earlier if both speak and that counts; and
            the next state.
        """
        scores_BA, since_BC, spoken_BC = state
        gains_BGA = talk_BGA.log_softmax(dim=2)
        most = self.config.hold_groups + 1
        active, heard = [], []
        for g in range(talk_BGA.shape[1]):
            scores_BA = (scores_BA[:, :, None] - self.costs_RA).amax(dim=1) + gains_BGA[:, g]
            scores_BA = scores_BA - scores_BA.amax(dim=1, keepdim=True)
            active_BC = speaks(scores_BA.argmax(dim=1))
            since_BC = torch.where(active_BC, 0, (since_BC + 1).clamp(max=most))
            spoken_BC = torch.where(active_BC, (spoken_BC + 1).clamp(max=_LONG), 0)
            alone_B1 = ~active_BC.any(dim=1, keepdim=True)
            last_BC = since_BC == since_BC.amin(dim=1, keepdim=True)
            hears_BC = active_BC
            if self.config.where_both == "earlier":
                hears_BC = active_BC & (spoken_BC == spoken_BC.amax(dim=1, keepdim=True))
            active.append(active_BC)
            heard.append(hears_BC | (alone_B1 & last_BC & (since_BC < most)))
        nothing_BC = since_BC[:, :, None][:, :, :0].bool()
        active_BCG = torch.stack(active, dim=2) if active else nothing_BC
        heard_BCG = torch.stack(heard, dim=2) if heard else nothing_BC
        return active_BCG, heard_BCG, DecoderState(scores_BA, since_BC, spoken_BC)


class ActivityState(NamedTuple):
    """What is remembered of streams."""

    groups_BHF: Tensor
    """Groups that wait for those ahead of them, from the first place on."""
    counts_B: Tensor
    """How many wait."""
    decoder: DecoderState


class Decided(NamedTuple):
    """Groups whose groups ahead have come."""

    groups_BGF: Tensor
    frames: list[Tensor]
    """What each channel's encoder made of the last group ahead of each, (B, G, D)."""
    talk_BGA: Tensor
    """Logits of who speaks."""
    active_BCG: Tensor
    """Who was decided to speak."""
    heard_BCG: Tensor
    """To whom the mixture belongs where not both speak."""
    state: ActivityState


class Activity(nn.Module):
    """Decides who speaks, and hands a talker alone on as they are.

    Args:
        config: How.
        dim: Width of what the separator's encoders make of a group, all together.
        feature_dim: Width of a feature frame.
        joined: Frames of a group.
        silence: What a channel hears on which nobody speaks, before `silence_F` is set.
    """

    def __init__(
        self, config: ActivityConfig, *, dim: int, feature_dim: int, joined: int, silence: float
    ) -> None:
        super().__init__()
        self.config, self._joined, self._feature_dim = config, joined, feature_dim
        self.talk = nn.Linear(dim, NUM_STATES)
        self.decoder = ActivityDecoder(config)
        self.silence_F: Tensor
        self.register_buffer("silence_F", torch.full((feature_dim,), silence))

    @property
    def ahead_frames(self) -> int:
        """Frames that are heard before a group is decided on."""
        return self.config.ahead_groups * self._joined

    def initial_state(self, batch_size: int) -> ActivityState:
        """The state of streams that have heard nothing."""
        width = self._feature_dim * self._joined
        return ActivityState(
            self.silence_F.new_zeros(batch_size, self.config.ahead_groups, width),
            torch.zeros(batch_size, dtype=torch.int64),
            self.decoder.initial_state(batch_size),
        )

    def waiting_frames(self, state: ActivityState) -> int:
        """Frames that wait in every stream."""
        return _common(state.counts_B) * self._joined

    def step(self, groups_BGF: Tensor, frames: list[Tensor], state: ActivityState) -> Decided:
        """Take groups and what the channels' encoders made of them; decide what can be decided.

        Raises:
            StateError: The streams of the batch wait for different numbers of groups.
        """
        count, ahead = _common(state.counts_B), self.config.ahead_groups
        joined_BGF = torch.cat([state.groups_BHF[:, :count].to(groups_BGF), groups_BGF], dim=1)
        ready = max(0, joined_BGF.shape[1] - ahead)
        frames = [own[:, groups_BGF.shape[1] - ready :] for own in frames]
        talk_BGA = self.talk(torch.cat(frames, dim=2))
        active_BCG, heard_BCG, decoder = self.decoder.step(talk_BGA, state.decoder)
        rest_BHF = joined_BGF[:, ready:]
        after = ActivityState(
            F.pad(rest_BHF, (0, 0, 0, ahead - rest_BHF.shape[1])),
            torch.full_like(state.counts_B, rest_BHF.shape[1]),
            decoder,
        )
        return Decided(joined_BGF[:, :ready], frames, talk_BGA, active_BCG, heard_BCG, after)

    def handed_on(self, decided: Decided, gated_STF: Tensor) -> Tensor:
        """The mixture where it belongs to a channel, what gates make of it where both speak."""
        both_BG = decided.active_BCG.all(dim=1)
        if self.config.where_both == "earlier" and not self.training:
            both_BG = torch.zeros_like(both_BG)
        both_ST = torch.cat([both_BG, both_BG]).repeat_interleave(self._joined, dim=1)
        heard_SG = torch.cat(decided.heard_BCG.unbind(dim=1))
        heard_ST = heard_SG.repeat_interleave(self._joined, dim=1)
        mixture_BTF = decided.groups_BGF.unflatten(2, (self._joined, -1)).flatten(1, 2)
        mixture_STF = torch.cat([mixture_BTF, mixture_BTF])
        alone_STF = torch.where(heard_ST[:, :, None], mixture_STF, self.silence_F)
        return torch.where(both_ST[:, :, None], gated_STF, alone_STF)


def speaks(states: Tensor) -> Tensor:
    """Whether each channel's talker speaks, in a new last dimension of 2."""
    return torch.stack([(states == FIRST) | (states == BOTH), states >= SECOND], dim=-1)


def state_of(active_BTC: Tensor, joined: int) -> Tensor:
    """The state of each group of frames, (B, G): who speaks in any of its frames."""
    missing = -active_BTC.shape[1] % joined
    groups_BGJC = F.pad(active_BTC, (0, 0, 0, missing)).unflatten(1, (-1, joined))
    first_BG, second_BG = groups_BGJC.any(dim=2).unbind(dim=2)
    return first_BG * FIRST + second_BG * SECOND


def _common(counts_B: Tensor) -> int:
    """Groups that wait in every stream of a batch."""
    counts = sorted(set(counts_B.tolist()))
    if len(counts) > 1:
        raise StateError(
            f"Streams of a batch must wait for equally many groups, got {counts}.",
            hint="Batch streams once each has heard as much as is heard ahead.",
        )
    return counts[0] if counts else 0
